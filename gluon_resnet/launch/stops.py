"""Signals that ask the launcher to end, kept in a list and visible to `select`."""

from __future__ import annotations

import contextlib
import select
import signal
import socket
from types import FrameType, TracebackType
from typing import Any, Optional

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stops:
    """While this context is entered, signals are collected in `received`, and each makes `bell` readable.

    For the main thread only. If SIGHUP is ignored (nohup), it stays ignored.
    """

    def __init__(self) -> None:
        self.received: list[int] = []
        self.bell, self._ringer = socket.socketpair()
        self._before: dict[int, Any] = {}
        self._wakeup = -1

    def __enter__(self) -> Stops:
        self.bell.setblocking(False)
        self._ringer.setblocking(False)
        self._wakeup = signal.set_wakeup_fd(self._ringer.fileno(), warn_on_full_buffer=False)
        for number in _SIGNALS:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup)
        self.bell.close()
        self._ringer.close()

    def wait(self, seconds: float) -> None:
        """Sleep, but no longer than until a signal arrives."""
        if not self.received:
            select.select([self.bell], [], [], seconds)

    def hush(self) -> None:
        """Empty `bell`."""
        with contextlib.suppress(BlockingIOError):
            self.bell.recv(64)

    def _receive(self, number: int, frame: Optional[FrameType]) -> None:
        self.received.append(number)
