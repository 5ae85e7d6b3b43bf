"""RecordIO files of images: MXNet's .rec with its .idx."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Optional, Union

import numpy as np

from gluon_resnet.data import _native
from gluon_resnet.data.arguments import expect, is_whole
from gluon_resnet.errors import RecordError
from gluon_resnet.files import temporary_name

Path = Union[str, "os.PathLike[str]"]

_SETTLED_NS = 2_000_000_000


class Header(NamedTuple):
    """What stands before the image in a record.

    Attributes:
        label: float32 ``(label_width,)``, a vector also where there is one label.
        id: usually the line of the image in the list that was packed.
        id2: always 0 so far, in MXNet's files and ours.
    """

    label: np.ndarray
    id: int
    id2: int


class Record(NamedTuple):
    """One record: ``header, payload = file[i]``, as ``mxnet.recordio.unpack`` gives it."""

    header: Header
    payload: bytes

    def __repr__(self) -> str:
        """Without the image's bytes, which are many."""
        return f"Record({self.header!r}, {len(self.payload)} bytes)"


class RecordFile:
    """A ``.rec`` file, opened for reading.

    Reads are positioned: one object serves any number of threads, forked workers included; a spawned
    worker opens the file anew when the object is unpickled.

    Args:
        path: the ``.rec`` file.
        index_path: its ``.idx``; by default the file beside it of that name. Where there is none the file is
            scanned, which reads a few bytes of each record; then a record's key is its id where these are unique,
            and its position where not. What the scan finds is kept beside the file as ``NAME.rec.idx-cache``, if the
            folder can be written to, and found again as long as the file has not changed since. It has a name of
            its own because an ``.idx`` that a user gave is trusted as it is: it may be older than the file, list
            some of its records only, or list them in another order.

    Raises:
        OSError: the file cannot be opened.
        RecordError: it is empty, truncated, corrupt, or its index is not its index.
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
        """The record at position `index` (from the end where it is negative).

        Raises:
            IndexError: there is no such position.
            RecordError: the record is truncated or corrupt. The image in it is not looked at.
        """
        index = self._position(index)
        labels, identity, identity2, payload = self.native.read(index)
        return Record(Header(labels, identity, identity2), payload)

    def __iter__(self) -> Iterator[Record]:
        return (self[index] for index in range(len(self)))

    def by_key(self, key: int) -> Record:
        """The record with this key in the index; UsageError where there is none."""
        return self[self.native.find(key)]

    def key(self, index: int) -> int:
        """The key of the record at position `index`."""
        return self.native.key(self._position(index))

    def offset(self, index: int) -> int:
        """Where the record at position `index` starts in the file, in bytes."""
        return self.native.offset(self._position(index))

    @property
    def images(self) -> Sequence[int]:
        """The positions of the records that hold an image, which are those that a `Loader` loads.

        These are all records, but in insightface's files: there the record with key 0 is empty and its first label
        is the key where the images end, and the records from that key on are lists.
        """
        return self.native.images()

    def check(self) -> None:
        """Walk through the whole file and compare it with its index; RecordError at the first difference."""
        self.native.check()

    def write_index(self, index_path: Path) -> None:
        """Write the ``.idx`` for this file to `index_path`, where it appears when it is whole."""
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
    """Open with the positions that an earlier scan found; else scan, and keep what is found.

    They are this file's where they have its time of modification, which is given to them below, and end where it
    ends. So they stay valid in a copy or an archive that keeps times.
    """
    cache = path + ".idx-cache"
    with contextlib.suppress(OSError, RecordError):
        if os.stat(cache).st_mtime_ns == os.stat(path).st_mtime_ns:
            native = _native.NativeRecordFile(path, cache)
            if native.index_spans_file():
                return native
    changed = os.stat(path).st_mtime_ns  # before the scan: what changes during it makes the cache invalid
    native = _native.NativeRecordFile(path, None)
    # A file may change again without a change of its time while that is now: clocks of files tick slowly.
    if abs(time.time_ns() - changed) > _SETTLED_NS:
        with contextlib.suppress(OSError), temporary_name(cache) as temporary:
            native.write_index(temporary)
            os.utime(temporary, ns=(changed, changed))
    return native
