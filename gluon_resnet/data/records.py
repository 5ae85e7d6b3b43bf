"""RecordIO files of images: MXNet's .rec with its .idx."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Optional

import numpy as np

from gluon_resnet.data import _native
from gluon_resnet.data.arguments import expect, is_whole
from gluon_resnet.errors import RecordError
from gluon_resnet.files import Path, temporary_name

_SETTLED_NS = 2_000_000_000


class Header(NamedTuple):
    """The header that precedes the image in a record.

    Attributes:
        label: float32 ``(label_width,)``, a vector even for a single label.
        id: usually the image's line number in the list that was packed.
        id2: 0 in all files of MXNet's and ours so far.
    """

    label: np.ndarray
    id: int
    id2: int


class Record(NamedTuple):
    """One record: ``header, payload = file[i]``, as ``mxnet.recordio.unpack`` returns it."""

    header: Header
    payload: bytes

    def __repr__(self) -> str:
        """The record without its image's bytes, of which there are many."""
        return f"Record({self.header!r}, {len(self.payload)} bytes)"


class RecordFile:
    """A ``.rec`` file, opened for reading.

    Reads are positioned, so one object serves any number of threads, including forked workers; a spawned worker
    reopens the file when the object is unpickled.

    Args:
        path: the path of the ``.rec`` file.
        index_path: the path of its ``.idx``; by default the file of that name beside it. If there is none, the file is
            scanned, which reads a few bytes of each record; a record's key is then its id if all ids are unique, and
            otherwise its position. The result of the scan is kept beside the file as ``NAME.rec.idx-cache``, if the
            folder is writable, and used again for as long as the file does not change. The cache has its own name
            because an ``.idx`` supplied by a user is trusted as it is: it may be older than the file, list only some
            of its records, or list them in another order.

    Raises:
        OSError: the file cannot be opened.
        RecordError: the file is empty, truncated or corrupt, or the index does not belong to it.
    """

    def __init__(self, path: Path, index_path: Optional[Path] = None) -> None:
        is_path = isinstance(path, (str, bytes, os.PathLike)) and "\0" not in os.fsdecode(path)
        expect(is_path, "path", "the path of a record file (.rec)", path)
        self.path = os.fsdecode(path)
        beside = os.path.splitext(self.path)[0] + ".idx"
        if index_path is None and os.path.exists(beside):
            index_path = beside
        self.index_path = None if index_path is None else os.fsdecode(index_path)
        if self.index_path is None:
            self.native = _open_without_index(self.path)
        else:
            self.native = _native.NativeRecordFile(self.path, self.index_path)

    def __len__(self) -> int:
        return len(self.native)

    def __getitem__(self, index: int) -> Record:
        """The record at position `index` (counted from the end if negative).

        Raises:
            IndexError: there is no such position.
            RecordError: the record is truncated or corrupt. Its image is not decoded.
        """
        index = self._position(index)
        labels, identity, identity2, payload = self.native.read(index)
        return Record(Header(labels, identity, identity2), payload)

    def __iter__(self) -> Iterator[Record]:
        return (self[index] for index in range(len(self)))

    def by_key(self, key: int) -> Record:
        """The record with this key in the index; UsageError if there is none."""
        return self[self.native.find(key)]

    def key(self, index: int) -> int:
        """The key of the record at position `index`."""
        return self.native.key(self._position(index))

    def offset(self, index: int) -> int:
        """The offset in bytes at which the record at position `index` starts."""
        return self.native.offset(self._position(index))

    @property
    def images(self) -> Sequence[int]:
        """The positions of the records that hold an image, which are the ones that a `Loader` loads.

        These are all records, except in insightface's files: there the record with key 0 is empty, its first label is
        the key at which the images end, and the records from that key on are lists.
        """
        return self.native.images()

    def check(self) -> None:
        """Read the whole file and compare it with its index; RecordError at the first difference."""
        self.native.check()

    def write_index(self, index_path: Path) -> None:
        """Write the ``.idx`` of this file to `index_path`, where it appears only once it is complete."""
        with temporary_name(index_path) as temporary:
            self.native.write_index(temporary)

    def __repr__(self) -> str:
        return f"RecordFile({self.path!r}, {len(self)} records)"

    def __reduce__(self) -> tuple[type[RecordFile], tuple[str, Optional[str]]]:
        return RecordFile, (self.path, self.index_path)

    def _position(self, index: int) -> int:
        expect(is_whole(index), "index", "the position of a record, a whole number", index)
        if not -len(self) <= index < len(self):
            raise IndexError(f"{self.path}: expected an index below {len(self)}, found {index}")
        return int(index) % len(self)


def _open_without_index(path: str) -> _native.NativeRecordFile:
    """Open with the positions that an earlier scan found; otherwise scan, and keep the positions.

    A cache belongs to this file if it has the file's modification time, which it is given below, and ends where the
    file ends. It therefore stays valid in a copy or an archive that preserves times.
    """
    cache = path + ".idx-cache"
    with contextlib.suppress(OSError, RecordError):
        if os.stat(cache).st_mtime_ns == os.stat(path).st_mtime_ns:
            native = _native.NativeRecordFile(path, cache)
            if native.index_spans_file():
                return native
    changed = os.stat(path).st_mtime_ns  # before the scan: a change during it invalidates the cache
    native = _native.NativeRecordFile(path, None)
    # A file that has just changed may change again without a new time: file systems' clocks tick slowly.
    if abs(time.time_ns() - changed) > _SETTLED_NS:
        with contextlib.suppress(OSError), temporary_name(cache) as temporary:
            native.write_index(temporary)
            os.utime(temporary, ns=(changed, changed))
    return native
