"""The files of a multipart/form-data body (RFC 7578) that is in memory.

The parser is `multipart`'s, which limits a part's headers; what it is given is bounded here. A form costs as much as
it is long.
"""

from __future__ import annotations

import re

from multipart import (
    MultipartError,
    MultipartSegment,
    ParserLimitReached,
    PushMultipartParser,
    parse_options_header,
)

MOST_HEADER_BYTES = 1024  # of a line: browsers write a part's name, the file's name and a type
_MOST_HEADERS = 8  # of a part
_MOST_BOUNDARY = 70  # RFC 2046, §5.1.1


class FormError(ValueError):
    """The body is no form of files."""


class TooManyFiles(FormError):
    """There are more files than are wanted."""


def files_of_form(content_type: str, body: bytes, most: int) -> list[bytes]:
    """The contents of a form's files, in their order.

    Args:
        content_type: the request's, which names the boundary; at most MOST_HEADER_BYTES long.
        most: how many files there may be.

    Raises:
        TooManyFiles: there are more.
        FormError: it is no form, ends early, or has a field that is no file.
    """
    boundary = _boundary(content_type)
    if not body.startswith(b"--" + boundary):
        raise FormError("it does not begin with its boundary")
    # Names are not used, and old clients do not write them in UTF-8: any byte is a letter of latin-1.
    parser = PushMultipartParser(
        boundary,
        max_header_size=MOST_HEADER_BYTES,
        max_header_count=_MOST_HEADERS,
        max_segment_count=most + 1,
        header_charset="latin-1",
        strict=True,  # no headers of several lines: joining them takes quadratic time
    )
    files: list[bytes] = []
    pieces: list[bytes] = []
    words = ""  # about what is wrong; else the parser's
    try:
        for event in parser.parse(body):
            if event is None:
                files.append(b"".join(pieces))
            elif isinstance(event, MultipartSegment):
                pieces = []
                if len(files) == most:
                    raise TooManyFiles(f"a form has at most {most} files here")
                _require_file(event)
            else:
                pieces.append(event)
        words = "it ends before its last boundary"
        parser.close()
    except MultipartError as error:
        # It knows the parser's frames, which know it and the body: only the collector would find such a circle.
        parser.error = error.__traceback__ = None
        if isinstance(error, ParserLimitReached):
            words = f"a part has at most {_MOST_HEADERS} headers of {MOST_HEADER_BYTES} bytes here"
        raise FormError(words or str(error)[:200]) from None
    return files


def _boundary(content_type: str) -> bytes:
    if len(content_type) > MOST_HEADER_BYTES:
        raise FormError(f"its Content-Type has more than {MOST_HEADER_BYTES} characters")
    boundary = parse_options_header(content_type)[1].get("boundary", "")
    if not (boundary.isascii() and boundary.isprintable() and 1 <= len(boundary) <= _MOST_BOUNDARY):
        raise FormError(f"its Content-Type names no boundary of 1 to {_MOST_BOUNDARY} printable characters")
    return boundary.encode()


def _require_file(segment: MultipartSegment) -> None:
    # A name that is spelled out in another way, filename*=, is a file's, too; one in quotes says nothing.
    outside_quotes = re.sub('"[^"]*"', "", segment["Content-Disposition"])
    if segment.filename is None and not re.search(r";\s*filename\*", outside_quotes, re.IGNORECASE):
        name = (segment.name or "").encode("latin-1", "replace").decode("utf-8", "replace")[:80]
        raise FormError(f"{name!r} is no file; it has files only, and ?top_k=K is a query")
