"""A request and its answer, as an ASGI application sees them."""

from __future__ import annotations

import asyncio
import http
from typing import Callable, Optional

from starlette.types import Message, Scope

from gluon_resnet.serving.refusal import Refusal

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

# The beginning of every answer, which may be sent before the answer is known.
BEGINNING = b"HTTP/1.1 "


class Exchange:
    """Mediates between a connection and the application.

    Args:
        scope: the ASGI scope of the request.
        expects_continue: whether the client waits for a "100 Continue" before it sends the body.
        keep_alive: whether another request may follow.
        headers: headers of every answer, besides its own.
        taken: a function to call when the application has taken the available part of the body.
        write: a function that sends bytes to the client.

    Attributes:
        started: whether the answer has begun.
        answered: whether the answer is complete.
        complete: whether all of the body has arrived; set by the connection.
        begun_early: whether BEGINNING has been sent; set by the connection.
    """

    def __init__(
        self,
        scope: Scope,
        expects_continue: bool,
        keep_alive: bool,
        headers: list[tuple[bytes, bytes]],
        taken: Callable[[], None],
        write: Callable[[bytes], None],
    ) -> None:
        self.scope = scope
        self.keep_alive = keep_alive
        self.started = False
        self.answered = False
        self.complete = False
        self.begun_early = False
        self.unread = 0  # bytes of the body that the application has not taken
        self._expects_continue = expects_continue
        self._headers = headers
        self._taken = taken
        self._write = write
        self._pieces: list[bytes] = []
        self._delivered = False
        self._failure: Optional[Refusal] = None
        self._waiter: Optional[asyncio.Future[None]] = None
        self._head = b""
        self._length: Optional[int] = None  # of the answer; None if it is sent in chunks

    # For the connection.

    def add(self, pieces: list[bytes], complete: bool) -> None:
        """Add more of the body."""
        if not pieces and not complete:
            return
        self._expects_continue = False
        self._pieces += pieces
        self.unread += sum(map(len, pieces))
        self.complete = complete
        self._wake()

    def fail(self, refusal: Refusal) -> None:
        """Say why the rest of the body will not arrive; the application learns this when it asks for more."""
        self._failure = refusal
        self._wake()

    def drop(self) -> None:
        """Discard the body, which nobody will ask for any more."""
        self._pieces.clear()
        self._failure = None  # its traceback refers to frames that refer to this object

    def _take_pieces(self) -> bytes:
        body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self.unread = 0
        return body

    # For the application.

    async def receive(self) -> Message:
        """More of the body, or, once all of it has been received, "http.disconnect" after the answer.

        Raises a Refusal if the rest will not arrive. If the client goes away, the application is cancelled instead of
        being told.
        """
        if self._expects_continue and not self.started:
            self._expects_continue = False
            self._write(_CONTINUE)
        while not self.answered:
            if self._failure is not None:
                raise self._failure
            if not self._delivered and (self._pieces or self.complete):
                body = self._take_pieces()
                self._delivered = self.complete
                self._taken()
                return {"type": "http.request", "body": body, "more_body": not self.complete}
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Send a part of the answer. A small answer is sent at once, together with its head."""
        if message["type"] == "http.response.start":
            self.started = True
            self._head = self._answer_head(message)
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        if self.scope["method"] == "HEAD":
            body = b""
        elif self._length is None:
            body = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + (b"" if more else b"0\r\n\r\n")
        self._write(self._head + body)
        self._head = b""
        if not more:
            self.answered = True
            self._wake()

    def _answer_head(self, message: Message) -> bytes:
        status, headers = message["status"], [*self._headers, *message.get("headers", ())]
        names = dict(headers)
        if names.get(b"connection", b"").lower() == b"close" or not self.complete:
            # If the body is not read to its end, nobody knows where the next request begins.
            self.keep_alive = False
        if b"content-length" in names:
            self._length = int(names[b"content-length"])
        elif self.scope["http_version"] == "1.0":
            self._length, self.keep_alive = 0, False
        else:
            headers.append((b"transfer-encoding", b"chunked"))
        if not self.keep_alive and b"connection" not in names:
            headers.append((b"connection", b"close"))
        beginning = b"" if self.begun_early else BEGINNING
        lines = [b"%b%d %b" % (beginning, status, http.HTTPStatus(status).phrase.encode())]
        lines += [name + b": " + value for name, value in headers]
        head = b"\r\n".join(lines)
        if head.count(b"\n") >= len(lines):
            raise RuntimeError(f"a header of the answer contains a line break: {head!r:.200}")
        return head + b"\r\n\r\n"

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        self._waiter = None
