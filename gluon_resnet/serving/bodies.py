"""The bodies of requests, read within the limits."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from starlette.requests import Request

from gluon_resnet.serving.limits import Limits
from gluon_resnet.serving.refusal import Refusal, busy


class ClientGone(Exception):
    """The client closed its connection: there is nobody to answer."""


class Bodies:
    """Reads bodies; knows how many bytes of them are held. For one event loop."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.held = 0

    @contextlib.asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytes]:
        """A request's body; it counts as held within the `async with`.

        Refusal when it is too large, which its header may say before anything of it came, or too slow. ClientGone.
        """
        if (
            int(request.headers.get("content-length", "0")) > self._limits.body
        ):  # h11 lets only digits through
            raise _too_large(self._limits.body)
        body = bytearray()
        try:
            try:
                # One deadline for all of the body: a client that sends a byte now and then is slow, too.
                await asyncio.wait_for(self._receive(request, body), self._limits.timeout)
            except asyncio.TimeoutError:
                seconds = self._limits.timeout
                raise Refusal(408, "slow", f"the body was not complete after {seconds:g} seconds") from None
            yield bytes(body)
        finally:
            self.held -= len(body)

    async def _receive(self, request: Request, body: bytearray) -> None:
        more = True
        while more:
            message = await request.receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            chunk = message.get("body", b"")
            if len(body) + len(chunk) > self._limits.body:
                raise _too_large(self._limits.body)
            if self.held + len(chunk) > self._limits.bodies:
                raise busy("too many bodies are being received")
            body += chunk
            self.held += len(chunk)
            more = message.get("more_body", False)


def _too_large(limit: int) -> Refusal:
    return Refusal(413, "body", f"a body has at most {limit} bytes here")
