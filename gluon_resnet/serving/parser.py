"""Parses requests with llhttp, the C parser of Node.js, and limits what that would accept without end."""

from __future__ import annotations

import urllib.parse
from dataclasses import dataclass
from typing import Optional

import httptools

from gluon_resnet.serving.refusal import Refusal

MOST_HEAD = 1 << 14  # bytes of a request line and its headers
MOST_FIELD = 1 << 13  # bytes of the request line's target, or of one header
MOST_HEADERS = 100

# The most bytes of a chunked body that are not content but chunk sizes, extensions and trailers: this many, and one
# more for every four bytes of content. Chunks of 64 bytes pass; of chunks of one byte, the first thousand do.
FRAMING = 1 << 13
FRAMING_SHARE = 4

_SLICE = 1 << 14  # bytes of a chunked body that are parsed before their cost is checked


@dataclass(frozen=True)
class Head:
    """A request without its body.

    Attributes:
        headers: the names, in lower case, and values of the headers, in their order.
        has_body: whether there is a body, even an empty one.
        expects_continue: whether the client waits for a "100 Continue" before it sends the body.
        keep_alive: whether the client may send another request.
    """

    method: str
    path: str
    raw_path: bytes
    query: bytes
    version: str
    headers: list[tuple[bytes, bytes]]
    has_body: bool
    expects_continue: bool
    keep_alive: bool


