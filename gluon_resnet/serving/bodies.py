"""Reads the bodies of requests within the limits."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from starlette.requests import Request

from gluon_resnet.serving.limits import Limits
from gluon_resnet.serving.refusal import Refusal, busy


class Bodies:
    """Reads bodies, and knows how many bytes of them are held. For use in one event loop."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.held = 0

    @contextlib.asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytes]:
        """A request's body, which counts as held within the `async with`.

        Raises a Refusal if it is too large, which its header may reveal before any of it has arrived.
        """
        # The parser lets only digits through.
        if int(request.headers.get("content-length", "0")) > self._limits.body:
            raise _too_large(self._limits.body)
        received = bytearray()  # in one piece: small ones would leave gaps that no other block fits into
        length = 0
        try:
            more = True
            while more:
                message = await request.receive()
                piece = message["body"]
                if length + len(piece) > self._limits.body:
                    raise _too_large(self._limits.body)
                if self.held + len(piece) > self._limits.bodies:
                    raise busy("too many bodies are being received")
                received += piece
                length += len(piece)
                self.held += len(piece)
                more = message.get("more_body", False)
            body = bytes(received)
            received.clear()
            yield body
        finally:
            self.held -= length
            received.clear()  # the traceback of a refusal holds on to it for longer


def _too_large(limit: int) -> Refusal:
    return Refusal(413, "body", f"the body may have at most {limit} bytes")
