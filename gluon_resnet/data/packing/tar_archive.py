"""Pictures in a tar archive, plain or compressed, read in place; nothing is unpacked to the disk."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import os
import posixpath
import re
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Callable, NamedTuple, NoReturn, Optional, Union, cast

from gluon_resnet.data.packing.image_list import Entry
from gluon_resnet.data.packing.left_out import Survey, is_hidden, survey
from gluon_resnet.data.packing.sources import EXTENSIONS, FilePart, Picture
from gluon_resnet.errors import DataError, ImageError
from gluon_resnet.files import regular_only
from gluon_resnet.terminal import printable_name, reason_of, shown

_Opener = Callable[[IO[bytes]], IO[bytes]]
_COMPRESSED: tuple[tuple[bytes, str, _Opener], ...] = (
    (b"\x1f\x8b", "gzip", lambda file: cast(IO[bytes], gzip.GzipFile(fileobj=file))),
    (b"BZh", "bzip2", bz2.BZ2File),
    (b"\xfd7zXZ\0", "xz", lzma.LZMAFile),
)
# Other files that people try, and what to do with them.
_OTHERS = (
    (b"PK\x03\x04", "a zip archive; unpack it with unzip, and pack the folder"),
    (b"\x28\xb5\x2f\xfd", "compressed by Zstandard; decompress it with zstd -d"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive; unpack it, and pack the folder"),
    (b"Rar!", "a RAR archive; unpack it, and pack the folder"),
    (
        b"\x0a\x23\xd7\xce",
        "a record file, for which there are --check, --join, --unpack and --salvage",
    ),
    (b"\xff\xd8\xff", "a JPEG image; give the folder that it is in"),
    (b"\x89PNG", "a PNG image; give the folder that it is in"),
)
_MAGIC = 8  # bytes, which are enough to tell them all apart
# A header's name or list of attributes takes a few KiB; longer ones are meant to exhaust the memory.
_MOST_HEADER = 1 << 18
_MOST_DIGITS = 300  # in a row: tarfile needs quadratic time for them, and no file name is longer
_MOST_GLOBALS = 100  # attributes of all members, which tarfile copies for each of them
_MOST_NESTED = 8  # tar archives inside one another
# The most members of a compressed archive: a constant, and one per 32 bytes. A picture has hundreds of bytes.
_MEMBERS, _LEAST_MEMBER = 10_000, 32


class Member(NamedTuple):
    """The position of a file in the archive, once that is uncompressed."""

    offset: int
    size: int


class TarArchive:
    """The files in a tar archive. A member that is itself a ``.tar`` counts as a folder of that name.

    The archive is scanned once here, for the names, and read again later, so it must be a file.

    Attributes:
        path: the path of the archive.
        ordered: whether it is compressed, and can only be read from its start.

    Raises:
        OSError: the archive cannot be opened.
        DataError: the file is not a tar archive, or is truncated or damaged.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        with open(path, "rb", opener=regular_only) as stream:
            magic = stream.read(_MAGIC)
            self._left = _MEMBERS + stream.seek(0, os.SEEK_END) // _LEAST_MEMBER  # members still allowed
        for start, what in _OTHERS:
            if magic.startswith(start):
                raise DataError(f"{path}: expected a folder or a tar archive, found {what}", path=path)
        self._compression = next((item for item in _COMPRESSED if magic.startswith(item[0])), None)
        self.ordered = self._compression is not None
        self._members: dict[str, Member] = {}
        self._links: dict[str, str] = {}
        self._folders: set[str] = set()
        self._special: list[str] = []
        with self._open() as stream:
            self._scan(stream, 0, folder="", depth=0)

    def survey(self, extensions: Sequence[str] = EXTENSIONS) -> Survey:
        """See Collection."""
        known = self._folders.union({os.curdir}, map(posixpath.dirname, self._members))
        to_folders = [name for name, target in self._links.items() if target in known]
        hidden: set[str] = set()
        folders = _visible(self._folders, hidden)
        files = _visible((*self._members, *self._links.keys() - to_folders), hidden)
        links, special = _visible(to_folders, hidden), _visible(self._special, hidden)
        folders += map(posixpath.dirname, files)
        return survey(files, folders, extensions, hidden=list(hidden), links=links, unreadable=special)

    def source(self, entries: Sequence[Entry], classes: Optional[tuple[str, ...]] = None) -> TarSource:
        """See Collection."""
        return TarSource(self, entries, classes)

    def find(self, name: str) -> Union[Member, ImageError]:
        """The position of the file `name`, or of the file that the link `name` leads to; or why there is none."""
        target = name
        for _ in range(8):  # links to links
            member = self._members.get(target)
            if member is not None:
                return member
            if target not in self._links:
                break
            target = self._links[target]
        link = f"a link to {printable_name(target)}, which does not exist"
        what = "there is no such member" if target == name else link
        return ImageError(f"{what} in {self.path}", path=self.path)

    def read(self, name: str) -> bytes:
        """The bytes of one file. In a compressed archive, everything before it is read, too."""
        member = self.find(name)
        if isinstance(member, ImageError):
            raise DataError(f"{name}: {member}", path=self.path)
        with self._open() as stream:
            return self._read_at(stream, *member)

    def read_in_order(self, members: Sequence[Member]) -> Iterator[bytes]:
        """The bytes of each of `members`, which must be in the order of the archive, in a single pass."""
        with self._open() as stream:
            for member in members:
                yield self._read_at(stream, *member)

    @contextlib.contextmanager
    def _open(self) -> Iterator[IO[bytes]]:
        with open(self.path, "rb", buffering=0, opener=regular_only) as file:
            try:
                yield cast(IO[bytes], file) if self._compression is None else self._compression[2](file)
            except (EOFError, zlib.error, lzma.LZMAError, OSError) as error:
                if self._compression is None or getattr(error, "errno", None) is not None:
                    raise
                what = f"not a complete {self._compression[1]} file: {error}"
                raise DataError(f"{self.path}: {what}", path=self.path) from None

    def _read_at(self, stream: IO[bytes], offset: int, size: int) -> bytes:
        stream.seek(offset)
        data = stream.read(size)
        if len(data) != size:
            self._fail(offset, f"expected {size} bytes, found {len(data)}; the archive has been cut short")
        return data

    def _scan(self, stream: IO[bytes], start: int, folder: str, depth: int) -> None:
        """Note the members of the archive `stream`, at offset `start` of the outermost one, as files in `folder`."""
        headers = cast(IO[bytes], _Headers(stream))
        last: Optional[tarfile.TarInfo] = None
        try:
            with tarfile.open(fileobj=headers, mode="r:", encoding="utf-8", errors="surrogateescape") as tar:
                while (info := tar.next()) is not None:
                    tar.members.clear()  # type: ignore[attr-defined]  # which it would keep, at a KiB each
                    self._require_possible(tar, info, last, start)
                    last = info
                    self._note(tar, info, start, folder, depth)
                # tarfile mistakes a damaged header, and the end of the file, for the end of the archive.
                stream.seek(tar.offset)
                mark = stream.read(tarfile.BLOCKSIZE)
        except _DAMAGE as error:
            known = isinstance(error, (tarfile.TarError, _HeaderError))
            reason = reason_of(error) if known else "it has headers that no program writes"
            what = f"not a tar archive, or not a complete one: {reason}"
            after = f" (after the member {printable_name(last.name)})" if last else ""
            raise DataError(f"{self._place(folder)}: {what}{after}", path=self.path) from None
        if mark != bytes(tarfile.BLOCKSIZE):
            what = "expected a member of a tar archive or its end marker"
            found = (
                "something else"
                if len(mark) == tarfile.BLOCKSIZE
                else f"{len(mark)} bytes; it has been cut short"
            )
            self._fail(start + tar.offset, f"{what}, found {found}")

    def _require_possible(
        self, tar: tarfile.TarFile, info: tarfile.TarInfo, last: Optional[tarfile.TarInfo], start: int
    ) -> None:
        """Raise DataError unless `info` follows `last`, has a possible size, and is not one member too many."""
        self._left -= 1
        name = printable_name(info.name)
        if info.size < 0 or (last and info.offset <= last.offset):
            self._fail(
                start + info.offset, f"the member {name} has a size of {info.size} bytes, which is impossible"
            )
        attributes = len(tar.pax_headers or ())
        if attributes > _MOST_GLOBALS:
            what = f"attributes of all members: expected at most {_MOST_GLOBALS}, found {attributes}"
            self._fail(start + info.offset, what)
        if self._left < 0:
            self._fail(start + info.offset, f"more members than a file of this size can hold, up to {name}")

    def _note(self, tar: tarfile.TarFile, info: tarfile.TarInfo, start: int, folder: str, depth: int) -> None:
        full = posixpath.normpath(posixpath.join(folder, info.name))
        if info.issym():
            self._links[full] = posixpath.normpath(posixpath.join(posixpath.dirname(full), info.linkname))
        elif info.islnk():
            self._links[full] = posixpath.normpath(posixpath.join(folder, info.linkname))
        elif info.isdir():
            if full != os.curdir:
                self._folders.add(full)
        elif info.issparse():
            what = f"{printable_name(info.name)} is a sparse file; make the archive without --sparse"
            self._fail(start + info.offset, what)
        elif info.isreg() and full.lower().endswith(".tar"):
            if depth == _MOST_NESTED:
                self._fail(
                    start + info.offset, f"more than {_MOST_NESTED} tar archives are nested in one another"
                )
            inner = cast(IO[bytes], tar.extractfile(info))
            self._scan(inner, start + info.offset_data, full[: -len(".tar")], depth + 1)
        elif info.isreg():
            self._members[full] = Member(start + info.offset_data, info.size)
        else:
            self._special.append(full)

    def _place(self, folder: str) -> str:
        return f"{self.path}: {printable_name(folder)}.tar" if folder else self.path

    def _fail(self, offset: int, message: str) -> NoReturn:
        raise DataError(f"{self.path}: at offset {offset}: {message}", path=self.path, offset=offset)


