"""The intact records of a damaged record file, and where data is lost; record_format.h documents the format."""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator
from typing import NamedTuple, Optional

from gluon_resnet.data.class_names import classes_path, read_class_names
from gluon_resnet.data.packing.sources import Picture
from gluon_resnet.errors import RecordError
from gluon_resnet.files import regular_only

_MAGIC = struct.pack("<I", 0xCED7230A)
_PART = struct.Struct("<II")
_HEADER = struct.Struct("<IfQQ")
_LENGTH = (1 << 29) - 1


class Lost(NamedTuple):
    """Bytes of a record file that belong to no intact record: their offset, their number, and the reason."""

    offset: int
    size: int
    reason: str


class _Record(NamedTuple):
    offset: int
    end: int
    id: int


class Salvaged:
    """The intact records in the file `path`, in its order; a Source. An index of the file is ignored.

    A record is intact if its parts are all in the file and follow each other, no part contains the magic number of
    another, and its header fits into it. After damage the search continues at the next magic number of a record. The
    key of a record is its id if the ids are unique, and otherwise its position. Whether the images are intact can be
    found out with ``--check``.

    Attributes:
        classes: the class names beside the file, or None.
        lost: the data that is not in the records, in the order of the file.

    Raises:
        OSError: the file cannot be read.
        RecordError: the file has no intact record.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.lost: list[Lost] = []
        self._records: list[_Record] = []
        if os.path.getsize(path):
            with _mapped(path) as data:
                self._scan(data)
        if not self._records:
            raise RecordError(f"{path}: the file has no intact record", path=path)
        names = classes_path(path)
        self.classes = read_class_names(names) if os.path.exists(names) else None
        ids = {record.id for record in self._records}
        self._by_id = len(ids) == len(self._records) and max(ids) < 1 << 63

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[Picture]:
        with _mapped(self.path) as data:
            for position, record in enumerate(self._records):
                labels, payload = _content(data, record)
                key = record.id if self._by_id else position
                yield Picture(key, labels, f"{self.path}: at offset {record.offset}", payload)

    def _scan(self, data: mmap.mmap) -> None:
        offset = 0
        while offset < len(data):
            end, reason = _end(data, offset)
            if reason is None:
                self._records.append(_Record(offset, end, _HEADER.unpack(_start(data, offset))[2]))
            else:
                end = _next(data, offset)
                self.lost.append(Lost(offset, end - offset, reason))
            offset = end


def _mapped(path: str) -> mmap.mmap:
    with open(path, "rb", opener=regular_only) as stream:
        return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)


def _end(data: mmap.mmap, start: int) -> tuple[int, Optional[str]]:
    """The end of the record at `start`, and what is wrong with it, or None."""
    offset, size, first = start, 0, True
    while True:
        if offset + _PART.size > len(data):
            return offset, f"the file ends {len(data) - offset} bytes into a header"
        magic, lrec = _PART.unpack_from(data, offset)
        flag, length = lrec >> 29, lrec & _LENGTH
        if data[offset : offset + 4] != _MAGIC:
            return offset, f"expected the magic number of a record, found 0x{magic:08x}"
        if flag not in ((0, 1) if first else (2, 3)):
            return (
                offset,
                f"expected the {'first' if first else 'next'} part of a record, found one with cflag {flag}",
            )
        begin = offset + _PART.size
        if begin + length > len(data):
            return (
                offset,
                f"expected {length} bytes of data, found {len(data) - begin}: the file has been cut short",
            )
        inside = _find(data, begin, begin + length)
        if inside is not None:
            return offset, f"expected {length} bytes of data, found the next part after {inside - begin}"
        size += length + (0 if first else 4)
        offset, first = begin + (length + 3) // 4 * 4, False
        if flag in (0, 3):
            break
    if size < _HEADER.size:
        return offset, f"expected a header of {_HEADER.size} bytes, found a record of {size}"
    if _HEADER.size + 4 * _HEADER.unpack(_start(data, start))[0] > size:
        return offset, "its header claims more labels than fit into it"
    return min(offset, len(data)), None


def _start(data: mmap.mmap, offset: int) -> bytes:
    """The header of an intact record."""
    first = _PART.unpack_from(data, offset)[1] & _LENGTH
    if first >= _HEADER.size:
        return data[offset + _PART.size : offset + _PART.size + _HEADER.size]
    return _whole(data, offset)[: _HEADER.size]


def _whole(data: mmap.mmap, offset: int) -> bytes:
    """The bytes of an intact record; its parts are joined by the magic number at which it was split."""
    parts = []
    flag = 1
    while flag in (1, 2):
        _, lrec = _PART.unpack_from(data, offset)
        flag, begin = lrec >> 29, offset + _PART.size
        end = begin + (lrec & _LENGTH)
        parts.append(data[begin:end])
        offset = begin + (end - begin + 3) // 4 * 4
    return _MAGIC.join(parts)


def _content(data: mmap.mmap, record: _Record) -> tuple[tuple[float, ...], bytes]:
    """The record's labels and its image."""
    whole = _whole(data, record.offset)
    count, label, _, _ = _HEADER.unpack_from(whole)
    end = _HEADER.size + 4 * count
    return struct.unpack_from(f"<{count}f", whole, _HEADER.size) or (label,), whole[end:]


def _find(data: mmap.mmap, start: int, end: int) -> Optional[int]:
    """The first magic number at a multiple of 4 bytes in a part's data, which itself starts at such a multiple."""
    while (start := data.find(_MAGIC, start, end)) >= 0:
        if start % 4 == 0:
            return start
        start += 1
    return None


def _next(data: mmap.mmap, start: int) -> int:
    """The offset at which the next record may start after damage at `start`, or the end of the file."""
    at = _find(data, start + 4 - start % 4, len(data))
    while at is not None:
        if at + _PART.size <= len(data) and _PART.unpack_from(data, at)[1] >> 29 in (0, 1):
            return at
        at = _find(data, at + 4, len(data))
    return len(data)
