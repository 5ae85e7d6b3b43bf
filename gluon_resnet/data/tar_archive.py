"""Pictures in a tar archive, plain or gzipped, read where they stand; nothing is unpacked to the disk."""

from __future__ import annotations

import contextlib
import gzip
import os
import posixpath
import stat
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from typing import IO, NamedTuple, NoReturn, Optional, Union, cast

from gluon_resnet.data.image_list import Entry, folder_order
from gluon_resnet.data.sources import EXTENSIONS, FilePart, Picture, has_extension
from gluon_resnet.errors import DataError, ImageError


class Member(NamedTuple):
    """Where a file stands in the archive, once that is uncompressed."""

    offset: int
    size: int


class TarArchive:
    """The files in a tar archive. A member that is itself a ``.tar`` counts as a folder of its name.

    The archive is gone through once here, for the names, and read again later: it must be a file.

    Attributes:
        path: the archive.
        ordered: it is compressed, and can only be read from its start.

    Raises:
        OSError: the archive cannot be opened.
        DataError: it is no tar archive, or not a whole one.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise DataError(f"{path}: expected a file; a pipe cannot be read twice", path=path)
        with open(path, "rb") as stream:
            self.ordered = stream.read(2) == b"\x1f\x8b"
        self._members: dict[str, Member] = {}
        self._links: dict[str, str] = {}
        with self._open() as stream:
            self._scan(stream, 0, folder="")

    def paths(self, extensions: Sequence[str] = EXTENSIONS) -> list[str]:
        """See Collection."""
        names = [*self._members, *self._links]
        return sorted((name for name in names if has_extension(name, extensions)), key=folder_order)

    def source(self, entries: Sequence[Entry], classes: Optional[tuple[str, ...]] = None) -> TarSource:
        """See Collection."""
        return TarSource(self, entries, classes)

    def find(self, name: str) -> Union[Member, ImageError]:
        """Where the file stands that `name`, or the link of this name, means; or why it does not."""
        target = name
        for _ in range(8):  # links to links
            member = self._members.get(target)
            if member is not None:
                return member
            if target not in self._links:
                break
            target = self._links[target]
        what = "there is no such member" if target == name else f"a link to {target}, which is not there"
        return ImageError(f"{what} in {self.path}", path=self.path)

    def read(self, name: str) -> bytes:
        """The bytes of one file. In a compressed archive all before it are read, too."""
        member = self.find(name)
        if isinstance(member, ImageError):
            raise DataError(f"{name}: {member}", path=self.path)
        with self._open() as stream:
            return self._read_at(stream, *member)

    def read_in_order(self, members: Sequence[Member]) -> Iterator[bytes]:
        """The bytes of `members`, which are in the order of the archive, in one go."""
        with self._open() as stream:
            for member in members:
                yield self._read_at(stream, *member)

    @contextlib.contextmanager
    def _open(self) -> Iterator[IO[bytes]]:
        with open(self.path, "rb", buffering=0) as file:
            try:
                yield cast(IO[bytes], gzip.GzipFile(fileobj=file) if self.ordered else file)
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                raise DataError(f"{self.path}: not a whole gzip file: {error}", path=self.path) from None

    def _read_at(self, stream: IO[bytes], offset: int, size: int) -> bytes:
        stream.seek(offset)
        data = stream.read(size)
        if len(data) != size:
            self._fail(offset, f"expected {size} bytes, found {len(data)}; the archive has been cut short")
        return data

    def _scan(self, stream: IO[bytes], start: int, folder: str) -> None:
        """Note the members of the archive that `stream` is, as files in `folder`; it starts at `start` in ours."""
        try:
            with tarfile.open(fileobj=stream, mode="r:", encoding="utf-8", errors="surrogateescape") as tar:
                for info in tar:
                    self._note(tar, info, start, folder)
                # tarfile takes a damaged header, and the end of the file, for the end of the archive.
                stream.seek(tar.offset)
                mark = stream.read(tarfile.BLOCKSIZE)
        except tarfile.TarError as error:
            what = f"not a whole tar archive, or none: {error}"
            raise DataError(f"{self._place(folder)}: {what}", path=self.path) from None
        if mark != bytes(tarfile.BLOCKSIZE):
            what = "expected a member of a tar archive or the mark of its end"
            found = (
                "something else"
                if len(mark) == tarfile.BLOCKSIZE
                else f"{len(mark)} bytes; it has been cut short"
            )
            self._fail(start + tar.offset, f"{what}, found {found}")

    def _note(self, tar: tarfile.TarFile, info: tarfile.TarInfo, start: int, folder: str) -> None:
        full = posixpath.normpath(posixpath.join(folder, info.name))
        if info.issym():
            self._links[full] = posixpath.normpath(posixpath.join(posixpath.dirname(full), info.linkname))
        elif info.islnk():
            self._links[full] = posixpath.normpath(posixpath.join(folder, info.linkname))
        elif info.issparse():
            self._fail(
                start + info.offset, f"{info.name} is a sparse file; make the archive without --sparse"
            )
        elif info.isreg() and full.lower().endswith(".tar"):
            inner = cast(IO[bytes], tar.extractfile(info))
            self._scan(inner, start + info.offset_data, full[: -len(".tar")])
        elif info.isreg():
            self._members[full] = Member(start + info.offset_data, info.size)

    def _place(self, folder: str) -> str:
        return f"{self.path}: {folder}.tar" if folder else self.path

    def _fail(self, offset: int, message: str) -> NoReturn:
        raise DataError(f"{self.path}: at offset {offset}: {message}", path=self.path, offset=offset)


class TarSource:
    """The pictures of a list, in an archive; see ListedSource.

    A compressed archive is read from start to end, so that its pictures come in its own order; those of
    a plain one come in the list's.
    """

    def __init__(
        self, archive: TarArchive, entries: Sequence[Entry], classes: Optional[tuple[str, ...]] = None
    ) -> None:
        self.archive = archive
        self.classes = classes
        found = [(entry, archive.find(posixpath.normpath(entry.path))) for entry in entries]
        if archive.ordered:  # what is missing comes first
            found.sort(key=lambda pair: -1 if isinstance(pair[1], ImageError) else pair[1].offset)
        self._found = found
        self.entries = [entry for entry, _ in found]

    def __len__(self) -> int:
        return len(self._found)

    def __iter__(self) -> Iterator[Picture]:
        there = [member for _, member in self._found if isinstance(member, Member)]
        contents: Iterator[Union[bytes, FilePart]] = self._parts(there)
        if self.archive.ordered:
            contents = self.archive.read_in_order(there)
        for (key, labels, path), member in self._found:
            content = member if isinstance(member, ImageError) else next(contents)
            yield Picture(key, labels, f"{self.archive.path}:{path}", content)

    def _parts(self, members: Sequence[Member]) -> Iterator[FilePart]:
        return (FilePart(self.archive.path, *member) for member in members)
