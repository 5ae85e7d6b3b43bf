"""Several record files as one source of pictures, whose bytes are packed unchanged."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Optional

from gluon_resnet.data.class_names import classes_path, read_class_names
from gluon_resnet.data.packing.image_list import Entry, read_list
from gluon_resnet.data.packing.sources import Picture
from gluon_resnet.data.records import RecordFile
from gluon_resnet.errors import DataError
from gluon_resnet.terminal import shown


class JoinedRecords:
    """The records of `paths`, one file after the other; a Source. Keys, and thus ids, are renumbered from 0.

    Attributes:
        classes: see Source; the longest of the files' lists of names, of which all the others are prefixes.
        entries: the joined list if each file has a .lst of exactly its records; otherwise None.

    Raises:
        OSError, RecordError: a file cannot be read.
        DataError: the files' classes or numbers of labels differ, or a file has records that are not images.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self.files = [RecordFile(path) for path in paths]
        widths = {}
        for file in self.files:
            if len(file.images) != len(file):
                raise DataError(
                    f"{file.path}: cannot be joined: it has records that are lists, as insightface writes them, which "
                    "refer to other records by key",
                    path=file.path,
                )
            widths[len(file[0].header.label)] = file.path
        if len(widths) > 1:
            found = " and ".join(f"{width} in {path}" for width, path in sorted(widths.items()))
            raise DataError(f"expected the same number of labels in all files, found {found}")
        self.classes = _common_classes(paths)
        self.entries = self._entries()

    def __len__(self) -> int:
        return sum(map(len, self.files))

    def __iter__(self) -> Iterator[Picture]:
        key = 0
        for file in self.files:
            for position, (header, payload) in enumerate(file):
                name = f"{file.path}: key {file.key(position)}"
                yield Picture(key, tuple(header.label.tolist()), name, payload)
                key += 1

    def _entries(self) -> Optional[list[Entry]]:
        joined: list[Entry] = []
        for file in self.files:
            path = os.path.splitext(file.path)[0] + ".lst"
            listed = {entry.key: entry for entry in read_list(path)} if os.path.exists(path) else {}
            keys = [file.key(position) for position in range(len(file))]
            if len(listed) != len(file) or not all(key in listed for key in keys):
                return None
            joined += [listed[key]._replace(key=len(joined) + i) for i, key in enumerate(keys)]
        return joined


def _common_classes(paths: Sequence[str]) -> Optional[tuple[str, ...]]:
    named = {
        path: read_class_names(classes_path(path)) for path in paths if os.path.exists(classes_path(path))
    }
    without = [path for path in paths if path not in named]
    if not named:
        return None
    if without:
        raise DataError(
            f"{without[0]}: has no class names to compare with those of {next(iter(named))}; if its labels "
            f"mean the same, copy the names to {classes_path(without[0])}",
            path=without[0],
        )
    longest = max(named, key=lambda path: len(named[path]))
    for path, names in named.items():
        for label, (name, other) in enumerate(zip(names, named[longest])):
            if name != other:
                raise DataError(
                    f"{path}: label {label} is the class {shown(name)} here and {shown(other)} in {longest}; "
                    "unpack the files, and pack their folders together",
                    path=path,
                )
    return named[longest]
