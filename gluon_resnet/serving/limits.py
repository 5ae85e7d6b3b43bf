"""What a client may cost: the numbers, and the reading of a body within them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from starlette.requests import Request

from gluon_resnet.errors import UsageError
from gluon_resnet.serving.refusal import Refusal, busy

MIB = 1 << 20


@dataclass(frozen=True)
class Limits:
    """UsageError for a value that cannot be."""

    body: int = 16 * MIB  # bytes of one request's body
    bodies: int = 512 * MIB  # bytes of the bodies of all requests that are being answered
    pixels: int = 50_000_000  # of one image; up to 9 bytes each while it is decoded, in each thread that does
    images: int = 256  # that were taken and not answered
    timeout: float = (
        20.0  # seconds that a client has for its headers, for its body, and for taking the answer
    )
    connections: int = 900  # most systems give a process 1024 files

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value <= 0:
                raise UsageError(f"{name}: expected more than 0, found {value}")


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
            # One deadline for all of the body: a client that sends a byte now and then is slow, too.
            await asyncio.wait_for(self._receive(request, body), self._limits.timeout)
            yield bytes(body)
        except asyncio.TimeoutError:
            seconds = self._limits.timeout
            raise Refusal(408, "slow", f"the body was not complete after {seconds:g} seconds") from None
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
