"""The lists that belong to a prefix: PREFIX.lst and the splits that im2rec.py writes for PREFIX, and no others."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Optional

from gluon_resnet.data.packing.list_origin import ListOrigin, is_changed, read_origin

_SPLIT = r"(?:_(?P<chunk>0|[1-9][0-9]*))?(?:_(?P<part>train|val|test))?\.lst"


@dataclass(frozen=True)
class ListFile:
    """A list on the disk.

    Attributes:
        path: the path of the .lst.
        origin: its origin (see ListOrigin); None for a foreign list.
        changed: whether it has been changed since it was made.
        of_split: whether it is part of another prefix's split, and was asked for by its own name.
    """

    path: str
    origin: Optional[ListOrigin]
    changed: bool = False
    of_split: bool = False

    @property
    def prefix(self) -> str:
        """The prefix of the record file that is packed from it."""
        return self.path[: -len(".lst")]

    @property
    def kept(self) -> bool:
        """Whether a user must not lose it: it is foreign, changed by hand, made by --list, or part of a split."""
        return self.origin is None or self.changed or self.origin.listed or self.of_split


@dataclass(frozen=True)
class ListsAtPrefix:
    """The lists found at a prefix.

    Attributes:
        sets: groups of lists that belong together, such as those of one split.
        others: lists that are named like a split of this prefix but are not: those of other prefixes or of incomplete
            splits, and foreign lists whose names begin with it. MXNet's im2rec.py would take them all.
    """

    sets: Sequence[Sequence[ListFile]]
    others: Sequence[ListFile]

    @property
    def kept(self) -> list[Sequence[ListFile]]:
        """The sets with a list that a user must not lose."""
        return [lists for lists in self.sets if any(file.kept for file in lists)]


def lists_at(prefix: str) -> ListsAtPrefix:
    """The lists at `prefix`, each set in the order of its names.

    ``PREFIX_train.lst`` and the like may belong to another data set: they count if their origin says that they were
    made for PREFIX or, if they are foreign, if they are all the files that MXNet's im2rec.py writes for a split.
    """
    folder, base = os.path.split(prefix)
    own: dict[object, list[ListFile]] = {}
    foreign: list[ListFile] = []
    others: list[ListFile] = []
    for name in sorted(_names(folder)):
        if not name.startswith(base):
            continue
        file = list_file(os.path.join(folder, name))
        if not _match(base, name):
            others += [file] if file.origin is None else []
        elif file.origin is None:
            (own.setdefault(name, []) if name == base + ".lst" else foreign).append(file)
        elif file.origin.prefix == base:
            own.setdefault(replace(file.origin, content="", root=""), []).append(file)
        elif name == base + ".lst":
            of_split = _match(file.origin.prefix, name) is not None  # otherwise it has been renamed
            own.setdefault(name, []).append(replace(file, of_split=of_split))
        else:
            others.append(file)
    if _is_split(base, (os.path.basename(file.path) for file in foreign)):
        own["split"] = foreign
    else:
        others += foreign
    return ListsAtPrefix(list(own.values()), others)


def lists_in(folder: str) -> list[ListFile]:
    """The lists in a folder that a user must not lose, in the order of their names."""
    paths = (os.path.join(folder, name) for name in sorted(_names(folder)) if name.endswith(".lst"))
    return [file for file in map(list_file, paths) if file.kept]


def list_file(path: str) -> ListFile:
    """The list at `path`, with its origin."""
    origin = read_origin(path)
    return ListFile(path, origin, origin is not None and is_changed(path, origin))


def _names(folder: str) -> list[str]:
    with os.scandir(folder or os.curdir) as entries:
        return [entry.name for entry in entries if entry.name.endswith(".lst") and entry.is_file()]


def _match(base: str, name: str) -> Optional[re.Match[str]]:
    return re.fullmatch(re.escape(base) + _SPLIT, name)


def _is_split(base: str, names: Iterable[str]) -> bool:
    chunks: dict[Optional[str], set[Optional[str]]] = {}
    for name in names:
        match = _match(base, name)
        if match is not None:
            chunks.setdefault(match["chunk"], set()).add(match["part"])
    numbers = set(chunks)
    if numbers != {None} and (len(numbers) < 2 or numbers != set(map(str, range(len(numbers))))):
        return False
    parts = next(iter(chunks.values()), set())
    alike = all(other == parts for other in chunks.values())
    return alike and (parts == {None} or ("train" in parts and len(parts) > 1 and None not in parts))
