"""Questions asked in a separate process, which may crash, hang or print without affecting this one."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from typing import Any, Callable

from gluon_resnet.errors import EnvironmentProblem

# Standard output is only for the answer: whatever libraries print goes to standard error.
_CHILD = """
import importlib, json, os, sys
sys.path[:], module, name, arguments = json.loads(sys.argv[1])
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
try:
    answer = {"value": getattr(importlib.import_module(module), name)(*arguments)}
except BaseException as error:
    from gluon_resnet.errors import GluonResnetError
    known = isinstance(error, GluonResnetError)
    lines = (str(error).strip() or type(error).__name__).splitlines()
    answer = {"known": known, "error": lines[-1] if known else f"{type(error).__name__}: {lines[-1]}"}
json.dump(answer, answers)
answers.flush()
os._exit(0)
"""


class NoAnswer(EnvironmentProblem):
    """The process crashed, hung, or ended with an exception that this package does not know."""


def ask_apart(function: Callable[..., Any], *arguments: Any, seconds: float = 60) -> Any:
    """The result of `function`, from a module's top level, for `arguments`; JSON must be able to hold both.

    EnvironmentProblem with the message of a GluonResnetError that it raises; NoAnswer, in one line, for
    everything else.
    """
    question = json.dumps([sys.path, function.__module__, function.__qualname__, arguments])
    child = subprocess.Popen(
        [sys.executable, "-c", _CHILD, question],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    try:
        output, errors = child.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        raise NoAnswer(f"it gave no answer within {seconds:.0f} s") from None
    finally:
        if child.poll() is None:
            child.kill()
            with contextlib.suppress(
                subprocess.TimeoutExpired
            ):  # the kernel does not end a process waiting for a broken device
                child.communicate(timeout=5)
    answer = None
    with contextlib.suppress(ValueError):
        answer = json.loads(output)
    if not isinstance(answer, dict):
        last = (errors.strip().splitlines() or ["without a word"])[-1]
        raise NoAnswer(f"it ended {_how(child.returncode)}: {last}")
    if "error" in answer:
        raise (EnvironmentProblem if answer["known"] else NoAnswer)(answer["error"])
    return answer["value"]


def _how(status: int) -> str:
    if status >= 0:
        return f"with status {status}"
    try:
        return f"by {signal.Signals(-status).name}"
    except ValueError:
        return f"by signal {-status}"
