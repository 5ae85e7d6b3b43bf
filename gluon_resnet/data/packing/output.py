"""The files that packing writes, which appear together and complete under their final names."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Optional

from gluon_resnet.data.packing.list_origin import ORIGIN_SUFFIX
from gluon_resnet.errors import DataError
from gluon_resnet.files import Temporary, own_file

_PARTIAL = ".partial"
_SUFFIXES = (".rec", ".idx", ".lst", ORIGIN_SUFFIX, ".classes")


class PackOutput:
    """A record file and its companions, PREFIX.rec …, while they are being written under temporary names.

    Use it as a context manager: entering it removes what killed runs have left behind, and leaving it removes whatever
    was not committed. A lock, PREFIX.rec.partial, keeps out a second writer; it ends with the process, however that
    ends.

    Attributes:
        record: the temporary name of the ``.rec``.
        index: the temporary name of the ``.idx``.

    Raises:
        OSError: the folder cannot be written to.
        DataError: the folder does not exist, or another process is writing the same files.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.record = self.index = ""
        self._lock_path = prefix + ".rec" + _PARTIAL
        self._lock = -1
        self._files: dict[str, Temporary] = {}  # by suffix

    def __enter__(self) -> PackOutput:
        folder = os.path.dirname(self.prefix) or os.curdir
        if not os.path.isdir(folder):
            raise DataError(f"{folder}: the folder to write to does not exist", path=folder)
        for suffix in _SUFFIXES:
            if os.path.isdir(self.prefix + suffix):
                raise DataError(
                    f"{self.prefix}{suffix}: a folder of this name is in the way", path=self.prefix
                )
        self._lock = _lock(self._lock_path)
        try:
            self.record, self.index = (self._new(suffix).path for suffix in (".rec", ".idx"))
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        for file in self._files.values():
            file.remove()
        _unlock(self._lock_path, self._lock)
        for file in self._files.values():
            if isinstance(error, OSError) and error.filename == file.path:
                file.explain(error)

    def commit(self, texts: Mapping[str, str]) -> None:
        """Give the record file, its index and `texts` (a mapping from suffix to content) their final names.

        The record file and its index must have been flushed to the disk.
        """
        for suffix, text in texts.items():
            with open(self._new(suffix).path, "wb") as stream:
                stream.write(text.encode("utf-8", "surrogateescape"))
                stream.flush()
                os.fsync(stream.fileno())
        if (
            ".lst" in texts and ORIGIN_SUFFIX not in texts
        ):  # the origin of an earlier list says nothing about this one
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.prefix + ORIGIN_SUFFIX)
        # Two files cannot be replaced at once, and a wrong index would lead readers astray. So for a
        # moment there is no index: readers then scan the record file, whether old or new.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.prefix + ".idx")
        for suffix in (".rec", ".idx", *texts):
            self._files[suffix].appear()
        folder = os.open(os.path.dirname(self.prefix) or os.curdir, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _new(self, suffix: str) -> Temporary:
        file = self._files[suffix] = Temporary(self.prefix + suffix)
        return file


@contextlib.contextmanager
def only_run(prefix: str) -> Iterator[None]:
    """Hold the lock PREFIX.partial, so that no other run reads or makes any of the lists of `prefix` meanwhile."""
    path = prefix + _PARTIAL
    lock = _lock(path)
    try:
        yield
    finally:
        _unlock(path, lock)


def _unlock(path: str, lock: int) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    os.close(lock)


def _lock(path: str) -> int:
    """An open descriptor of `path`, locked against other processes' use."""
    while True:
        descriptor = own_file(path, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The previous holder of the lock may have renamed or removed the file in between.
            if os.path.exists(path) and os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            raise DataError(f"{path}: another process is writing this file", path=path) from None
        os.close(descriptor)
