"""The bodies of requests, read within the limits."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from starlette.requests import Request

from gluon_resnet.serving.limits import Limits
from gluon_resnet.serving.refusal import Refusal, busy


class Bodies:
    """Reads bodies; knows how many bytes of them are held. For one event loop."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.held = 0

    @contextlib.asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytes]:
        """A request's body; it counts as held within the `async with`.

        Refusal when it is too large, which its header may say before anything of it came.
        """
        # The parser lets only digits through.
        if int(request.headers.get("content-length", "0")) > self._limits.body:
            raise _too_large(self._limits.body)
        received = bytearray()  # in one piece: what small ones leave behind, no other block fits into
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
    return Refusal(413, "body", f"a body has at most {limit} bytes here")
