"""Threads that call functions and report the results to an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections import deque
from typing import Any, Callable, Optional

Done = Callable[[Any, Optional[Exception]], None]  # takes the value, or the exception


class Workers:
    """Threads for one event loop. Lighter than an executor: calls that end at about the same time wake it once.

    Args:
        count: the number of threads.
        name: the beginning of the threads' names.
    """

    def __init__(self, count: int, name: str) -> None:
        self._calls: queue.SimpleQueue[Optional[tuple[Callable[..., Any], tuple[Any, ...], Done]]]
        self._calls = queue.SimpleQueue()
        self._done: deque[tuple[Done, Any, Optional[Exception]]] = deque()
        self._woken = False
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        # Daemon threads: a server that is told not to wait does not call `close`.
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}_{i}", daemon=True) for i in range(count)
        ]

    def submit(self, function: Callable[..., Any], arguments: tuple[Any, ...], done: Done) -> None:
        """Call the function in a thread, and then `done` in the loop."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            for thread in self._threads:
                thread.start()
        self._calls.put((function, arguments, done))

    def close(self) -> None:
        """Wait for the threads to finish their current calls, and end them; waiting calls are dropped."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._calls.get_nowait()
        if self._loop is not None:
            for _ in self._threads:
                self._calls.put(None)
            for thread in self._threads:
                thread.join()

    def _work(self) -> None:
        while True:
            call = self._calls.get()
            if call is None:
                return
            function, arguments, done = call
            try:
                self._tell(done, function(*arguments), None)
            except Exception as error:
                self._tell(done, None, error)
            # The next call may be long in coming, and these may hold the body of a request.
            del call, function, arguments, done

    def _tell(self, done: Done, value: Any, error: Optional[Exception]) -> None:
        self._done.append((done, value, error))
        if not self._woken:  # otherwise the loop is going to look at the queue anyway
            self._woken = True
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._hear)  # type: ignore[union-attr]

    def _hear(self) -> None:
        self._woken = False
        while self._done:
            done, value, error = self._done.popleft()
            done(value, error)
