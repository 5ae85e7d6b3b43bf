"""The state that the connections of a server share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable

from starlette.types import ASGIApp, Scope
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.server import ServerState

from gluon_resnet.serving.limits import Limits

if TYPE_CHECKING:
    from gluon_resnet.serving.protocol import Connection

READ = 1 << 16  # bytes of a connection that are read before another one's turn
LINGERING = 64  # connections that wait for answered clients to finish; one more ends the oldest


class Connections:
    """The shared state of connections in one event loop.

    Args:
        app: the ASGI application.
        limits: the limits of what clients may cost.
        refused: a function to call with the reason for a refusal, one of `metrics.REASONS`.
        state: uvicorn's state, which knows what to wait for when stopping.
    """

    def __init__(
        self, app: ASGIApp, limits: Limits, refused: Callable[[str], None], state: ServerState
    ) -> None:
        self._app = app
        self._behind_proxy = ProxyHeadersMiddleware(app)  # type: ignore[arg-type]
        self.limits = limits
        self.refused = refused
        self.state = state
        self.buffer = memoryview(
            bytearray(READ)
        )  # whoever the loop fills it for reads it before anybody else
        self._lingering: dict[Connection, None] = {}

    def app_for(self, scope: Scope) -> ASGIApp:
        """The application, which believes a proxy on this machine about the client's address."""
        forwarded = any(name.startswith(b"x-forwarded-") for name, _ in scope["headers"])
        return self._behind_proxy if forwarded else self._app  # type: ignore[return-value]

    def are_too_many(self) -> bool:
        return len(self.state.connections) - len(self._lingering) > self.limits.connections

    def linger(self, connection: Connection) -> None:
        if len(self._lingering) >= LINGERING:
            oldest = next(iter(self._lingering))
            del self._lingering[oldest]
            oldest.close()
        self._lingering[connection] = None

    def forget(self, connection: Connection) -> None:
        self.state.connections.discard(connection)  # type: ignore[arg-type]
        self._lingering.pop(connection, None)
