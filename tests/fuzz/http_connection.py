"""A server's connection without a socket: bytes of a client in, bytes of the answers out."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from gluon_resnet.serving.connections import Connections
from gluon_resnet.serving.limits import Limits
from gluon_resnet.serving.log import log
from gluon_resnet.serving.protocol import Connection
from gluon_resnet.serving.refusal import Refusal

_TURNS = 200  # of the loop, in which all that can be done without waiting is done


class Failures(logging.Handler):
    """What the server took for a failure of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.setLevel(logging.ERROR)  # below are what clients are refused for

    def __enter__(self) -> None:
        """Instead of the log's own way: other tests of this process have it back afterwards."""
        self._propagate, log.propagate = log.propagate, False
        log.addHandler(self)

    def __exit__(self, *error: object) -> None:
        log.removeHandler(self)
        log.propagate = self._propagate

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(self.format(record))


class _Transport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__({"sockname": ("127.0.0.1", 80), "peername": ("127.0.0.1", 7), "socket": _Socket()})
        self.written: list[bytes] = []
        self.closing = False
        self.paused = False

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    abort = close

    def write_eof(self) -> None:
        pass

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def set_write_buffer_limits(self, high: Any = None, low: Any = None) -> None:
        pass


class _Socket:
    def getsockopt(self, *option: int) -> int:
        return 0


async def _application(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the length of the body."""
    length = 0
    try:
        while True:
            message = await receive()
            length += len(message.get("body", b""))
            if not message.get("more_body"):
                break
        status, text = 200, b"%d" % length
    except Refusal as refusal:
        status, text = refusal.status, b"refused"
    headers = [(b"content-length", b"%d" % len(text))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text})


class Client:
    """Sends pieces over one connection after the other; each ends by the client's half, then by both."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._failures = Failures()
        self._loop.set_exception_handler(lambda _, context: self._failures.texts.append(str(context)))

    def talk(self, pieces: list[bytes]) -> bytes:
        """What a server answers; RuntimeError where it fails."""
        with self._failures:
            answer = self._loop.run_until_complete(self._talk(pieces))
        if self._failures.texts:
            raise RuntimeError(self._failures.texts.pop())
        return answer

    async def _talk(self, pieces: list[bytes]) -> bytes:
        state = ServerState()
        connection = Connection(Connections(_application, Limits(), lambda reason: None, state))
        transport = _Transport()
        connection.connection_made(transport)
        for piece in pieces:
            await self._turn(lambda: transport.paused and not transport.closing)
            if transport.closing:
                break
            connection.get_buffer(-1)[: len(piece)] = piece
            connection.buffer_updated(len(piece))
        await self._turn(lambda: bool(state.tasks))
        if not transport.closing and not connection.eof_received():
            transport.close()
        await self._turn(lambda: bool(state.tasks))
        connection.connection_lost(None)
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return b"".join(transport.written)

    @staticmethod
    async def _turn(condition: Any) -> None:
        for _ in range(_TURNS):
            await asyncio.sleep(0)
            if not condition():
                break
