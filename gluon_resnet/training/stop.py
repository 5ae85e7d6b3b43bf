"""Ctrl-C and SIGTERM as a request that a loop can grant between two steps."""

from __future__ import annotations

import os
import signal
from types import FrameType, TracebackType
from typing import Optional


class StopRequest:
    """While entered, a first SIGINT or SIGTERM only sets `signal`; a second one ends the process.

    For the main thread only. Calling the object tells whether a signal has come.
    """

    def __init__(self) -> None:
        self.signal: Optional[int] = None
        self._before: dict[int, object] = {}

    def __call__(self) -> bool:
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
        self.signal = number
        self._restore()
        os.write(2, b"\nstopping after this step; once more stops at once\n")  # print is not reentrant

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
