"""The files in a multipart/form-data body (RFC 7578) that is in memory.

The parser is from `multipart`, which limits a part's headers; its input is bounded here. The cost of a form is
proportional to its length.
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

MOST_HEADER_BYTES = 1024  # per line: browsers write a part's name, the file's name and a type
_MOST_HEADERS = 8  # per part
_MOST_BOUNDARY = 70  # RFC 2046, §5.1.1


class FormError(ValueError):
    """The body is not a form that consists of files."""


class TooManyFiles(FormError):
    """There are more files than allowed."""


def files_of_form(content_type: str, body: bytes, most: int) -> list[bytes]:
    """The contents of a form's files, in their order.

    Args:
        content_type: the request's Content-Type, which names the boundary; at most MOST_HEADER_BYTES long.
        body: the body of the request.
        most: the largest number of files.

    Raises:
        TooManyFiles: there are more.
        FormError: the body is not a form, ends early, or has a field that is not a file.
    """
    boundary = _boundary(content_type)
    if not body.startswith(b"--" + boundary):
        raise FormError("it does not begin with its boundary")
    # Names are not used, and old clients do not write them in UTF-8: in latin-1 any byte is a character.
    parser = PushMultipartParser(
        boundary,
        max_header_size=MOST_HEADER_BYTES,
        max_header_count=_MOST_HEADERS,
        max_segment_count=most + 1,
        header_charset="latin-1",
        strict=True,  # no folded headers: joining their lines takes quadratic time
    )
    files: list[bytes] = []
    pieces: list[bytes] = []
    words = ""  # what is wrong, if the parser does not say it
    try:
        for event in parser.parse(body):
            if event is None:
                files.append(b"".join(pieces))
            elif isinstance(event, MultipartSegment):
                pieces = []
                if len(files) == most:
                    raise TooManyFiles(f"a form may have at most {most} files")
                _require_file(event)
            else:
                pieces.append(event)
        words = "it ends before its last boundary"
        parser.close()
    except MultipartError as error:
        # It refers to the parser's frames, which refer to it and the body: a cycle for the garbage collector.
        parser.error = error.__traceback__ = None
        if isinstance(error, ParserLimitReached):
            words = f"a part may have at most {_MOST_HEADERS} headers of {MOST_HEADER_BYTES} bytes"
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
    # A name in the other notation, filename*=, also belongs to a file; inside quotes it means nothing.
    outside_quotes = re.sub('"[^"]*"', "", segment["Content-Disposition"])
    if segment.filename is None and not re.search(r";\s*filename\*", outside_quotes, re.IGNORECASE):
        name = (segment.name or "").encode("latin-1", "replace").decode("utf-8", "replace")[:80]
        raise FormError(f"{name!r} is not a file; a form has only files, and ?top_k=K goes into the query")
