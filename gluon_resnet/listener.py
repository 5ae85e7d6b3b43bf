"""A port of a run, at which a connection counts for nothing, and costs little, before it says a secret."""

from __future__ import annotations

import contextlib
import errno
import secrets
import select
import selectors
import socket
import time
from types import TracebackType
from typing import Optional

MOST_STRANGERS = 128  # connections that have not said the secret yet,
MOST_OF_ONE = 32  # and those of one address
DEADLINE = 10.0  # seconds to say it
_AT_ONCE = 64  # connections accepted in one call: the owner has others to hear
_PAUSE = 0.5  # seconds without accepting, where no descriptor is left
_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class AuthenticatedListener:
    """A listening TCP socket whose newcomers have to begin with `secret`, byte for byte.

    Nothing else of a stranger is read, and nothing is parsed. Of strangers there are at most 128, and 32 of one
    address, each for at most 10 s; beyond that the oldest one goes. Where the process has no descriptor left the
    oldest goes as well, and where there is none the kernel keeps the others waiting.

    A context manager, for one thread. `fileno` has something to read when `admit` has something to do.

    Args:
        address: of this machine, IPv4.
        secret: from 8 to 64 bytes, which nobody can guess.

    Attributes:
        refused: how many connections were closed without having said the secret.
    """

    def __init__(self, address: str, secret: bytes) -> None:
        self.refused = 0
        self._secret = secret
        self._strangers: dict[socket.socket, _Stranger] = {}  # the oldest first
        self._admitted: list[tuple[socket.socket, str]] = []
        self._pause = 0.0  # until when nothing is accepted
        self._selector = selectors.DefaultSelector()
        try:
            self._server = socket.create_server((address, 0), backlog=512)
        except BaseException:
            self._selector.close()
            raise
        self._server.setblocking(False)
        self._knock = select.poll()
        self._knock.register(self._server, select.POLLIN)
        self._selector.register(self._server, selectors.EVENT_READ)

    def __enter__(self) -> AuthenticatedListener:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self._server.close()
        for connection in (*self._strangers, *(connection for connection, _ in self._admitted)):
            connection.close()
        self._selector.close()

    @property
    def name(self) -> tuple[str, int]:
        """The address and the port."""
        host, port = self._server.getsockname()
        return host, port

    def fileno(self) -> int:
        """For another selector; deadlines do not show there."""
        return self._selector.fileno()

    def wait(self, seconds: float) -> None:
        """Until `admit` has something to do, or so long."""
        self._selector.select(max(0.0, seconds))

    def admit(self) -> list[tuple[socket.socket, str]]:
        """The connections that have said the secret since the last call, blocking ones, with their peers' addresses.

        Never waits. To be called once a second at least, for the deadlines.
        """
        for key, _ in self._selector.select(0):
            if key.fileobj is not self._server:
                self._hear(key.fileobj)  # type: ignore[arg-type]
        self._accept()
        late = time.monotonic() - DEADLINE
        for connection in [each for each, stranger in self._strangers.items() if stranger.since < late]:
            self._refuse(connection)
        admitted, self._admitted = self._admitted, []
        return admitted

    def _accept(self) -> None:
        if self._pause:
            if time.monotonic() < self._pause:
                return
            self._pause = 0.0
            self._selector.register(self._server, selectors.EVENT_READ)
        for _ in range(_AT_ONCE):
            if not self._knock.poll(0):  # without a descriptor, accept() fails where nobody waits, too
                return
            try:
                connection, (address, _port) = self._server.accept()
            except OSError as error:
                if error.errno not in _NO_ROOM:
                    continue  # that connection is broken already
                if self._strangers:
                    self._drop(next(iter(self._strangers)))
                    continue
                self._selector.unregister(self._server)  # it would be ready all the time
                self._pause = time.monotonic() + _PAUSE
                return
            connection.setblocking(False)
            self._strangers[connection] = _Stranger(address)
            self._selector.register(connection, selectors.EVENT_READ)
            self._hear(connection)  # one that knows the secret has mostly sent it by now
            self._limit(address)

    def _limit(self, address: str) -> None:
        same = [each for each, stranger in self._strangers.items() if stranger.address == address]
        if len(same) > MOST_OF_ONE:
            self._drop(same[0])
        if len(self._strangers) > MOST_STRANGERS:
            self._drop(next(iter(self._strangers)))

    def _drop(self, connection: socket.socket) -> None:
        """Make room, after a last look at what has come."""
        self._hear(connection)
        if connection in self._strangers:
            self._refuse(connection)

    def _hear(self, connection: socket.socket) -> None:
        stranger = self._strangers[connection]
        try:
            data = connection.recv(len(self._secret) - len(stranger.said))
        except BlockingIOError:
            return
        except OSError:
            data = b""
        stranger.said += data
        if data and len(stranger.said) < len(self._secret):
            return
        if not secrets.compare_digest(stranger.said, self._secret):
            self._refuse(connection)
            return
        self._forget(connection)
        connection.setblocking(True)
        self._admitted.append((connection, stranger.address))

    def _refuse(self, connection: socket.socket) -> None:
        self._forget(connection)
        with contextlib.suppress(OSError):
            connection.close()
        self.refused += 1

    def _forget(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        del self._strangers[connection]


class _Stranger:
    """Who has not said the secret yet: since when it is there, and what it has said."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.since = time.monotonic()
        self.said = b""
