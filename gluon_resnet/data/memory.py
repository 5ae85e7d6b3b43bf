"""How much memory this process may still take."""

from __future__ import annotations

import os

# For each of the two versions of control groups: the controller's name in /proc/self/cgroup, the folder of its groups,
# and the names of the limit, of the usage, and, in memory.stat, of the cached files, which the kernel drops first.
_VERSIONS = (
    ("", "", "memory.max", "memory.current", "inactive_file"),
    ("memory", "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def available_memory() -> int:
    """The memory, in bytes, that can be had without swapping, within the limits of this process's control groups."""
    machine = _fields("/proc/meminfo")["MemAvailable:"] * 1024
    return max(0, min([machine, *_left_to_groups("/proc/self/cgroup", "/sys/fs/cgroup")]))


def _left_to_groups(listing: str, root: str) -> list[int]:
    """What each control group that this process is in may still take."""
    left: list[int] = []
    try:
        with open(listing, encoding="utf-8") as stream:
            groups = dict(line.strip().split(":", 2)[1:] for line in stream)
    except OSError:
        return left
    for controller, folder, limit, used, droppable in _VERSIONS:
        group = groups.get(controller)
        while group is not None:
            path = os.path.join(root, folder, group.lstrip("/"))
            try:
                most, taken = (_number(os.path.join(path, name)) for name in (limit, used))
                left.append(most - taken + _fields(os.path.join(path, "memory.stat"))[droppable])
            except (OSError, ValueError, KeyError):
                pass  # "max" means no limit; the root has no such files, and a container does not see its host's groups
            group = os.path.dirname(group) if group.strip("/") else None
    return left


def _number(path: str) -> int:
    with open(path, encoding="ascii") as stream:
        return int(stream.read())


def _fields(path: str) -> dict[str, int]:
    """The first number after each name."""
    with open(path, encoding="ascii") as stream:
        return {words[0]: int(words[1]) for words in map(str.split, stream)}
