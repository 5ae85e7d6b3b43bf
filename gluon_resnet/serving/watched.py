"""Counts and times the application's requests, and answers those that the server cannot finish."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gluon_resnet.serving.metrics import Metrics

CLIENT_GONE = 499  # nginx's number for this; only the metrics see it


class Watched:
    """An ASGI application that watches another one.

    Args:
        app: the other application.
        paths: the paths that the metrics name; any other path that a client thinks of counts as "other".
        metrics: the metrics to update.
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
        answering = False

        async def send_answer(message: Message) -> None:
            nonlocal answering
            answering = True
            if message["type"] == "http.response.start":
                self._metrics.requests.labels(path, message["status"]).inc()
            elif not message.get("more_body", False):
                self._metrics.request_seconds.labels(path).observe(time.perf_counter() - begin)
            await send(message)

        try:
            with self._metrics.open_requests.track_inprogress():
                await self._app(scope, receive, send_answer)
        except asyncio.CancelledError:
            if answering:
                return
            if scope["extensions"]["gluon_resnet"]["is_gone"]():
                self._metrics.requests.labels(path, CLIENT_GONE).inc()
                self._metrics.refused("gone")
                return
            # The server is stopping, and its grace period is over.
            response = JSONResponse({"error": "the server is stopping"}, 503, {"Connection": "close"})
            await response(scope, receive, send_answer)
