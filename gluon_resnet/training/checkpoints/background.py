"""Writes files in the background of training, in order, in a single thread."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Callable


class BackgroundWriter:
    """Runs tasks in a thread, one after another. If a task fails with an OSError, training goes on.

    Args:
        failed: a function that is called in the thread with the name of a failed task and its OSError.
    """

    def __init__(self, failed: Callable[[str, OSError], None]) -> None:
        self._failed = failed
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="writer")
        self._broken = False  # by an exception that no task should raise; also set while a task runs
        self._pending: list[Future[None]] = []
        # One running task and one waiting task, because the data that they write are held in memory.
        self._room = threading.Semaphore(2)

    @property
    def busy(self) -> bool:
        """Whether a task is running or waiting."""
        return any(not future.done() for future in self._pending)

    def submit(self, name: str, task: Callable[[], None]) -> None:
        """Run `task` after the earlier ones; blocks while another task is waiting.

        If an earlier task raised an exception other than OSError, that is raised here, and no more tasks are run.
        """
        self._collect()
        self._room.acquire()
        self._pending.append(self._thread.submit(self._run, name, task))

    def flush(self) -> None:
        """Wait for all tasks, and raise any exception of theirs other than OSError."""
        self.settle()
        self._collect()

    def settle(self) -> None:
        """Wait for all tasks, whatever their outcome."""
        wait(self._pending)

    def _run(self, name: str, task: Callable[[], None]) -> None:
        try:
            if not self._broken:
                self._broken = True
                task()
                self._broken = False
        except OSError as error:
            self._broken = False
            self._failed(name, error)
        finally:
            self._room.release()

    def _collect(self) -> None:
        done = [future for future in self._pending if future.done()]
        self._pending = [future for future in self._pending if not future.done()]
        for future in done:
            future.result()
