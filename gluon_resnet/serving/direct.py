"""A shortcut to the route that is used most."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from gluon_resnet.serving.refusal import Refusal


class Direct:
    """An ASGI application around another one, which answers everything except POST requests to one path.

    Args:
        app: the other application.
        path: the path, as in scopes.
        endpoint: the function that answers POST requests to the path.
        failed: the function that answers if the endpoint raises an error, which is raised again unless it is a Refusal.
    """

    def __init__(
        self,
        app: ASGIApp,
        path: str,
        endpoint: Callable[[Request], Awaitable[Response]],
        failed: Callable[[Request, Exception], Awaitable[Response]],
    ) -> None:
        self._app = app
        self._path = path
        self._endpoint = endpoint
        self._failed = failed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != self._path or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            response = await self._endpoint(request)
        except Refusal as refusal:
            response = await self._failed(request, refusal)
        except Exception as error:
            response = await self._failed(request, error)
            await response(scope, receive, send)
            raise
        await response(scope, receive, send)
