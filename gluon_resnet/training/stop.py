"""Ctrl-C and SIGTERM as a request that a loop can grant between two steps."""

from __future__ import annotations

import os
import signal
import time
from types import FrameType, TracebackType
from typing import Optional

_BURST = 0.25  # seconds in which signals are one request, as where a terminal and a launcher both send one


class StopRequest:
    """While entered, a first SIGINT or SIGTERM only sets `signal`; a later one ends the process.

    For the main thread only. Calling the object tells whether a signal has come; once it has said so, the system itself
    ends the process by the next one, whatever it waits for.
    """

    def __init__(self) -> None:
        self.signal: Optional[int] = None
        self._since = 0.0
        self._before: dict[int, object] = {}

    def __call__(self) -> bool:
        if self.signal is not None:
            self._restore()
        return self.signal is not None

    def __enter__(self) -> StopRequest:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self._restore()

    def _handle(self, number: int, frame: Optional[FrameType]) -> None:
        if self.signal is None:
            self.signal, self._since = number, time.monotonic()
            os.write(2, b"\nstopping after this step; once more stops at once\n")  # print is not reentrant
        elif time.monotonic() > self._since + _BURST:
            self._restore()
            os.kill(os.getpid(), number)

    def _restore(self) -> None:
        """Not while another signal may wait for its handler: Python would complain that there is none any more."""
        while self._before:
            number, handler = self._before.popitem()
            signal.signal(number, handler)  # type: ignore[arg-type]
