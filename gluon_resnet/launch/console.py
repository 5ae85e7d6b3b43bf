"""The output of a run: the lines of all its processes, each preceded by its role and rank."""

from __future__ import annotations

import queue
import sys
import threading
from types import TracebackType
from typing import Optional

_LINES = 10_000  # waiting to be printed


class Console:
    """Prints in a thread, so that a terminal or pager that stops reading never keeps the launcher from its processes.

    A context manager; leaving it waits until everything has been printed. When 10,000 lines are waiting, further ones
    are dropped and counted. `gone` becomes true when nobody reads any more.
    """

    def __init__(self) -> None:
        self.gone = False
        self._lines: queue.Queue[Optional[tuple[str, int]]] = queue.Queue(_LINES)
        self._dropped = 0
        self._thread = threading.Thread(target=self._print, name="console", daemon=True)

    def __enter__(self) -> Console:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        if self._dropped:
            self._lines.put((self._note(), 2))
        self._lines.put(None)
        self._thread.join()

    def line(self, text: str, stream: int = 2) -> None:
        """Print `text` and a newline to standard output (`stream` 1) or standard error (2)."""
        try:
            self._lines.put_nowait((f"{self._note()}\n{text}" if self._dropped else text, stream))
            self._dropped = 0
        except queue.Full:
            self._dropped += 1

    def say(self, text: str) -> None:
        """Print a line of the launcher's own."""
        self.line(f"launch.py: {text}")

    def _note(self) -> str:
        return f"launch.py: {self._dropped} lines were left out here, because nobody read them in time"

    def _print(self) -> None:
        for text, stream in iter(self._lines.get, None):
            if self.gone:
                continue
            try:
                print(text, file=sys.stdout if stream == 1 else sys.stderr, flush=True)
            except OSError:  # the reader is gone, or the disk is full
                self.gone = True
