"""Signals that ask a process to stop, caught while a block runs: as a request to a loop, or in a list with a bell.

The standard library alone, as the launcher has it. For the main thread only.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from collections.abc import Iterable
from types import FrameType
from typing import Any, Callable, Optional

Handler = Callable[[int, Optional[FrameType]], None]

_BURST = 0.25  # seconds in which signals are one request, as where a terminal and a launcher both send one


class Caught:
    """While entered, `handler` handles the signals `numbers`; then what handled them before does again.

    If SIGHUP is ignored (nohup), it stays ignored.
    """

    def __init__(self, numbers: Iterable[int], handler: Handler) -> None:
        self._numbers, self._handler = tuple(numbers), handler
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Caught:
        for number in self._numbers:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._handler)
        return self

    def __exit__(self, *_: object) -> None:
        self.restore()

    def restore(self) -> None:
        """At once. Not while a signal may wait for its handler: Python would complain that there is none."""
        while self._before:
            number, handler = self._before.popitem()
            signal.signal(number, handler)


class StopRequest:
    """While entered, a first SIGINT or SIGTERM only sets `signal`; a later one ends the process.

    Calling the object tells whether a signal has come; once it has said so, the system itself ends the process by the
    next one, whatever it waits for.
    """

    def __init__(self) -> None:
        self.signal: Optional[int] = None
        self._since = 0.0
        self._caught = Caught((signal.SIGINT, signal.SIGTERM), self._handle)

    def __call__(self) -> bool:
        if self.signal is not None:
            self._caught.restore()
        return self.signal is not None

    def __enter__(self) -> StopRequest:
        self._caught.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._caught.restore()

    def _handle(self, number: int, frame: Optional[FrameType]) -> None:
        if self.signal is None:
            self.signal, self._since = number, time.monotonic()
            os.write(
                2, b"\nstopping after this step; another signal stops at once\n"
            )  # print is not reentrant
        elif time.monotonic() > self._since + _BURST:
            self._caught.restore()
            os.kill(os.getpid(), number)


class Stops:
    """While entered, SIGINT, SIGTERM and SIGHUP are collected in `received`, and each makes `bell` readable.

    So a `select` over other files wakes up for them, too.
    """

    def __init__(self) -> None:
        self.received: list[int] = []
        self.bell, self._ringer = socket.socketpair()
        self._caught = Caught((signal.SIGINT, signal.SIGTERM, signal.SIGHUP), self._receive)
        self._wakeup = -1

    def __enter__(self) -> Stops:
        self.bell.setblocking(False)
        self._ringer.setblocking(False)
        self._wakeup = signal.set_wakeup_fd(self._ringer.fileno(), warn_on_full_buffer=False)
        self._caught.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._caught.restore()
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
