"""What every command shares: its name, and how an exception becomes a message and an exit status."""

from __future__ import annotations

import importlib
import os
import shlex
import sys
import sysconfig
from collections.abc import Sequence
from difflib import get_close_matches
from itertools import islice
from typing import Callable, NoReturn, Optional

from gluon_resnet.environment.checkout import use_environment
from gluon_resnet.environment.extras import what_to_install
from gluon_resnet.errors import GluonResnetError, exit_status
from gluon_resnet.terminal import tell

BY_MODULE, BY_SCRIPT = (
    "python -m gluon_resnet",
    "gluon-resnet",
)  # the ways to start a command other than by a file of tools/
# In the words of Python, the C++ core, MXNet and OpenCV.
_NO_MEMORY = (
    *("Cannot allocate memory", "bad_alloc", "Failed to allocate", "Insufficient memory", "out of memory"),
    "failed to map segment",
)
_NO_THREAD = ("can't start new thread", "cannot start a thread", "Resource temporarily unavailable")

_SEARCHED = 10_000  # the most names searched in a folder that lacks a file


def enter(door: str, name: str, arguments: Sequence[str]) -> NoReturn:
    """Run the command `name` with `arguments`, started through `door`: BY_MODULE or BY_SCRIPT."""
    sys.argv = [f"{door} {name}", *arguments]
    run_command(name)


def _door() -> Optional[str]:
    """What was typed before the command's name; None if a file of tools/ was started."""
    return next((door for door in (BY_MODULE, BY_SCRIPT) if sys.argv[0].startswith(f"{door} ")), None)


def program(name: str) -> str:
    """What the user typed to start the command `name`, such as ``train.py`` or ``gluon-resnet train``."""
    door = _door()
    return f"{door} {name}" if door else f"{name}.py"


def as_typed(argv: Sequence[str]) -> str:
    """The command line that would start this program with `argv` again, for files that say how they were made."""
    started = sys.argv[0].split(" ") if _door() else ["python3", sys.argv[0]]
    if started[0] == "python":
        started[0] = "python3"  # as Debian calls it
    return shlex.join([*started, *argv])


def beside(name: str) -> list[str]:
    """The words that start another of our commands in the same way as this program was started."""
    tool = os.path.join(os.path.dirname(sys.argv[0]), f"{name}.py")
    if sys.argv[0].endswith(".py") and os.path.isfile(tool):
        return [sys.executable, tool]
    script = os.path.join(sysconfig.get_path("scripts"), BY_SCRIPT)
    if _door() == BY_SCRIPT and os.path.isfile(script):
        return [sys.executable, script, name]
    return [sys.executable, "-m", "gluon_resnet", name]


def run_command(name: str) -> NoReturn:
    """Run the command `name`, from the module gluon_resnet.cli.NAME, and exit as `run` does."""
    use_environment()
    # Its import fails if MXNet, its libraries or a driver are missing, which is reported like other mistakes.
    run(lambda argv: importlib.import_module(f"gluon_resnet.cli.{name}").main(argv))


def run(main: Callable[[Optional[Sequence[str]]], Optional[int]]) -> NoReturn:
    """Call `main(None)` and exit with what it returns, or 0; with 2 for bad arguments, or 1 for a failure.

    A user's mistake or a bad file never shows a traceback: set GLUON_RESNET_TRACEBACK=1 to see one.
    """
    try:
        status = main(None) or 0
        if sys.stdout is not None:  # closed by whoever started us
            sys.stdout.flush()
    except KeyboardInterrupt as error:
        status = exit_status(error)
    except BrokenPipeError:  # the reader of our output is gone: there is nobody left to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    except Exception as error:
        told = _sentence(error)
        if told is None or os.environ.get("GLUON_RESNET_TRACEBACK"):
            raise
        program = os.path.basename(sys.argv[0])
        tell(f"{program}: error: {told}")
        status = exit_status(error)
    sys.exit(status)


def _sentence(error: Exception) -> Optional[str]:
    """The message for the user; None for an error that no user and no file can have caused."""
    text = str(error)
    if isinstance(error, GluonResnetError):
        return text
    if isinstance(error, MemoryError) or any(sign in text for sign in _NO_MEMORY):
        return (
            "there is not enough memory: ask for less at once (smaller batches, fewer threads), or end others"
        )
    if any(sign in text for sign in _NO_THREAD):
        return (
            "no more processes or threads can be started: end others, raise the limit (ulimit -u), or ask for fewer "
            "threads"
        )
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        known = isinstance(error, FileNotFoundError) and isinstance(error.filename, str)
        return f"{error.filename}: {error.strerror}{_nearest(error.filename) if known else ''}"
    if isinstance(error, ModuleNotFoundError):
        return what_to_install(error.name or "")
    return text if isinstance(error, OSError) else None


def _nearest(path: str) -> str:
    """An addition to a message if there is no file at `path`: the most similar names in its folder."""
    folder, name = os.path.split(path)
    try:
        with os.scandir(folder or os.curdir) as entries:
            names = [entry.name for entry in islice(entries, _SEARCHED) if entry.name.isprintable()]
    except OSError:
        return ""
    similar = [os.path.join(folder, near) for near in get_close_matches(name, names)]
    if not similar:
        return ""
    return f"; the nearest {'names are' if similar[1:] else 'name is'} {', '.join(similar)}"
