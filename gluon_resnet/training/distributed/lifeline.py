"""Connections between workers that exist in order to break: they tell each worker when another one is gone."""

from __future__ import annotations

import contextlib
import secrets
import selectors
import socket
import struct
import threading
import time
from collections.abc import Sequence
from typing import Callable

from gluon_resnet.errors import GluonResnetError
from gluon_resnet.listener import AuthenticatedListener

_TOKEN, _RANK = struct.Struct(">Q"), struct.Struct(">I")  # what a worker sends to worker 0
_DONE, _STOP = b".", b"s"
_PATIENCE = 60.0  # seconds for all workers to connect
_GRACE = 5.0  # seconds in which a worker that also fails can report its own error


class Lifeline:
    """A TCP connection from each worker to worker 0, watched by a thread at both ends.

    MXNet's parameter server waits for ever for a worker that was killed. The kernel closes the connections of a process
    that ends in any way, and keep-alive notices within half a minute that a machine can no longer be reached.

    Args:
        rank, count: the rank of this worker, and the number of workers.
        address: this machine's IPv4 address for the other workers (Engine.address).
        share: a function that adds up six numbers over all workers (Engine.sum), through which worker 0 announces its
            address.
        lost: a function that is called once, in the thread, with the rank of a worker that is gone: in worker 0 that of
            any other worker, in the others 0, since worker 0 ends after losing a worker.

    Raises:
        GluonResnetError: the workers cannot reach each other.
    """

    def __init__(
        self,
        rank: int,
        count: int,
        address: str,
        share: Callable[[Sequence[int]], list[int]],
        lost: Callable[[int], None],
    ) -> None:
        self._lost = lost
        self._closed = threading.Event()
        self._stop = threading.Event()
        self._peers = _accept(count, address, share) if rank == 0 else {_connect(rank, share): 0}
        for peer in self._peers:
            peer.settimeout(None)
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 4)):
                peer.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
        self._thread = threading.Thread(target=self._watch, name="lifeline", daemon=True)
        self._thread.start()

    @property
    def stop_asked(self) -> bool:
        """Whether this worker or another one has asked all of them to stop."""
        return self._stop.is_set()

    def ask_stop(self) -> None:
        """Tell the other workers to stop, without waiting for them."""
        if not self._stop.is_set():
            self._stop.set()
            self._tell(_STOP)

    def wait(self) -> None:
        """Wait until `lost` has been called, or it is certain that nobody is gone: half a minute at most."""
        self._thread.join(_PATIENCE / 2)

    def close(self, failed: bool) -> None:
        """Stop watching. If `failed`, the other workers are told that they cannot go on."""
        self._closed.set()
        if not failed:
            self._tell(_DONE)
        for peer in self._peers:
            with contextlib.suppress(OSError):  # the peer is gone
                peer.shutdown(socket.SHUT_RDWR)  # wakes the thread
        self._thread.join()
        for peer in self._peers:
            peer.close()

    def _watch(self) -> None:
        with selectors.DefaultSelector() as selector:
            for peer in self._peers:
                selector.register(peer, selectors.EVENT_READ, peer)
            while selector.get_map():
                for key, _ in selector.select():
                    peer = key.data
                    try:
                        message = peer.recv(1)
                    except OSError:  # reset, or silent for too long
                        message = b""
                    if message == _STOP:
                        self._forward_stop()
                        continue
                    selector.unregister(peer)
                    if message != _DONE:
                        if not self._closed.wait(_GRACE):
                            self._lost(self._peers[peer])
                        return

    def _forward_stop(self) -> None:
        """Note a request to stop; worker 0, to which all are connected, passes it on to the others."""
        if 0 in self._peers.values():
            self._stop.set()
        else:
            self.ask_stop()

    def _tell(self, message: bytes) -> None:
        for peer in self._peers:
            with contextlib.suppress(OSError):  # the peer is gone
                peer.sendall(message)


def _accept(
    count: int, address: str, share: Callable[[Sequence[int]], list[int]]
) -> dict[socket.socket, int]:
    """Worker 0's side: the connections of all others, with their ranks."""
    token = secrets.randbits(48)
    peers: dict[socket.socket, int] = {}
    with AuthenticatedListener(address, _TOKEN.pack(token)) as listener:
        host, port = listener.name
        share([*socket.inet_aton(host), port, token])
        end = time.monotonic() + _PATIENCE
        while len(peers) < count - 1:
            left = end - time.monotonic()
            if left < 0:
                for peer in peers:
                    peer.close()
                raise GluonResnetError(
                    f"only {len(peers)} of {count - 1} workers reached worker 0 at {host}:{port}: "
                    "is there a firewall between them?"
                )
            listener.wait(min(left, 1.0))
            for peer, _ in listener.admit():
                rank = _rank(peer)
                if 0 < rank < count and rank not in peers.values():
                    peers[peer] = rank
                else:
                    peer.close()
    return peers


def _rank(peer: socket.socket) -> int:
    """The rank that `peer`, which knows the token, sends; 0 if it sends none."""
    peer.settimeout(5)
    try:
        (rank,) = _RANK.unpack(peer.recv(_RANK.size, socket.MSG_WAITALL))
    except (OSError, struct.error):
        return 0
    return int(rank)


def _connect(rank: int, share: Callable[[Sequence[int]], list[int]]) -> socket.socket:
    """Another worker's side."""
    *numbers, port, token = share([0] * 6)
    host = socket.inet_ntoa(bytes(numbers))
    try:
        peer = socket.create_connection((host, port), _PATIENCE)
        peer.sendall(_TOKEN.pack(token) + _RANK.pack(rank))
    except OSError as error:
        raise GluonResnetError(
            f"worker {rank} cannot reach worker 0 at {host}:{port} ({error}): is there a firewall between them?"
        ) from None
    return peer
