"""The processors of this machine, and how many of them this process may use."""

from __future__ import annotations

import math
import os
import platform
from typing import NamedTuple, Optional

# The instructions that make the native core, oneDNN and bfloat16 faster.
INSTRUCTIONS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16")


class Processor(NamedTuple):
    """`model`: its name in the kernel, or else the architecture; `instructions`: those of INSTRUCTIONS that it has."""

    model: str
    instructions: list[str]
    present: int
    usable: int
    quota: Optional[float]  # the number of processors that the control groups allow; None if unlimited


def describe_processor() -> Processor:
    """The processor of this machine."""
    fields: dict[str, str] = {}
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as stream:
            for line in stream:
                name, _, value = line.partition(":")
                fields.setdefault(name.strip(), value.strip())
    except OSError:
        pass  # the answer is then as complete as possible
    flags = fields.get("flags", "").split()
    return Processor(
        fields.get("model name", platform.machine()),
        [name for name in INSTRUCTIONS if name in flags],
        os.cpu_count() or 1,
        len(os.sched_getaffinity(0)),
        processor_quota(),
    )


def usable_processors() -> int:
    """The useful number of working threads: a container sees all of the machine's processors, whatever it may use."""
    usable, quota = len(os.sched_getaffinity(0)), processor_quota()
    return min(usable, math.ceil(quota or usable))


def processor_quota(listing: str = "/proc/self/cgroup", root: str = "/sys/fs/cgroup") -> Optional[float]:
    """The least number of processors that this process's control groups allow; None if there is no limit.

    Containers are limited in this way (`docker run --cpus 2`), and still see all of the machine's processors.
    """
    try:
        with open(listing, encoding="utf-8") as stream:
            groups = dict(line.strip().split(":", 2)[1:] for line in stream)
    except (OSError, ValueError):
        return None
    quotas = []
    for controllers, group in groups.items():
        if controllers and "cpu" not in controllers.split(","):
            continue
        folder = os.path.join(root, "cpu") if controllers else root
        while True:
            quota = _quota(os.path.join(folder, group.lstrip("/")))
            if quota:
                quotas.append(quota)
            if not group.strip("/"):
                break
            group = os.path.dirname(group)
    return min(quotas, default=None)


def _quota(group: str) -> Optional[float]:
    """The limit of one control group, from the files of either version."""
    try:
        try:
            with open(os.path.join(group, "cpu.max"), encoding="ascii") as stream:
                numbers = stream.read().split()
        except FileNotFoundError:
            numbers = []
            for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us"):
                with open(os.path.join(group, name), encoding="ascii") as stream:
                    numbers.append(stream.read())
        quota, period = map(int, numbers)
    except (OSError, ValueError):  # "max", or -1 with a period, or no such file mean no limit
        return None
    return quota / period if quota > 0 and period > 0 else None
