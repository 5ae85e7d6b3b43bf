"""Connections among workers, here threads: who is told that another one is gone."""

from __future__ import annotations

import contextlib
import queue
import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from gluon_resnet.errors import GluonResnetError
from gluon_resnet.training.distributed import lifeline
from gluon_resnet.training.distributed.lifeline import Lifeline


class Group:
    """Lifelines of `count` workers, and (who was told, who is gone) in order."""

    def __init__(self, count: int, stranger=lambda host, port: None) -> None:
        self.told: queue.Queue[tuple[int, int]] = queue.Queue()
        self._numbers = [0] * 6
        self._told_address = threading.Event()
        self._stranger = stranger
        with ThreadPoolExecutor(count) as pool:
            self.lines = list(pool.map(lambda rank: self._tie(rank, count), range(count)))

    def _tie(self, rank: int, count: int) -> Lifeline:
        return Lifeline(rank, count, "127.0.0.1", self._share, lambda gone: self.told.put((rank, gone)))

    def _share(self, numbers):
        if any(numbers):
            self._numbers = numbers
            self._stranger(socket.inet_ntoa(bytes(numbers[:4])), numbers[4])
            self._told_address.set()
        assert self._told_address.wait(10)
        return self._numbers


@pytest.fixture(autouse=True)
def short_grace(monkeypatch):
    monkeypatch.setattr(lifeline, "_GRACE", 0.05)


def test_a_worker_that_fails_is_known_to_worker_0_and_it_is_to_all_others():
    group = Group(3)
    group.lines[2].close(failed=True)
    assert group.told.get(timeout=10) == (0, 2)
    group.lines[0].close(failed=True)
    assert group.told.get(timeout=10) == (1, 0)
    group.lines[1].close(failed=True)
    assert group.told.empty()


@pytest.mark.parametrize("asking", [0, 1, 2])
def test_one_that_asks_to_stop_tells_all(asking):
    group = Group(3)
    assert not any(line.stop_asked for line in group.lines)
    group.lines[asking].ask_stop()
    end = time.monotonic() + 10
    while not all(line.stop_asked for line in group.lines):
        assert time.monotonic() < end
        time.sleep(0.01)
    for line in group.lines:  # others may have been asked at the same time
        line.ask_stop()
    for line in group.lines:
        line.close(failed=False)
    assert group.told.empty()


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_workers_that_are_done_miss_nobody(order):
    group = Group(3)
    for rank in order:
        group.lines[rank].close(failed=False)
    assert group.told.empty()


def test_one_that_fails_in_time_says_only_its_own_error(monkeypatch):
    monkeypatch.setattr(lifeline, "_GRACE", 30)
    group = Group(2)
    group.lines[1].close(failed=True)
    group.lines[0].close(failed=True)  # ends its thread, which waits
    assert group.told.empty()


def test_strangers_at_the_port_count_for_nothing():
    def strangers(host, port):
        for hello in (b"", b"GET / HTTP/1.0\r\n\r\n", struct.pack(">QI", 12345, 1)):
            with socket.create_connection((host, port)) as stranger:
                stranger.sendall(hello)

    group = Group(2, strangers)
    assert group.told.empty()
    group.lines[1].close(failed=True)
    assert group.told.get(timeout=10) == (0, 1)
    group.lines[0].close(failed=True)


def test_strangers_that_stay_keep_no_worker_waiting(monkeypatch):
    monkeypatch.setattr(lifeline, "_PATIENCE", 4.0)  # less than one stranger could take before
    with contextlib.ExitStack() as stack:

        def strangers(host, port):
            for index in range(100):
                source = (f"127.0.0.{2 + index % 3}", 0)
                stranger = stack.enter_context(socket.create_connection((host, port), 60, source))
                with contextlib.suppress(ConnectionError):
                    stranger.sendall(b"\0\0")

        group = Group(3, strangers)
        for rank in range(3):
            group.lines[rank].close(failed=False)
    assert group.told.empty()


def test_ranks_that_no_worker_has_are_refused(monkeypatch):
    monkeypatch.setattr(lifeline, "_PATIENCE", 0.5)
    said: list[socket.socket] = []

    def share(numbers):
        for rank in (0, 2, 2**32 - 1):
            said.append(socket.create_connection(("127.0.0.1", numbers[4])))
            said[-1].sendall(struct.pack(">QI", numbers[5], rank))
        return list(numbers)

    with pytest.raises(GluonResnetError, match="only 0 of 1 workers reached worker 0"):
        Lifeline(0, 2, "127.0.0.1", share, lambda rank: None)
    for connection in said:
        connection.close()


def test_workers_that_cannot_be_reached_are_an_error_at_both_ends(monkeypatch):
    monkeypatch.setattr(lifeline, "_PATIENCE", 0.3)
    with pytest.raises(GluonResnetError, match=r"only 0 of 1 workers reached worker 0 at 127\.0\.0\.1:\d+"):
        Lifeline(0, 2, "127.0.0.1", lambda numbers: list(numbers), lambda rank: None)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(GluonResnetError, match=f"worker 1 cannot reach worker 0 at 127.0.0.1:{port}"):
        Lifeline(1, 2, "127.0.0.1", lambda numbers: [127, 0, 0, 1, port, 7], lambda rank: None)
