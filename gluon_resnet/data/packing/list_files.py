"""The lists that stand at a prefix: PREFIX.lst and the splits that im2rec.py writes for PREFIX, and no others."""

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
        path: its .lst.
        origin: see ListOrigin; None: the list is foreign.
        changed: since it was made.
        of_split: it is part of the split of another prefix, and is asked for by its own name.
    """

    path: str
    origin: Optional[ListOrigin]
    changed: bool = False
    of_split: bool = False

    @property
    def prefix(self) -> str:
        """What it makes the record file of."""
        return self.path[: -len(".lst")]

    @property
    def kept(self) -> bool:
        """Whether it is a user's, who must not lose it: foreign, changed by hand, made by --list, or of a split."""
        return self.origin is None or self.changed or self.origin.listed or self.of_split


@dataclass(frozen=True)
class ListsAtPrefix:
    """What stands at a prefix.

    Attributes:
        sets: lists that belong together, as those of one split do.
        others: lists with the name of a split of this prefix that are none: of other prefixes, or parts of nothing;
            and foreign ones whose names begin with it, all of which MXNet's im2rec.py would take.
    """

    sets: Sequence[Sequence[ListFile]]
    others: Sequence[ListFile]

    @property
    def kept(self) -> list[Sequence[ListFile]]:
        """The sets in which a list is a user's."""
        return [lists for lists in self.sets if any(file.kept for file in lists)]


def lists_at(prefix: str) -> ListsAtPrefix:
    """The lists at `prefix`, each set in the order of its names.

    ``PREFIX_train.lst`` and its like may as well be another data set's: they count where their origin says that they
    were made for PREFIX, or, of foreign ones, where they are all that MXNet's im2rec.py writes for a split.
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
            of_split = _match(file.origin.prefix, name) is not None  # else it has been renamed
            own.setdefault(name, []).append(replace(file, of_split=of_split))
        else:
            others.append(file)
    if _is_split(base, (os.path.basename(file.path) for file in foreign)):
        own["split"] = foreign
    else:
        others += foreign
    return ListsAtPrefix(list(own.values()), others)


def lists_in(folder: str) -> list[ListFile]:
    """The lists in a folder that are users', in the order of their names."""
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
