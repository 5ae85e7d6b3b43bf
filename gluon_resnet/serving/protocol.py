"""A connection: HTTP/1.1 with limits on everything that a client could do slowly, in small pieces, or without end."""

from __future__ import annotations

import asyncio
import contextlib
import http
import json
import socket
from typing import Any, Optional

from gluon_resnet.serving.clients import client_of
from gluon_resnet.serving.connections import Connections
from gluon_resnet.serving.exchange import BEGINNING, Exchange
from gluon_resnet.serving.log import log
from gluon_resnet.serving.parser import Head, RequestParser, malformed
from gluon_resnet.serving.refusal import Refusal, busy
from gluon_resnet.serving.timer import Timer

# Bytes of a body that are read before the application asks for them; the rest waits in the client's system.
AHEAD = 1 << 16
KEEP_ALIVE = 5.0  # seconds from an answer to the next request

# How much longer a client that was answered early may go on sending. If its connection were closed at once, the
# system would reply to its data with a reset, which can destroy the answer on its way.
LINGER = 1.0
LINGER_BYTES = 1 << 24


class Connection(asyncio.BufferedProtocol):
    """A client from its first byte to its last. The application limits the size of bodies: see `bodies.Bodies`."""

    def __init__(self, shared: Connections) -> None:
        self._shared = shared
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._parser = RequestParser()
        self._exchange: Optional[Exchange] = None
        self._task: Optional[asyncio.Task[None]] = None
        self._rest = b""  # belongs to requests after the one that is being answered
        self._discarded: Optional[int] = (
            None  # bytes received since it is clear that no other request will be answered
        )
        self._half_closed = False
        self._writing_paused = False
        self._stopping = False
        seconds = shared.limits.timeout
        self._head_timer = Timer(self._loop, seconds, self._head_is_late)
        self._body_timer = Timer(self._loop, seconds, self._body_is_late)
        self._answer_timer = Timer(self._loop, seconds, self._answer_is_not_read)
        self._idle_timer = Timer(self._loop, KEEP_ALIVE, self.close)
        self._linger_timer = Timer(self._loop, LINGER, self.close)
        self._waits = (self._head_timer, self._body_timer, self._idle_timer, self._linger_timer)

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(0)  # we are told of every byte that the client does not accept
        self._shared.state.connections.add(self)  # type: ignore[arg-type]
        if self._shared.are_too_many():
            self._refuse(busy("there are too many connections"))
        else:
            self._head_timer.start()

    def get_buffer(self, _sizehint: int) -> memoryview:
        return self._shared.buffer

    def buffer_updated(self, count: int) -> None:
        if self._discarded is None:
            self._idle_timer.stop()
            self._take(self._shared.buffer[:count])
            return
        self._discarded += count
        if self._discarded > LINGER_BYTES:
            self.close()

    def eof_received(self) -> bool:
        """The client has sent everything: it may be waiting for its answer, or have gone."""
        self._half_closed = True
        exchange = self._exchange
        if exchange is None or not exchange.complete:
            if exchange is None and self._parser.begun and self._discarded is None:
                self._refuse(malformed("the request ends within its headers"))
            return False
        if not exchange.started:
            # The system of a client that has gone replies with a reset.
            exchange.begun_early = True
            self._transport.write(BEGINNING)
        self._look_for_reset(0.02)
        return True

    def connection_lost(self, exc: Optional[Exception]) -> None:
        self._shared.forget(self)
        for timer in (*self._waits, self._answer_timer):
            timer.close()
        # Everything is released here: the objects refer to each other, and the garbage collector comes late.
        self._parser.close()
        self._rest = b""
        if self._exchange is not None:
            self._exchange.drop()
        if self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        self._writing_paused = True
        self._answer_timer.start()

    def resume_writing(self) -> None:
        self._writing_paused = False
        self._answer_timer.stop()
        if self._exchange is None and self._discarded is None:
            self._next()

    # Called by the server.

    def shutdown(self) -> None:
        """The server stops; a request that has begun is still answered."""
        self._stopping = True
        if self._exchange is None:
            self.close()
        else:
            self._exchange.keep_alive = False

    def close(self) -> None:
        """Close the connection once everything written has been sent."""
        self._transport.close()

    # A request.

    def _take(self, data: memoryview) -> None:
        """Take bytes for the request that is being received and, after it, for the next one."""
        parser = self._parser
        try:
            while data and not parser.complete:
                data = data[parser.feed(data) :]
                if parser.head is not None:
                    if self._exchange is None:
                        self._begin(parser.head)
                    self._exchange.add(parser.take_body(), parser.complete)  # type: ignore[union-attr]
        except Refusal as refusal:
            self._fail(refusal)
            return
        self._rest += data
        if parser.complete:
            self._body_timer.stop()
            if parser.overrun and self._exchange is not None:
                self._exchange.keep_alive = False
        elif parser.head is not None:
            self._body_timer.start()
        elif self._half_closed:
            self._refuse(malformed("the request ends within its headers"))
            return
        elif parser.begun:
            self._head_timer.start()
        self._set_reading()

    def _begin(self, head: Head) -> None:
        self._head_timer.stop()
        transport = self._transport
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": head.version,
            "method": head.method,
            "scheme": "http",
            "path": head.path,
            "raw_path": head.raw_path,
            "query_string": head.query,
            "root_path": "",
            "headers": head.headers,
            "server": transport.get_extra_info("sockname"),
            "client": transport.get_extra_info("peername"),
            "extensions": {"gluon_resnet": {"is_gone": transport.is_closing}},
        }
        self._exchange = exchange = Exchange(
            scope,
            head.expects_continue,
            head.keep_alive and not self._stopping,
            self._shared.state.default_headers,
            self._set_reading,
            transport.write,
        )
        self._task = task = self._loop.create_task(self._answer(exchange))
        self._shared.state.tasks.add(task)
        task.add_done_callback(self._shared.state.tasks.discard)

    async def _answer(self, exchange: Exchange) -> None:
        try:
            app = self._shared.app_for(exchange.scope)
            await app(exchange.scope, exchange.receive, exchange.send)
            if not (exchange.answered or self._transport.is_closing()):
                raise RuntimeError("the application did not answer")
        except asyncio.CancelledError:  # the client has gone, or the server stops
            if not exchange.answered:
                self.close()
        except Exception as error:
            log.error("%s %s", exchange.scope["method"], exchange.scope["path"][:80], exc_info=error)
            if not exchange.answered:
                self.close()
        self._shared.state.total_requests += 1
        exchange.drop()
        self._exchange = self._task = None
        if self._transport.is_closing():
            return
        if exchange.keep_alive and not self._stopping and self._discarded is None:
            self._parser.next()
            if not self._writing_paused:
                self._next()
        elif self._parser.complete and not self._parser.overrun and not self._rest:
            self.close()
        else:
            self._linger()

    def _next(self) -> None:
        """Go on to what the client has sent meanwhile, or will send."""
        if self._rest:
            rest, self._rest = self._rest, b""
            self._take(memoryview(rest))
        elif self._half_closed:
            self.close()
        else:
            self._idle_timer.start()
            self._set_reading()

    def _set_reading(self) -> None:
        """Stop reading from a client that is ahead of us: its own system makes it wait."""
        unread = 0 if self._exchange is None else self._exchange.unread
        if self._rest or unread > AHEAD:
            self._transport.pause_reading()
        elif not self._half_closed:
            self._transport.resume_reading()

    # The end.

    def _fail(self, refusal: Refusal) -> None:
        """Give up on this request, whose rest is ignored."""
        if self._exchange is None:
            self._refuse(refusal)
        else:
            self._discarded = 0
            self._exchange.fail(refusal)

    def _refuse(self, refusal: Refusal) -> None:
        """Answer without the application."""
        if refusal.reason is not None:
            self._shared.refused(refusal.reason)
        client = client_of({"client": self._transport.get_extra_info("peername")})
        log.warning("%d %s connection: %s", refusal.status, client, refusal)
        body = json.dumps(refusal.content).encode()
        headers = {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "Connection": "close",
            **(refusal.headers or {}),
        }
        lines = [f"{refusal.status} {http.HTTPStatus(refusal.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self._transport.write(BEGINNING + "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)
        self._linger()

    def _linger(self) -> None:
        """Let a client that has been answered finish, ignoring what it sends."""
        self._discarded = self._discarded or 0
        self._rest = b""
        for timer in self._waits:
            timer.stop()
        if self._half_closed or self._transport.is_closing():
            self.close()
            return
        with contextlib.suppress(OSError):  # the client has gone
            self._transport.write_eof()
        self._shared.linger(self)
        self._linger_timer.start()
        self._transport.resume_reading()

    def _look_for_reset(self, seconds: float) -> None:
        """Poll for a reset, since the loop does not report one on a connection that is not being read."""
        if self._transport.is_closing() or self._exchange is None:
            return
        connection: Any = self._transport.get_extra_info("socket")
        if connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._transport.abort()
        else:
            self._loop.call_later(seconds, self._look_for_reset, min(1.0, 2 * seconds))

    def _head_is_late(self) -> None:
        if not self._parser.begun:  # browsers open connections in advance
            self.close()
            return
        seconds = f"{self._shared.limits.timeout:g} seconds"
        self._refuse(Refusal(408, "slow", f"the request's headers were not complete after {seconds}"))

    def _body_is_late(self) -> None:
        seconds = f"{self._shared.limits.timeout:g} seconds"
        self._fail(Refusal(408, "slow", f"the body was not complete after {seconds}"))

    def _answer_is_not_read(self) -> None:
        self._shared.refused("slow")
        self._transport.abort()
