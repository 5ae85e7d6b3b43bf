"""Reports on standard error what a training loop is waiting for, if nothing has happened for a while."""

from __future__ import annotations

import contextlib
import faulthandler
import glob
import re
import sys
import threading
import time
from types import TracebackType
from typing import Any, Optional

from gluon_resnet.training.activity import activity, doing

_AGAIN = 600.0  # seconds from one report to the next while nothing happens


class StallWatch:
    """While this context is entered, a thread watches what the thread that entered it is doing (activity.doing).

    Whenever that has been the same for `timeout` seconds, it reports what it is, since when, and the stacks of all
    Python threads; it repeats this every ten minutes, and says when work resumes. It never ends anything.

    Args:
        timeout: the time in seconds before a report; 0 to watch nothing.
        name: a prefix of each message, such as "worker 1: ".
        again: the time in seconds between two reports of one stall.
    """

    def __init__(self, timeout: float, name: str = "", again: float = _AGAIN) -> None:
        self._timeout, self._name, self._again = timeout, name, again
        self._left = threading.Event()
        self._watched = threading.get_ident()
        self._base = doing("working on something other than a step: the stacks below show what")
        self._thread = threading.Thread(target=self._watch, name="stall watch", daemon=True)

    def __enter__(self) -> StallWatch:
        if self._timeout:
            self._watched = threading.get_ident()
            self._base.__enter__()
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        if self._timeout:
            self._left.set()
            self._thread.join()
            self._base.__exit__()

    def _watch(self) -> None:
        told: Optional[tuple[doing, float]] = None  # what is hanging, and since when
        due = 0.0  # when to report again
        while not self._left.wait(min(self._timeout / 4, 1.0)):
            now, current = time.monotonic(), activity(self._watched)
            if current is None:
                continue
            if told and told != (current, current.since):
                self._say(f"work has resumed after {now - told[1]:.0f} s of {told[0].what}")
                told = None
            if now - current.since >= self._timeout and (told is None or now >= due):
                told, due = (current, current.since), now + self._again
                self._report(current, now - current.since)

    def _report(self, current: doing, seconds: float) -> None:
        began = time.strftime("%H:%M:%S", time.localtime(time.time() - seconds))
        lines = [f"nothing has happened for {seconds:.0f} s (since {began}): {current.what}"]
        if current.details:
            try:
                lines += current.details().splitlines()
            except (
                Exception
            ) as error:  # from an object that another thread is using: the rest is still useful
                lines.append(f"no details: {error!r}")
        waiting = _threads_in_io()
        if waiting:
            lines.append(
                f"{waiting} of this process's threads are waiting for a disk or a network file system"
            )
        lines.append("the stacks of Python's threads:")
        self._say("\n  ".join(lines))
        with contextlib.suppress(OSError, ValueError):  # standard error may not be a file
            faulthandler.dump_traceback(sys.stderr, all_threads=True)

    def _say(self, text: str) -> None:
        print(f"\nstall watch: {self._name}{text}", file=sys.stderr, flush=True)


def describe_loader(loader: Any) -> str:
    """What is known about a loader that does not deliver a batch: its statistics, and the files that it reads."""
    lines = []
    if hasattr(loader, "stats"):
        stats = loader.stats()
        lines.append(
            f"the loader has handed out {stats.images} images of this epoch, and its "
            f"{stats.threads} threads have spent {stats.reading:.1f} s reading, {stats.decoding:.1f} s decoding, "
            f"{stats.augmenting:.1f} s augmenting, {stats.waiting:.1f} s waiting for training, "
            "not counting work in progress"
        )
    lines += [f"it reads {file.path}" for file in getattr(loader, "files", ())]
    return "\n".join(lines)


def _threads_in_io() -> int:
    """The number of threads of this process in uninterruptible sleep."""
    count = 0
    for path in glob.glob("/proc/self/task/*/stat"):
        with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as stream:
            count += bool(re.match(r".*\) D ", stream.read()))
    return count
