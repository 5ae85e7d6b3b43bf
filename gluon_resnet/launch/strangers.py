"""Connections that do not know a launcher's token: how they are reported, and the descriptors left for its agents."""

from __future__ import annotations

import resource
import time
from typing import Callable

from gluon_resnet.errors import EnvironmentProblem
from gluon_resnet.listener import AuthenticatedListener

_SILENCE = 60.0  # seconds between two lines about strangers
_OTHERS = 48  # descriptors that a launcher needs besides those of its agents


class Strangers:
    """Reports connections that `listener` has refused by calling `say`, at most once a minute."""

    def __init__(self, listener: AuthenticatedListener, say: Callable[[str], None]) -> None:
        self._listener = listener
        self._say = say
        self._told = 0
        self._next = 0.0

    def tell(self, last: bool = False) -> None:
        """Report the connections refused since the last line, if it is time; `last`: immediately."""
        refused = self._listener.refused - self._told
        if not refused or (time.monotonic() < self._next and not last):
            return
        self._told, self._next = self._listener.refused, time.monotonic() + _SILENCE
        address, port = self._listener.name
        many = f"{refused} connections were closed that do"
        which = many if refused > 1 else "a connection was closed that does"
        self._say(f"{which} not know the token of this run, at {address}:{port}")


def check_descriptors(processes: int) -> None:
    """Raise EnvironmentProblem if this process may not open a connection to each of `processes` processes."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit != resource.RLIM_INFINITY and processes + _OTHERS > limit:
        raise EnvironmentProblem(
            f"{processes} processes need {processes + _OTHERS} open files here, but the limit is {limit}: "
            f"type ulimit -n {processes + _OTHERS}"
        )
