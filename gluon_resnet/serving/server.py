"""The server, from binding a port to the last answer."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from typing import Callable, Optional

import uvicorn
from starlette.types import ASGIApp

from gluon_resnet.serving.acceptor import Acceptor
from gluon_resnet.serving.connections import Connections
from gluon_resnet.serving.descriptors import with_descriptors
from gluon_resnet.serving.limits import Limits
from gluon_resnet.serving.memory import give_large_blocks_back
from gluon_resnet.serving.metrics import Metrics
from gluon_resnet.serving.protocol import Connection


def bind(host: str, port: int) -> socket.socket:
    """A bound socket that does not listen yet; port 0 is any free port. An OSError names HOST:PORT."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except BaseException:
            listener.close()
            raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, f"{host}:{port}") from None
    return listener


def url(listener: socket.socket) -> str:
    """The address for a browser."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(
    app: ASGIApp,
    listener: socket.socket,
    limits: Limits,
    metrics: Metrics,
    grace: int,
    ready: Callable[[], None],
) -> None:
    """Answer requests until SIGTERM or SIGINT, and then those that have begun, for at most `grace` seconds.

    Args:
        app: the ASGI application.
        listener: a socket from bind().
        limits: the limits of what clients may cost.
        metrics: the metrics to update.
        grace: the longest time, in seconds, to wait for answers when stopping.
        ready: a function to call when clients can connect.
    """
    config = uvicorn.Config(
        app,
        http=asyncio.Protocol,  # not one of uvicorn's: the connections are our own
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="error",  # each client that talks nonsense would cause a warning
        access_log=False,
        server_header=False,
        proxy_headers=False,  # see Connections.app_for
        timeout_graceful_shutdown=grace,
    )
    give_large_blocks_back()
    limits, said = with_descriptors(limits)
    if said:
        print(f"warning: {said}", file=sys.stderr, flush=True)
    # uvicorn raises a signal again after stopping, but a requested stop is not a failure.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    asyncio.run(_Server(config, listener, limits, metrics, ready).serve([]))


class _Server(uvicorn.Server):
    """uvicorn's server with our connections; uvicorn handles lifespan, signals, and waiting for answers at a stop."""

    def __init__(
        self,
        config: uvicorn.Config,
        listener: socket.socket,
        limits: Limits,
        metrics: Metrics,
        ready: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self._listener = listener
        self._limits = limits
        self._refused = metrics.refused
        self._ready = ready
        self._acceptor: Optional[Acceptor] = None

    async def startup(self, sockets: Optional[list[socket.socket]] = None) -> None:
        await super().startup(sockets)
        if not self.started:
            return
        shared = Connections(self.config.loaded_app, self._limits, self._refused, self.server_state)
        self._acceptor = Acceptor(self._listener, lambda: Connection(shared))
        self._acceptor.start(self.config.backlog)
        if self.should_exit:  # a signal has arrived meanwhile: uvicorn would just return
            await self.shutdown(sockets)

    async def shutdown(self, sockets: Optional[list[socket.socket]] = None) -> None:
        if self._acceptor is not None:
            self._acceptor.close()
        await super().shutdown(sockets)

    async def main_loop(self) -> None:
        self._ready()
        await super().main_loop()
