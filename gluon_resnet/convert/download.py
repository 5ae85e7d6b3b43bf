"""Downloads a file, which gets its name only once it is complete, of a possible length, and the right one."""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import os
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import IO, Any, Callable, Optional

from gluon_resnet.errors import EnvironmentProblem, ModelError
from gluon_resnet.files import own_file, sha256, temporary_name
from gluon_resnet.terminal import printable

_PATIENCE = 60.0  # seconds without an answer or with fewer than _PROGRESS bytes
_PROGRESS = 1 << 14
_BLOCK = 1 << 16
_ATTEMPTS = 8  # provided that each makes progress


class _Cut(Exception):
    """An answer that ended early or never came; its text says why."""


def download(
    url: str,
    path: str,
    digest: str,
    longest: int,
    patience: float = _PATIENCE,
    tell: Callable[[str], None] = lambda sentence: None,
) -> None:
    """Download `url` to `path`, unless that exists by now; an existing file is not checked.

    A connection that ends early is resumed where it ended. Proxies and certificates are those of urllib, from the
    environment. Among several processes one downloads, and the others wait for it.

    Args:
        url: an HTTP or HTTPS address.
        path: the path of the file, whose folder is created.
        digest: the hexadecimal digits that the file's SHA-256 begins with.
        longest: the largest possible length of the file, in bytes.
        patience: the number of seconds without progress after which the connection is given up.
        tell: a function that gets a sentence before the download, or before a wait for another process.

    Raises:
        EnvironmentProblem: the file cannot be downloaded, or is not the right one.
        OSError: the file cannot be written.
    """
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with _alone(path, tell):
        if os.path.lexists(path):
            return
        tell(f"downloading {url} to {path}")
        with temporary_name(path) as temporary:
            with open(temporary, "wb") as stream:
                _bring(url, stream, longest, patience)
            found = sha256(temporary)
            if not found.startswith(digest):
                raise EnvironmentProblem(
                    f"{url}: expected a file whose SHA-256 begins with {digest}, got {os.path.getsize(temporary)} "
                    f"bytes with {found[: len(digest)]}"
                )


def require_right(path: str, digest: str, longest: int) -> str:
    """The SHA-256 of the file at `path`; ModelError if it does not begin with `digest`, or the file is too long."""
    length = os.path.getsize(path)
    found = sha256(path) if length <= longest else ""
    if not found or not found.startswith(digest):
        what = f"one with {found[: len(digest)]}" if found else f"one of {length} bytes"
        raise ModelError(
            f"{path}: expected a file whose SHA-256 begins with {digest}, found {what}: remove it, so that it is "
            "downloaded again",
            path=path,
        )
    return found


@contextlib.contextmanager
def _alone(path: str, tell: Callable[[str], None]) -> Iterator[None]:
    """Wait until no other process is downloading this file, if the file system has locks."""
    with open(f"{path}.lock", "ab", opener=own_file) as lock:
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                tell(f"waiting for another process that is downloading {path}")
                fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError:  # without locks, as on some network file systems, each process downloads its own file
            yield
        else:
            yield  # the lock ends with the descriptor, however this process ends


def _bring(url: str, stream: IO[bytes], longest: int, patience: float) -> None:
    for _ in range(_ATTEMPTS):
        before = stream.tell()
        try:
            for block in _blocks(url, stream, longest, patience):
                stream.write(block)
            return
        except _Cut as error:
            reason = str(error)
        if stream.tell() <= before:
            break
    raise EnvironmentProblem(f"{url} cannot be downloaded: {reason}")


def _blocks(url: str, stream: IO[bytes], longest: int, patience: float) -> Iterator[bytes]:
    """The bytes that `stream` lacks, or all bytes after emptying it."""
    start = stream.tell()
    with _open(url, start, patience) as answer:
        if start and (answer.status != 206 or not _begins_at(answer, start)):
            stream.seek(0)
            stream.truncate()
            start = 0
        count, length = start, _length(answer, start)
        since, mark = time.monotonic(), count
        while True:
            if max(count, length or 0) > longest:
                raise EnvironmentProblem(
                    f"{url}: expected at most {longest} bytes, got {max(count, length or 0)}"
                    f"{'' if count > longest else ' announced'}"
                )
            block = _read(answer, patience)
            if not block:
                break
            count += len(block)
            yield block
            if count - mark >= _PROGRESS:
                since, mark = time.monotonic(), count
            elif time.monotonic() - since > patience:
                raise _Cut(f"only {count - mark} bytes came in {patience:g} s")
        if length is not None and count < length:
            raise _Cut(f"the connection ended after {count} of {length} bytes")


def _open(url: str, start: int, patience: float) -> Any:
    headers = {"User-Agent": "gluon-resnet", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        # A new opener, which reads the proxies that the environment has now.
        opener = urllib.request.build_opener()
        return opener.open(urllib.request.Request(url, headers=headers), timeout=patience)
    except urllib.error.HTTPError as error:
        error.close()
        known = http.client.responses.get(error.code, "")
        raise _Cut(f"the server answered {error.code} {known}".rstrip()) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _Cut(_reason(error, patience)) from None


def _read(answer: Any, patience: float) -> bytes:
    try:
        block: bytes = answer.read1(_BLOCK)
        return block
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _Cut(_reason(error, patience)) from None


def _reason(error: Exception, patience: float) -> str:
    """What went wrong, in the words of this machine's libraries: text from the answer is not shown."""
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, socket.timeout):
        return f"nothing was received for {patience:g} s"
    text = (cause.strerror if isinstance(cause, OSError) else None) or (
        "the answer is not one of HTTP"
        if isinstance(cause, (http.client.HTTPException, ValueError))
        else str(cause)
    )
    return printable(text[:200])


def _length(answer: Any, start: int) -> Optional[int]:
    """The length of the whole file according to the answer; None if it does not say."""
    text = answer.headers.get("Content-Length") or ""
    return start + int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def _begins_at(answer: Any, start: int) -> bool:
    return str(answer.headers.get("Content-Range", "")).startswith(f"bytes {start}-")
