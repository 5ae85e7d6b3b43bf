"""Records what a thread is doing, for watchers (see stall.py), at almost no cost."""

from __future__ import annotations

import threading
import time
from typing import Callable, Optional


class doing:  # a verb: `with doing("writing a checkpoint"):`
    """While this context is entered, the thread is doing `what`. Contexts may be nested: the innermost one counts.

    Args:
        what: a phrase such as "waiting for the device".
        details: a function that says more, one fact per line. Another thread calls it, and only if this takes too long.
    """

    __slots__ = ("_outer", "details", "since", "what")

    def __init__(self, what: str, details: Optional[Callable[[], str]] = None) -> None:
        self.what = what
        self.details = details
        self.since = 0.0  # on the clock time.monotonic()
        self._outer: Optional[doing] = None

    def __enter__(self) -> doing:
        self._outer = _innermost.get(threading.get_ident())
        self.since = time.monotonic()
        _innermost[threading.get_ident()] = self
        return self

    def __exit__(self, *_: object) -> None:
        if self._outer is None:
            del _innermost[threading.get_ident()]
        else:
            self._outer.since = time.monotonic()  # something has ended, so nothing is hanging
            _innermost[threading.get_ident()] = self._outer


def activity(thread: int) -> Optional[doing]:
    """What the thread with this identifier (threading.get_ident()) is doing; None if it has not said."""
    return _innermost.get(thread)


_innermost: dict[int, doing] = {}