class RequestParser:
    """The parser of a connection; handles one request at a time.

    Attributes:
        head: the head, as soon as it is complete.
        complete: whether the body is complete, too.
        overrun: whether something after the request was lost, so that no other can follow.
        begun: whether any of the request has arrived.
    """

    def __init__(self) -> None:
        self._parser: Optional[httptools.HttpRequestParser] = None
        self.next()

    def next(self) -> None:
        """Begin the next request."""
        self.head: Optional[Head] = None
        self._body: list[bytes] = []
        self.complete = False
        self.overrun = False
        self.begun = False
        if self._parser is None:
            self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._tail = b""  # the last bytes of the head, in which its end may begin
        self._taken = 0  # bytes, of the head or of a chunked body
        self._content = 0  # bytes of the body
        self._left: Optional[int] = None  # bytes of a body whose length is known
        self._refusal: Optional[Refusal] = None

    def take_body(self) -> list[bytes]:
        """The part of the body that has arrived since the last call."""
        body, self._body = self._body, []
        return body

    def close(self) -> None:
        """Release everything now, since the two parsers refer to each other."""
        self._parser = None
        self._body.clear()

    def feed(self, data: memoryview) -> int:
        """Parse bytes, and return how many were taken: all, or those up to the end of the head or of the request.

        Raises a Refusal if the request is not one that will be answered.
        """
        if self.complete or not data:
            return 0
        self.begun = True
        if self.head is None:
            return self._feed_head(data)
        if self._left is not None:
            taken = min(self._left, len(data))
            self._parse(data[:taken])
            self._left -= taken
            return taken
        return self._feed_chunks(data)

    def _feed_head(self, data: memoryview) -> int:
        window = self._tail + bytes(data[: MOST_HEAD - self._taken])
        end = window.find(b"\r\n\r\n")
        taken = (len(window) if end < 0 else end + 4) - len(self._tail)
        self._tail = window[-3:] if end < 0 else b""
        self._parse(data[:taken])
        self._taken += taken
        if self.head is not None:
            self._taken = 0
        elif self._taken == MOST_HEAD:
            raise malformed(f"the headers have more than {MOST_HEAD} bytes", 431)
        return taken

    def _feed_chunks(self, data: memoryview) -> int:
        piece = data[:_SLICE]
        self._parse(piece)
        self._taken += len(piece)
        framing = self._taken - self._content
        if not self.overrun and framing > FRAMING + self._content // FRAMING_SHARE:
            raise malformed(
                f"the body's chunks are too small: {framing} bytes of framing for {self._content} bytes of content"
            )
        return len(piece)

    def _parse(self, data: memoryview) -> None:
        assert self._parser is not None
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # RFC 9110, §7.8: a server may ignore a request to change protocols, for which the parser is now prepared.
            self._parser = None
        except httptools.HttpParserCallbackError:
            if self._refusal is None:
                raise
            raise self._refusal from None
        except httptools.HttpParserError as error:
            if not self.overrun:
                raise malformed(str(error)) from None

    # Callbacks with httptools' names. Whatever it takes for another request after a chunked body is ignored.

    def on_message_begin(self) -> None:
        self.overrun = self.complete

    def on_url(self, url: bytes) -> None:
        if self.head is None:
            self._url += url
            if len(self._url) > MOST_FIELD:
                self._refuse(malformed(f"the URL has more than {MOST_FIELD} bytes", 414))

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.head is None:  # otherwise it is a trailer
            self._headers.append((name.lower(), value))
            if len(self._headers) > MOST_HEADERS:
                self._refuse(malformed(f"there are more than {MOST_HEADERS} headers", 431))
            if len(name) + len(value) > MOST_FIELD:
                self._refuse(malformed(f"a header has more than {MOST_FIELD} bytes", 431))

    def on_headers_complete(self) -> None:
        if self.head is None:
            try:
                self.head, self._left = self._checked()
            except Refusal as refusal:
                self._refuse(refusal)

    def on_body(self, body: bytes) -> None:
        if not self.overrun:
            self._content += len(body)
            self._body.append(body)

    def on_message_complete(self) -> None:
        self.complete = True

    def _checked(self) -> tuple[Head, Optional[int]]:
        """The head, and the length of the body, or None if it is chunked."""
        assert self._parser is not None
        version = self._parser.get_http_version()
        if version not in ("1.0", "1.1"):
            raise malformed(f"expected HTTP/1.1, found {version}", 505)
        values: dict[bytes, bytes] = dict(self._headers)
        hosts = sum(name == b"host" for name, _ in self._headers)
        if hosts > 1 or (version == "1.1" and not hosts):
            raise malformed(f"expected one Host, found {hosts or 'none'}")
        coding = values.get(b"transfer-encoding")
        if coding is not None:
            if version == "1.0":  # RFC 9112, §6.1
                raise malformed("HTTP/1.0 has no Transfer-Encoding")
            if coding.lower() != b"chunked":
                raise malformed("the only supported Transfer-Encoding is chunked", 501)
        expected = values.get(b"expect", b"").lower()
        if expected not in (b"", b"100-continue"):
            raise malformed("the only supported Expect is 100-continue", 417)
        # llhttp has refused requests with both kinds of length, with one of them twice, and with bad digits.
        length = int(values.get(b"content-length", b"0"))
        raw_path, query = _target(self._url)
        path = raw_path.decode("ascii")
        head = Head(
            self._parser.get_method().decode("ascii"),
            urllib.parse.unquote(path) if "%" in path else path,
            raw_path,
            query,
            version,
            self._headers,
            coding is not None or length > 0,
            expected != b"" and version == "1.1",
            version == "1.1" and self._parser.should_keep_alive(),
        )
        return head, None if coding is not None else length

    def _refuse(self, refusal: Refusal) -> None:
        """Raise the refusal from a callback, through httptools, which wraps the exception."""
        self._refusal = refusal
        raise refusal


def malformed(message: str, status: int = 400) -> Refusal:
    """The refusal for a client that does not speak HTTP as the server does."""
    return Refusal(status, "malformed", f"Invalid HTTP request received: {message}")


def _target(url: bytes) -> tuple[bytes, bytes]:
    """Path and query of a request's target; Refusal if it is malformed."""
    if url == b"*":
        return url, b""
    try:
        parsed = httptools.parse_url(url)
    except httptools.HttpParserInvalidURLError:
        raise malformed("the URL makes no sense") from None
    if not url.isascii() or not (url.startswith(b"/") or parsed.schema):
        raise malformed("the URL makes no sense")
    return parsed.path or b"/", parsed.query or b""
