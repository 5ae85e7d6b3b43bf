"""Accepts connections from a listening socket, and copes when the process has no file descriptors left."""

from __future__ import annotations

import asyncio
import socket
from typing import Callable, Optional

from gluon_resnet.serving.log import log

AT_ONCE = 64  # connections accepted before the existing ones get their turn
_PAUSE = 0.1  # seconds, after which a descriptor may be free again
_QUIET = 60.0  # seconds for which the complaint is not repeated


class Acceptor:
    """Accepts connections for one event loop, which by itself would try 2048 times in a row, with a traceback each.

    Args:
        listener: the listening socket.
        protocol: a function that makes the protocol of a connection.
    """

    def __init__(self, listener: socket.socket, protocol: Callable[[], asyncio.BaseProtocol]) -> None:
        self._listener = listener
        self._protocol = protocol
        self._loop = asyncio.get_running_loop()
        self._resume: Optional[asyncio.TimerHandle] = None
        self._said = -_QUIET
        self._tasks: set[asyncio.Task[None]] = set()
        listener.setblocking(False)

    def start(self, backlog: int) -> None:
        self._listener.listen(backlog)
        self._loop.add_reader(self._listener, self._accept)

    def close(self) -> None:
        """Stop listening: new connections are refused from now on."""
        if self._resume is not None:
            self._resume.cancel()
        self._loop.remove_reader(self._listener)
        self._listener.close()

    def _accept(self) -> None:
        for _ in range(AT_ONCE):
            try:
                connection, _address = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._wait(error)
                return
            task = self._loop.create_task(self._take(connection))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _take(self, connection: socket.socket) -> None:
        try:
            connection.setblocking(False)
            await self._loop.connect_accepted_socket(self._protocol, connection)  # type: ignore[attr-defined]
        except OSError:  # the client has gone
            connection.close()

    def _wait(self, error: OSError) -> None:
        """Pause; meanwhile new connections wait in the system's queue."""
        self._loop.remove_reader(self._listener)
        self._resume = self._loop.call_later(_PAUSE, self._loop.add_reader, self._listener, self._accept)
        now = self._loop.time()
        if now - self._said >= _QUIET:
            self._said = now
            log.error("connections cannot be accepted now: %s", error.strerror)
