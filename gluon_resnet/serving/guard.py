"""Checks every request: its headers must be bounded and meant for this server; failures are logged on one line."""

from __future__ import annotations

from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gluon_resnet.serving.clients import client_of
from gluon_resnet.serving.hosts import Hosts
from gluon_resnet.serving.log import log
from gluon_resnet.serving.metrics import Metrics
from gluon_resnet.serving.refusal import Refusal
from gluon_resnet.terminal import printable

MOST_QUERY_BYTES = 1024
_MOST_DIGITS = 18  # of a Content-Length

# Keeps browsers from taking an answer for something else, and from showing it to another site.
_FOR_BROWSERS = [(b"x-content-type-options", b"nosniff"), (b"cross-origin-resource-policy", b"same-origin")]


class Guard:
    """An ASGI application that checks requests for another one."""

    def __init__(self, app: ASGIApp, hosts: Hosts, metrics: Metrics) -> None:
        self._app = app
        self._hosts = hosts
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", []), *_FOR_BROWSERS]}
            await send(message)

        try:
            self._check(scope)
        except Refusal as refusal:
            await refused(scope, refusal, self._metrics)(scope, receive, send_headers)
            return
        try:
            await self._app(scope, receive, send_headers)
        except Exception:  # it has been answered with 500; the server would print a full traceback each time
            log.error("500 %s", asked(scope), exc_info=True)

    def _check(self, scope: Scope) -> None:
        """Raise a Refusal for a request that cannot be understood, or is meant for another server."""
        values: dict[bytes, list[bytes]] = {}
        for name, value in scope["headers"]:
            values.setdefault(name, []).append(value)
        hosts = values.get(b"host", [])
        self._hosts.require_own_name(hosts, scope.get("http_version", "1.1"))
        if scope["method"] not in ("GET", "HEAD"):
            self._hosts.require_own_page(
                next(iter(hosts), None), values.get(b"origin", []), values.get(b"sec-fetch-site", [])
            )
        for length in values.get(b"content-length", []):
            if not (length.isdigit() and len(length) <= _MOST_DIGITS):
                found = repr(length.decode("latin-1"))[:80]
                raise Refusal(400, "malformed", f"Content-Length: expected a number, found {found}")
        query = len(scope.get("query_string", b""))
        if query > MOST_QUERY_BYTES:
            raise Refusal(
                414, "malformed", f"the query has {query} bytes; at most {MOST_QUERY_BYTES} are accepted"
            )


def refused(scope: Scope, refusal: Refusal, metrics: Metrics) -> Response:
    """The answer to a refused request, which is counted and logged."""
    if refusal.reason:
        metrics.refused(refusal.reason)
    log.warning("%d %s: %s", refusal.status, asked(scope), refusal)
    # Its traceback refers to frames that hold the body, and that refer back: the garbage collector comes late.
    refusal.__traceback__ = refusal.__context__ = None
    return JSONResponse(refusal.content, refusal.status, refusal.headers)


def asked(scope: Scope) -> str:
    """Who asked for what, for the log."""
    return f"{client_of(scope)} {printable(scope['method'], 20)} {printable(scope['path'], 80)}"
