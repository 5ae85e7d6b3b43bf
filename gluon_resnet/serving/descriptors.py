"""The number of connections that the system allows this process."""

from __future__ import annotations

import dataclasses
import os
import resource

from gluon_resnet.serving.acceptor import AT_ONCE
from gluon_resnet.serving.connections import LINGERING
from gluon_resnet.serving.limits import Limits

_SPARE = 16  # files and pipes that are open for a moment


def with_descriptors(limits: Limits) -> tuple[Limits, str]:
    """The limits, with fewer connections if there are not enough descriptors, and a sentence that says so, or "".

    The process's own soft limit is raised as far as needed and as the hard limit allows.
    """
    others = len(os.listdir("/proc/self/fd")) + LINGERING + AT_ONCE + _SPARE
    wanted = limits.connections + others
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    if soft != unlimited and soft < wanted:
        soft = wanted if hard == unlimited else min(hard, wanted)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == unlimited or soft >= wanted:
        return limits, ""
    connections = max(1, soft - others)
    said = (
        f"at most {connections} connections are possible instead of {limits.connections}: "
        f"ulimit -n is {soft}, not {wanted}"
    )
    return dataclasses.replace(limits, connections=connections), said
