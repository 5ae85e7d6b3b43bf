"""What every command line shares: its name, and how an exception becomes a message and an exit status."""

from __future__ import annotations

import importlib
import os
import shlex
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from itertools import islice
from typing import Callable, NoReturn, Optional

from gluon_resnet.environment.checkout import use_environment
from gluon_resnet.environment.extras import what_to_install
from gluon_resnet.errors import GluonResnetError, exit_status
from gluon_resnet.terminal import tell

BY_MODULE = (
    "python -m gluon_resnet "  # sys.argv[0], before the command's name, where no file of tools/ was started
)
# As Python, the C++ core, MXNet and OpenCV say it.
_NO_MEMORY = (
    *("Cannot allocate memory", "bad_alloc", "Failed to allocate", "Insufficient memory", "out of memory"),
    "failed to map segment",
)
_NO_THREAD = ("can't start new thread", "cannot start a thread", "Resource temporarily unavailable")

_SEARCHED = 10_000  # names in a folder where a file is missing


def program(name: str) -> str:
    """What the user typed to start the command `name`: ``train.py`` or ``python -m gluon_resnet train``."""
    return f"{BY_MODULE}{name}" if sys.argv[0].startswith(BY_MODULE) else f"{name}.py"


def as_typed(argv: Sequence[str]) -> str:
    """The command line that starts this program with `argv` again, for files that say how they were made."""
    started = sys.argv[0].split(" ")[1:] if sys.argv[0].startswith(BY_MODULE) else [sys.argv[0]]
    return shlex.join(["python3", *started, *argv])


def beside(name: str) -> list[str]:
    """What starts another of our commands in the same way as this program was started."""
    script = os.path.join(os.path.dirname(sys.argv[0]), f"{name}.py")
    started_from_file = sys.argv[0].endswith(".py") and os.path.isfile(script)
    return [sys.executable, script] if started_from_file else [sys.executable, "-m", "gluon_resnet", name]


def run_command(name: str) -> NoReturn:
    """Run the command `name`, of the module gluon_resnet.cli.NAME, and exit as `run` does."""
    use_environment()
    # Importing it fails where MXNet, its libraries or a driver are missing, which is told like other mistakes.
    run(lambda argv: importlib.import_module(f"gluon_resnet.cli.{name}").main(argv))


def run(main: Callable[[Optional[Sequence[str]]], Optional[int]]) -> NoReturn:
    """Call `main(None)` and exit: 0, or what it returns; 2 for bad arguments, 1 for a failure.

    A user's mistake or a bad file never shows a traceback: set GLUON_RESNET_TRACEBACK=1 to see one.
    """
    try:
        status = main(None) or 0
        if sys.stdout is not None:  # closed by who started us
            sys.stdout.flush()
    except KeyboardInterrupt as error:
        status = exit_status(error)
    except BrokenPipeError:  # the reader of our output went away: nothing is left to say to it
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
    """What a user is told; None for what no user and no file can be the cause of."""
    text = str(error)
    if isinstance(error, GluonResnetError):
        return text
    if isinstance(error, MemoryError) or any(sign in text for sign in _NO_MEMORY):
        return "there is not enough memory: ask for less at once (smaller batches, fewer threads), or end programs"
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
    """What to add where there is no file at `path`: the most similar names in its folder."""
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
