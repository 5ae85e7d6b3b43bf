"""uvicorn's HTTP/1.1, with a limit on every wait for a client: it has none for headers, nor for a slow reader."""

from __future__ import annotations

import asyncio
import http
import json
import sys
from typing import Any, Callable, Optional

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from gluon_resnet.serving.limits import Limits

Counted = Callable[[str], None]  # is told the reason of a refusal: see metrics.REASONS


class PatientProtocol(H11Protocol):
    """One connection. The limits of a body are the application's: see `bodies.Bodies`."""

    def __init__(self, *arguments: Any, limits: Limits, refused: Counted, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._limits = limits
        self._refused = refused
        self._headers = _Timer(self.loop, limits.timeout, self._headers_are_late)
        self._answer = _Timer(self.loop, limits.timeout, self._answer_is_not_read)
        self._heard = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self._limits.connections:
            self._refuse(503, "busy", "there are too many connections", (("Retry-After", "1"),))
            return
        self._watch_headers()

    def data_received(self, data: bytes) -> None:
        self._heard = True
        super().data_received(data)
        self._watch_headers()

    def connection_lost(self, exc: Optional[Exception]) -> None:
        self._headers.stop()
        self._answer.stop()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._answer.start()

    def resume_writing(self) -> None:
        self._answer.stop()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """What uvicorn calls when h11 does not understand the client."""
        error = sys.exc_info()[1]
        status = error.error_status_hint if isinstance(error, h11.RemoteProtocolError) else 400
        self._refuse(status, "malformed", f"{msg.rstrip('.')}: {error}")

    def _watch_headers(self) -> None:
        """From the first byte of a request on, its headers have one limit, however often a byte comes."""
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self._headers.start()
        else:
            self._headers.stop()

    def _headers_are_late(self) -> None:
        if not self._heard:  # browsers open connections that they may need
            self.transport.close()
            return
        seconds = f"{self._limits.timeout:g} seconds"
        self._refuse(408, "slow", f"the request's headers were not complete after {seconds}")

    def _answer_is_not_read(self) -> None:
        self._refused("slow")
        self.transport.abort()

    def _refuse(
        self, status: int, reason: str, message: str, headers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        """Answer without the application, and close."""
        self._refused(reason)
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = json.dumps({"error": message}).encode()
            fields = [
                ("Content-Type", "application/json"),
                ("Content-Length", str(len(body))),
                ("Connection", "close"),
                *headers,
            ]
            response = h11.Response(
                status_code=status, headers=fields, reason=http.HTTPStatus(status).phrase.encode()
            )
            for event in (response, h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event))
        self.transport.close()


class _Timer:
    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float, ring: Callable[[], None]) -> None:
        self._loop = loop
        self._seconds = seconds
        self._ring = ring
        self._handle: Optional[asyncio.TimerHandle] = None

    def start(self) -> None:
        """Nothing where it runs already."""
        if self._handle is None:
            self._handle = self._loop.call_later(self._seconds, self._ring)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
