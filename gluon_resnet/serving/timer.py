"""Things that happen unless they are called off."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Callable, Optional


class Timer:
    """Calls `ring` a given number of seconds after it is started. Starting and stopping cost next to nothing."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float, ring: Callable[[], None]) -> None:
        self._loop = loop
        self._seconds = seconds
        self._ring = ring
        self._handle: Optional[asyncio.TimerHandle] = None  # stays when the timer is stopped
        self._time: Optional[float] = None

    def start(self) -> None:
        """Start the timer, unless it is already running."""
        if self._time is None:
            self._time = self._loop.time() + self._seconds
            if self._handle is None:
                self._handle = self._loop.call_at(self._time, self._look)

    def stop(self) -> None:
        self._time = None

    def close(self) -> None:
        """Stop it for good."""
        self._time = None
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _look(self) -> None:
        self._handle = None
        if self._time is None:
            return
        if self._loop.time() < self._time - 0.001:  # it has been restarted meanwhile
            self._handle = self._loop.call_at(self._time, self._look)
            return
        self._time = None
        self._ring()


@contextlib.contextmanager
def deadline(seconds: float, error: Callable[[float], Exception]) -> Iterator[None]:
    """Cancel the task that enters this context after `seconds`; the `with` then raises `error(seconds)`.

    Unlike asyncio.wait_for, this needs no task of its own; Python 3.11 has asyncio.timeout.
    """
    task, over = asyncio.current_task(), False
    assert task is not None

    def ring() -> None:
        nonlocal over
        over = task.cancel()

    handle = asyncio.get_running_loop().call_later(seconds, ring)
    try:
        yield
    except asyncio.CancelledError:
        if not over:
            raise
        getattr(task, "uncancel", int)()  # Python 3.11 counts
        raise error(seconds) from None
    finally:
        handle.cancel()
