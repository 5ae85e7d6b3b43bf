"""The files of a multipart/form-data body (RFC 7578) that is in memory.

python-multipart 0.0.20, the last for Python 3.9, has no limit for a part's headers: 16 MiB of them keep the
interpreter busy for a minute. Here the work is `bytes.find`'s, but for headers of bounded length.
"""

from __future__ import annotations

from email.message import Message
from email.parser import BytesHeaderParser

MOST_HEADER_BYTES = 2048  # of one part; browsers write its name, the file's name and a type


class FormError(ValueError):
    """The body is no form of files."""


class TooManyFiles(FormError):
    """There are more files than are wanted."""


def files_of_form(content_type: str, body: bytes, most: int) -> list[bytes]:
    """The contents of a form's files, in their order.

    Args:
        content_type: the request's, which names the boundary.
        most: how many files there may be.

    Raises:
        TooManyFiles: there are more.
        FormError: it is no form, ends early, or has a field that is no file.
    """
    boundary = _headers(b"Content-Type: " + content_type.encode("latin-1", "replace")).get_boundary() or ""
    if not (boundary.isascii() and 1 <= len(boundary) <= 70):  # RFC 2046, §5.1.1
        raise FormError("its Content-Type names no boundary")
    delimiter = f"\r\n--{boundary}".encode()
    if not body.startswith(delimiter[2:]):
        raise FormError("it does not begin with its boundary")
    files: list[bytes] = []
    at = len(delimiter) - 2  # behind a boundary
    while not body.startswith(b"--", at):
        begin = body.find(b"\r\n\r\n", at, at + MOST_HEADER_BYTES)
        if begin < 0 or not body.startswith(b"\r\n", at):
            raise FormError("a part's headers do not end, or are too long")
        end = body.find(delimiter, begin + 4)
        if end < 0:
            raise FormError("it ends before its last boundary")
        _check_file(_headers(body[at + 2 : begin]))
        if len(files) == most:
            raise TooManyFiles(f"a form has at most {most} files here")
        files.append(body[begin + 4 : end])
        at = end + len(delimiter)
    return files


def _headers(lines: bytes) -> Message:
    return BytesHeaderParser().parsebytes(lines)


def _check_file(headers: Message) -> None:
    if headers.get_content_disposition() != "form-data":
        raise FormError("a part has no Content-Disposition: form-data")
    if headers.get_filename() is None:
        name = headers.get_param("name", "", header="content-disposition")
        raise FormError(f"{str(name)[:80]!r} is no file; it has files only, and ?topk=K is a query")
