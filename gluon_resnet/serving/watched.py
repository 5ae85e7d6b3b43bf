"""Around the application: requests are counted and timed, and a client that still sends hears its answer."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Collection

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gluon_resnet.serving.metrics import Metrics

# How long a client that was answered before it had sent all may go on. If its connection were closed at once, the
# system would answer what it sends with a reset, which can destroy the answer on its way.
LINGER = 1.0
LINGER_BYTES = 1 << 24


class Watched:
    """An ASGI application around another one.

    Args:
        paths: those that the metrics name; what else a client thinks of is "other".
    """

    def __init__(self, app: ASGIApp, paths: Collection[str], metrics: Metrics) -> None:
        self._app = app
        self._paths = paths
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begin = time.perf_counter()
        path = scope["path"] if scope["path"] in self._paths else "other"
        names = dict(scope["headers"])
        sending = b"transfer-encoding" in names or names.get(b"content-length", b"0") != b"0"

        answering = False

        async def receive_body() -> Message:
            nonlocal sending
            message = await receive()
            sending = sending and message["type"] == "http.request" and message.get("more_body", False)
            return message

        async def discard() -> None:
            left = LINGER_BYTES
            while sending and left > 0:
                left -= len((await receive_body()).get("body", b""))

        async def send_answer(message: Message) -> None:
            nonlocal answering
            answering = True
            if message["type"] == "http.response.start":
                self._metrics.requests.labels(path, message["status"]).inc()
                if sending:
                    message["headers"] = [*message["headers"], (b"connection", b"close")]
                await send(message)
                return
            last = not message.get("more_body", False)
            await send({**message, "more_body": True} if last and sending else message)
            if last:
                self._metrics.request_seconds.labels(path).observe(time.perf_counter() - begin)
                if sending:
                    with contextlib.suppress(asyncio.TimeoutError):
                        await asyncio.wait_for(discard(), LINGER)
                    await send({"type": "http.response.body"})

        try:
            with self._metrics.open_requests.track_inprogress():
                await self._app(scope, receive_body, send_answer)
        except asyncio.CancelledError:  # the server stops, and its grace is over
            if not answering:
                response = JSONResponse({"error": "the server stops"}, 503, {"Connection": "close"})
                await response(scope, receive, send)
