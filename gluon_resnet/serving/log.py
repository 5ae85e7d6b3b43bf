"""The server's log: one line for each thing that went wrong, with a limited length, and limited lines per second."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
import traceback
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Optional

from gluon_resnet.terminal import printable, tell

LINES = 5  # per second, of refusals and of failures each
LINE_LENGTH = 300
TRACEBACK_LENGTH = 4000
TRACEBACK_SECONDS = 600.0  # between two tracebacks of the same kind
_MOST_KINDS = 50  # of failures whose shown tracebacks are remembered
_FRAMES = 20

log = logging.getLogger("gluon_resnet.serving")


class BoundedHandler(logging.Handler):
    """Writes records to standard error in such a way that strangers cannot fill the disk.

    Records that are left out are counted, and their number is written when the second is over. Errors have their own
    share of lines, which a flood of refusals does not reduce. An error's traceback is shown once in TRACEBACK_SECONDS.
    """

    def __init__(self) -> None:
        super().__init__()
        self._refusals, self._failures = _Share("refusals"), _Share("failures")
        self._told: dict[tuple[str, str], float] = {}  # when each kind's traceback was shown

    def emit(self, record: logging.LogRecord) -> None:
        share = self._failures if record.levelno >= logging.ERROR else self._refusals
        now = time.monotonic()
        if now >= share.ends:
            self._tell_left_out(share)
            share.ends, share.lines = now + 1, 0
        if share.lines >= LINES:
            share.left_out += 1
            if share.left_out == 1:
                timer = threading.Timer(share.ends - now, self._second_is_over, [share])
                timer.daemon = True
                timer.start()
            return
        share.lines += 1
        message = " ".join(record.getMessage().split())
        error = record.exc_info[1] if record.exc_info else None
        if error is None:
            self._write(message)
            return
        kind = (type(error).__name__, _place(error.__traceback__))
        self._write(f"{message}: {kind[0]} at {kind[1]}: {error}")
        if self._is_news(kind, now):
            lines = traceback.format_exception(type(error), error, error.__traceback__, -_FRAMES)
            escaped = "\n".join(map(printable, "".join(lines)[-TRACEBACK_LENGTH:].splitlines()))
            for line in escaped[-TRACEBACK_LENGTH:].splitlines():
                _tell(line)

    def close(self) -> None:
        """Report what was left out in the last second."""
        with self._locked():
            for share in (self._refusals, self._failures):
                self._tell_left_out(share)
        super().close()

    def _second_is_over(self, share: _Share) -> None:
        with self._locked():
            if time.monotonic() >= share.ends:  # otherwise a newer second has reported it
                self._tell_left_out(share)

    def _tell_left_out(self, share: _Share) -> None:
        if share.left_out:
            self._write(f"… and {share.left_out} more {share.name} in that second")
            share.left_out = 0

    def _is_news(self, kind: tuple[str, str], now: float) -> bool:
        self._told = {k: when for k, when in self._told.items() if now - when < TRACEBACK_SECONDS}
        if kind in self._told or len(self._told) == _MOST_KINDS:
            return False
        self._told[kind] = now
        return True

    def _write(self, message: str) -> None:
        _tell(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {printable(message, LINE_LENGTH)}")

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self.acquire()
        try:
            yield
        finally:
            self.release()


class _Share:
    """One kind's share of the lines of a second."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ends = 0.0
        self.lines = 0
        self.left_out = 0


@contextlib.contextmanager
def bounded_log() -> Iterator[None]:
    """While this lasts, all logging goes through a BoundedHandler, including uvicorn's and asyncio's."""
    handler, root = BoundedHandler(), logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()


def _place(frames: Optional[TracebackType]) -> str:
    """The innermost line of code in the traceback."""
    place: Any = "?"
    while frames is not None:
        place = f"{os.path.basename(frames.tb_frame.f_code.co_filename)}:{frames.tb_lineno}"
        frames = frames.tb_next
    return place


def _tell(line: str) -> None:
    # If nobody reads the log any more, as after `| head`, requests are still answered.
    with contextlib.suppress(OSError, ValueError):
        tell(line)
