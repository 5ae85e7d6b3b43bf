"""A port of a run where a connection counts for nothing, and costs little, until it has sent a secret."""

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

MOST_STRANGERS = 128  # connections that have not sent the secret yet,
MOST_OF_ONE = 32  # and those from one address
DEADLINE = 10.0  # seconds to send it
_AT_ONCE = 64  # connections accepted in one call: the owner has others to serve
_PAUSE = 0.5  # seconds without accepting, when no descriptor is left
_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class AuthenticatedListener:
    """A listening TCP socket whose newcomers must begin with `secret`, byte for byte.

    Nothing else from a stranger is read, and nothing is parsed. There are at most 128 strangers, 32 from one address,
    each for at most 10 s; beyond that the oldest one is dropped. If the process has no descriptors left, the oldest is
    dropped as well, and if there is none to drop, the kernel keeps the others waiting.

    A context manager, for one thread. `fileno` is readable when `admit` has something to do.

    Args:
        address: an IPv4 address of this machine.
        secret: 8 to 64 bytes that nobody can guess.

    Attributes:
        refused: the number of connections closed without having sent the secret.
    """

    def __init__(self, address: str, secret: bytes) -> None:
        self.refused = 0
        self._secret = secret
        self._strangers: dict[socket.socket, _Stranger] = {}  # the oldest first
        self._admitted: list[tuple[socket.socket, str]] = []
        self._pause = 0.0  # the time until which nothing is accepted
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
        """The descriptor for another selector, which does not see deadlines."""
        return self._selector.fileno()

    def wait(self, seconds: float) -> None:
        """Wait until `admit` has something to do, or for `seconds`."""
        self._selector.select(max(0.0, seconds))

    def admit(self) -> list[tuple[socket.socket, str]]:
        """The connections that have sent the secret since the last call, now blocking, with their peers' addresses.

        Never waits. It must be called at least once a second, for the deadlines.
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
            if not self._knock.poll(0):  # without descriptors, accept() fails even if nobody waits
                return
            try:
                connection, (address, _port) = self._server.accept()
            except OSError as error:
                if error.errno not in _NO_ROOM:
                    continue  # that connection is broken already
                if self._strangers:
                    self._drop(next(iter(self._strangers)))
                    continue
                self._selector.unregister(self._server)  # it would always be ready
                self._pause = time.monotonic() + _PAUSE
                return
            connection.setblocking(False)
            self._strangers[connection] = _Stranger(address)
            self._selector.register(connection, selectors.EVENT_READ)
            self._hear(connection)  # one that knows the secret has usually sent it by now
            self._limit(address)

    def _limit(self, address: str) -> None:
        same = [each for each, stranger in self._strangers.items() if stranger.address == address]
        if len(same) > MOST_OF_ONE:
            self._drop(same[0])
        if len(self._strangers) > MOST_STRANGERS:
            self._drop(next(iter(self._strangers)))

    def _drop(self, connection: socket.socket) -> None:
        """Make room, after a last look at what has arrived."""
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
    """A peer that has not sent the secret yet: its time of arrival, and what it has sent."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.since = time.monotonic()
        self.said = b""
