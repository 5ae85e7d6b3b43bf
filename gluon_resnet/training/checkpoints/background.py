"""Files that are written beside training, in order, by one thread."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Callable


class BackgroundWriter:
    """Runs tasks in a thread, one after another. A task that ends with an OSError has failed, and training goes on.

    Args:
        failed: called in the thread with what a task was to write, and its OSError.
    """

    def __init__(self, failed: Callable[[str, OSError], None]) -> None:
        self._failed = failed
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="writer")
        self._broken = False  # by an exception that no task should have; also while one runs
        self._pending: list[Future[None]] = []
        # One task that runs and one that waits: what they write is in memory.
        self._room = threading.Semaphore(2)

    @property
    def busy(self) -> bool:
        """Whether a task runs or waits."""
        return any(not future.done() for future in self._pending)

    def submit(self, name: str, task: Callable[[], None]) -> None:
        """Run `task` after those before it; waits while another one waits.

        An exception of an earlier task, other than OSError, is raised, and nothing is run any more.
        """
        self._collect()
        self._room.acquire()
        self._pending.append(self._thread.submit(self._run, name, task))

    def flush(self) -> None:
        """Wait for all tasks; an exception of one, other than OSError, is raised."""
        self.settle()
        self._collect()

    def settle(self) -> None:
        """Wait for all tasks, whatever they come to."""
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
