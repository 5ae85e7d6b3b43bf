"""Files that appear under their final name only when they are complete."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Iterable, Iterator
from typing import IO, Any, Optional, Union

from gluon_resnet.errors import DataError, UsageError
from gluon_resnet.terminal import shown

Path = Union[str, "os.PathLike[str]"]  # of what takes the path of a file


@contextlib.contextmanager
def temporary_name(path: Path) -> Iterator[str]:
    """Yield a temporary path in the folder of `path`; on success flush it to disk and rename it to `path`.

    For writers that open a file by its name themselves. On an exception the temporary file is removed and any file at
    `path` is left untouched. OSError with `path`, at once, if no file can be created there; an OSError of the block
    that has no name, such as that of a full disk, is given `path`. Files left behind by processes that were killed
    while writing `path` are removed.
    """
    path = os.fspath(path)
    if os.path.isdir(path):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if os.path.exists(path) and not os.path.isfile(path):  # root could rename over /dev/null
        raise OSError(errno.EINVAL, "it is a device or a pipe, which a file would replace", path)
    temporary = Temporary(path)
    try:
        yield temporary.path
        with open(temporary.path, "rb") as stream:
            os.fsync(stream.fileno())
        temporary.appear()
    except BaseException as error:
        temporary.explain(error)
        raise
    finally:
        temporary.remove()


class Temporary:
    """An empty file with a unique name in the folder of `path`, which nobody else can have known before.

    Files left behind by processes that were killed while writing `path` are removed: a process holds a lock on such a
    file as long as it lives.

    Attributes:
        path: the temporary path.

    Raises:
        OSError: no file can be created there; with the name `path`.
    """

    def __init__(self, path: str) -> None:
        self._final = path
        folder, name = os.path.split(path)
        _remove_abandoned(folder or ".", name)
        try:
            self._handle, self.path = _locked_temporary(folder or ".", name)
        except OSError as error:  # it has the temporary name, which means nothing to a user
            raise OSError(error.errno, error.strerror, path) from None

    def appear(self) -> None:
        """Rename it to its final name, replacing any file there."""
        os.chmod(self.path, 0o666 & ~_umask())
        os.replace(self.path, self._final)

    def remove(self) -> None:
        """Remove it unless it has its final name, and close it; may be called again."""
        if self._handle >= 0:
            with contextlib.suppress(OSError):
                os.unlink(self.path)
            os.close(self._handle)
            self._handle = -1

    def explain(self, error: Optional[BaseException]) -> None:
        """Raise with the final name an OSError that has none, as of a full disk, or has the temporary name."""
        if isinstance(error, OSError) and error.errno and error.filename in (None, self.path):
            raise OSError(error.errno, error.strerror, self._final) from error


@contextlib.contextmanager
def temporary_names(card: Path, *paths: Path) -> Iterator[list[str]]:
    """As temporary_name for files that belong together, of which `card` says what they are.

    All are complete before the first is renamed. An old card is removed first, and the new one appears last: a
    process that is killed in between leaves no card beside files that it does not describe.
    """
    with temporary_name(card) as temporary_card, contextlib.ExitStack() as others:
        yield [temporary_card, *(others.enter_context(temporary_name(path)) for path in paths)]
        with contextlib.suppress(FileNotFoundError):
            os.unlink(card)


@contextlib.contextmanager
def whole_file(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open `path` for writing (mode ``'w'`` or ``'wb'``); it appears, complete, when the block ends well."""
    encoding = None if "b" in mode else "utf-8"
    with temporary_name(path) as temporary, open(temporary, mode, encoding=encoding) as stream:
        yield stream


def regular_only(path: str, flags: int) -> int:
    """An opener for ``open(path, opener=regular_only)``, which neither waits for a pipe nor reads a device.

    DataError for these, IsADirectoryError for a folder.
    """
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY, 0o666)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    kind = "a pipe" if stat.S_ISFIFO(mode) else "a device"
    raise DataError(f"{os.fspath(path)}: expected a regular file, found {kind}", path=os.fspath(path))


def own_file(path: str, flags: int) -> int:
    """Like regular_only, for a file to append to or lock: a link, which may lead anywhere, is refused as well."""
    if os.path.islink(path):  # O_NOFOLLOW alone would report too many links
        raise DataError(
            f"{os.fspath(path)}: expected a regular file, found a symbolic link", path=os.fspath(path)
        )
    return regular_only(path, flags | os.O_NOFOLLOW)


def read_regular(path: Path, most: Optional[int] = None) -> bytes:
    """The bytes of a file; DataError where it is no regular file, or has more than `most` of them."""
    with open(path, "rb", opener=regular_only) as stream:
        data = stream.read() if most is None else stream.read(most + 1)
    if most is not None and len(data) > most:
        raise DataError(f"{os.fspath(path)}: expected at most {most} bytes", path=os.fspath(path))
    return data


def beside(path: str, name: Any) -> str:
    """The path of the file called `name` in the folder of the file `path`, which contains the name.

    Args:
        path: the path of a file that may be a stranger's.
        name: the value that it has for a name.

    Raises:
        UsageError: the value is not a plain name: a path would lead out of the folder.
    """
    plain = isinstance(name, str) and name not in ("", os.curdir, os.pardir) and not set("/\0") & set(name)
    try:
        plain = plain and os.fsencode(name) is not None
    except UnicodeEncodeError:  # half of a surrogate pair
        plain = False
    if not plain:
        raise UsageError(f"expected the name of a file in the same folder, found {shown(name)}")
    return os.path.join(os.path.dirname(path), name)


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with open(path, "rb", opener=regular_only) as stream:
        return sha256_of(iter(lambda: stream.read(1 << 20), b""))


def sha256_of(parts: Iterable[bytes]) -> str:
    """The SHA-256 of bytes in several parts, in hexadecimal."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def require_prefix(path: str) -> None:
    """UsageError unless `path` can be the beginning of files' names: a folder would leave them without names."""
    if not os.path.basename(path) or os.path.isdir(path):
        raise UsageError(
            f"{path or 'the working directory'} is a folder: add the beginning of the files' names"
        )


def _locked_temporary(folder: str, name: str) -> tuple[int, str]:
    """A new file and its descriptor: as long as a living process has that open, the file is not abandoned."""
    while True:
        handle, temporary = tempfile.mkstemp(prefix=f".{name}.", suffix=".tmp", dir=folder)
        with contextlib.suppress(
            OSError
        ):  # without locks in the file system, no file is ever found abandoned
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.path.exists(temporary):
            return handle, temporary
        os.close(handle)  # another process took it for abandoned before it was locked


def _remove_abandoned(folder: str, name: str) -> None:
    """Remove the temporary files for `name` that no living process has locked."""
    pattern = re.compile(rf"\.{re.escape(name)}\.[a-z0-9_]{{8}}\.tmp")
    found: list[str] = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        found = [entry.path for entry in entries if pattern.fullmatch(entry.name)]
    for path in found:
        with contextlib.suppress(OSError):
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(handle), os.lstat(path)):
                    os.unlink(path)
            finally:
                os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
