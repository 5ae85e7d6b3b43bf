"""Image lists: MXNet's ``.lst`` files, with one line per picture: ``KEY<tab>LABEL…<tab>PATH``."""

from __future__ import annotations

import codecs
import math
import os
import posixpath
import random
import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Optional

from gluon_resnet.errors import DataError
from gluon_resnet.files import regular_only, whole_file
from gluon_resnet.terminal import printable_name, shown

_MOST_CLASS = 1 << 24  # float32 holds every whole number up to it


class Entry(NamedTuple):
    """One picture of a list.

    Attributes:
        key: the picture's key in the index and the id of its record, from 0 to 2^63 - 1, unique in the list.
        labels: one or more labels, stored in records as float32.
        path: the picture's path below the list's folder or inside its archive, with ``/``.
    """

    key: int
    labels: tuple[float, ...]
    path: str


def read_list(path: str) -> list[Entry]:
    """Read a ``.lst`` file, in its order; empty lines and a byte order mark are ignored.

    Raises DataError, with the line number, for a malformed line or one that repeats an earlier line's key, and for
    an empty list.
    """
    with open(path, "rb", opener=regular_only) as raw:
        if raw.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            raise DataError(
                f"{path}: expected a list in UTF-8, found one in UTF-16; save it as UTF-8", path=path
            )
    entries = []
    lines: dict[int, int] = {}  # by key
    # File names are bytes; the error handler preserves those that are not UTF-8.
    with open(
        path, encoding="utf-8-sig", errors="surrogateescape", newline="\n", opener=regular_only
    ) as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            try:
                entry = _parse(line)
            except ValueError as error:
                raise DataError(f"{path}: line {number}: {error}", path=path) from None
            first = lines.setdefault(entry.key, number)
            if first != number:
                raise DataError(
                    f"{path}: line {number}: line {first} already has the key {entry.key}", path=path
                )
            entries.append(entry)
    if not entries:
        raise DataError(f"{path}: the list is empty", path=path)
    return entries


def _parse(line: str) -> Entry:
    fields = [field.strip() for field in line.split("\t")]
    if len(fields) < 3 or not fields[-1]:
        raise ValueError(f"expected KEY<tab>LABEL<tab>PATH, found {shown(line.strip())}")
    try:
        key = int(fields[0])
    except ValueError:
        raise ValueError(f"expected a whole number as the key, found {shown(fields[0])}") from None
    if not 0 <= key < 1 << 63:
        raise ValueError(f"expected a key from 0 to 2^63 - 1, found {shown(key)}")
    try:
        labels = tuple(float(field) for field in fields[1:-1])
    except ValueError:
        raise ValueError(f"expected numbers as the labels, found {shown(fields[1:-1])}") from None
    for label, field in zip(labels, fields[1:-1]):
        problem = _label_problem(label)
        if problem is not None:
            held = printable_name(field)
            raise ValueError(f"expected labels that a record can hold, found {held}, {problem}")
    return Entry(key, labels, fields[-1])


def _label_problem(label: float) -> Optional[str]:
    """What is wrong with a label; None if float32 can hold it, or can round it if it is not a class."""
    if label.is_integer() and abs(label) <= _MOST_CLASS:
        return None
    if not math.isfinite(label):
        return "which is not a finite number"
    try:
        (held,) = struct.unpack("<f", struct.pack("<f", label))
    except OverflowError:
        return "which is out of float32's range"
    return f"which becomes {held:.0f} in float32" if label.is_integer() and held != label else None


def format_list(entries: Iterable[Entry]) -> str:
    """The text of a ``.lst`` file, byte for byte as MXNet's im2rec.py writes it.

    Raises DataError for a path that such a file cannot hold.
    """
    lines = []
    for key, labels, path in entries:
        if not can_list(path):
            raise DataError(f"{shown(path)}: a .lst file cannot hold this name; rename the file")
        lines.append(f"{key}\t" + "".join(f"{label:f}\t" for label in labels) + f"{path}\n")
    return "".join(lines)


def can_list(path: str) -> bool:
    """Whether a ``.lst`` file can hold the path: it has no tab or line break, and no blank at either end."""
    return path == path.strip() and not any(c in path for c in "\t\n\r")


def write_text(path: str, text: str) -> None:
    """Write `path` whole, preserving file names that are not UTF-8."""
    with whole_file(path, "wb") as stream:
        stream.write(text.encode("utf-8", "surrogateescape"))


def list_flat(paths: Iterable[str]) -> list[Entry]:
    """The pictures that are not in a folder, with label 0, in the order of `paths`."""
    flat = [path for path in paths if "/" not in path]
    return [Entry(key, (0.0,), path) for key, path in enumerate(flat)]


def list_by_folder(paths: Iterable[str]) -> list[Entry]:
    """All of `paths`, in their order; each folder with pictures is a class.

    Folders are numbered as they appear: in folder_order(), that is, alphabetically.
    """
    labels: dict[str, int] = {}
    return [
        Entry(key, (float(labels.setdefault(posixpath.dirname(path), len(labels))),), path)
        for key, path in enumerate(paths)
    ]


def folder_order(path: str) -> tuple[list[str], str]:
    """The sorting key of `path` for the order in which a walk through sorted folders finds it."""
    *folders, name = path.split("/")
    return folders, name


def class_names(entries: Iterable[Entry]) -> Optional[tuple[str, ...]]:
    """The class names in the order of the labels: the classes' folders, relative to the folder they share.

    None if the folders are not classes: they are only if the labels are 0, 1, … without a gap, and each label
    belongs to one folder and each folder to one label.
    """
    folders: dict[float, str] = {}
    for _, labels, path in entries:
        folder = posixpath.dirname(path)
        if len(labels) != 1 or folders.setdefault(labels[0], folder) != folder:
            return None
    names = [folders.get(float(label), "") for label in range(len(folders))]
    if not names or "" in names or len(set(names)) != len(names):
        return None
    if len({posixpath.isabs(name) for name in names}) != 1:
        return None
    above = os.path.commonpath([posixpath.dirname(name) for name in names])
    return tuple(posixpath.relpath(name, above or ".") for name in names)


def split(
    entries: Sequence[Entry],
    *,
    shuffle: bool = True,
    chunks: int = 1,
    train_ratio: float = 1.0,
    test_ratio: float = 0.0,
) -> list[tuple[str, list[Entry]]]:
    """The lists that MXNet's im2rec.py makes from `entries`, each with its suffix to the prefix.

    The shuffle is MXNet's own (Python's, seeded with 100). If there are several `chunks`, their lists are numbered;
    each is split into ``_test``, ``_val`` and ``_train`` if `train_ratio` is below 1.
    """
    entries = list(entries)
    if shuffle:
        random.Random(100).shuffle(entries)
    size = (len(entries) + chunks - 1) // chunks
    train = int(size * train_ratio)
    test = int(size * test_ratio)
    lists = []
    for i in range(chunks):
        chunk = entries[i * size : (i + 1) * size]
        name = f"_{i}" if chunks > 1 else ""
        if train_ratio == 1.0:
            lists.append((name, chunk))
            continue
        if test_ratio:
            lists.append((name + "_test", chunk[:test]))
        if train_ratio + test_ratio < 1.0:
            lists.append((name + "_val", chunk[test + train :]))
        lists.append((name + "_train", chunk[test : test + train]))
    return lists