class _HeaderError(Exception):
    """A header that no real archive has."""


# What tarfile raises for headers that no program writes, such as malformed numbers or endless chains of headers.
_DAMAGE = (
    *(tarfile.TarError, _HeaderError, ValueError, LookupError, TypeError, OverflowError),
    *(AttributeError, RecursionError, MemoryError),
)


class _Headers:
    """The archive's stream, limited to what tarfile needs to go from header to header."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._stream.tell()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        try:
            return self._stream.seek(offset, whence)
        except (OSError, OverflowError, ValueError):
            raise _HeaderError(f"a header points to the impossible offset {shown(offset)}") from None

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _MOST_HEADER:
            raise _HeaderError(f"a header has {shown(size)} bytes; at most {_MOST_HEADER} are allowed")
        data = self._stream.read(size)
        long = size > tarfile.BLOCKSIZE  # shorter ones take no time
        if long and max(map(len, re.findall(rb"\d+", data)), default=0) > _MOST_DIGITS:
            raise _HeaderError(f"a header has more than {_MOST_DIGITS} digits in a row")
        return data


def _visible(paths: Iterable[str], hidden: set[str]) -> list[str]:
    """Those of `paths` that are not hidden; the files or folders that hide the others are added to `hidden`."""
    hides: dict[str, Optional[str]] = {}  # by folder, since there are few folders

    def hiding(path: str) -> Optional[str]:
        folder, name = posixpath.split(path)
        if folder not in hides:
            parts = folder.split("/")
            first = next((i for i, part in enumerate(parts, 1) if is_hidden(part)), None)
            hides[folder] = None if first is None else "/".join(parts[:first])
        return hides[folder] or (path if is_hidden(name) else None)

    visible = []
    for path in paths:
        hider = hiding(path)
        if hider is None:
            visible.append(path)
        else:
            hidden.add(hider)
    return visible


class TarSource:
    """The pictures of a list, in an archive; see ListedSource.

    A compressed archive is read from start to end, so its pictures come in its own order; those of a plain
    archive come in the order of the list.
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
