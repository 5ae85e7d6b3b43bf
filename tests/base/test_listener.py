"""The listener of a run: who knows the secret comes in, whatever strangers do at the port."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import time

import pytest

from gluon_resnet import listener as listeners
from gluon_resnet.listener import MOST_OF_ONE, MOST_STRANGERS, AuthenticatedListener

SECRET = b"0123456789abcdef"


@pytest.fixture
def listener():
    with AuthenticatedListener("127.0.0.1", SECRET) as opened:
        yield opened


@pytest.fixture
def clients():
    with contextlib.ExitStack() as stack:
        yield lambda listener, source="127.0.0.1": stack.enter_context(
            socket.create_connection(listener.name, 60, (source, 0))
        )


def admitted(listener: AuthenticatedListener, count: int = 1) -> list[tuple[socket.socket, str]]:
    found: list[tuple[socket.socket, str]] = []
    end = time.monotonic() + 600
    while len(found) < count:
        assert time.monotonic() < end
        listener.wait(0.1)
        found += listener.admit()
    return found


def settle(listener: AuthenticatedListener) -> None:
    """Until the listener has done all there is to do."""
    while True:
        assert listener.admit() == []
        began = time.monotonic()
        listener.wait(0.05)
        if time.monotonic() - began > 0.04:
            return


def is_closed(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def test_one_that_says_the_secret_comes_in_and_what_follows_is_left_unread(listener, clients):
    for parts in ([SECRET + b"more"], [SECRET[:5], SECRET[5:], b"more"]):
        client = clients(listener)
        for part in parts:
            client.sendall(part)
            if part == SECRET[:5]:
                settle(listener)
        ((connection, address),) = admitted(listener)
        with connection:
            assert address == "127.0.0.1"
            assert connection.recv(100) == b"more"
    assert listener.refused == 0


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.0\r\n\r\n",
        b"[" * 200_000 + b"\n",
        SECRET[:-1] + b"\xff",
        bytes(len(SECRET)),
        b'{"token": "0123456789abcdef"}\n',
    ],
)
def test_one_that_says_anything_else_is_refused_by_its_first_bytes(said, listener, clients):
    read = []
    hear = listener._hear
    listener._hear = lambda connection: (
        read.append(len(listener._strangers[connection].said)),
        hear(connection),
    )
    client = clients(listener)
    client.sendall(said)
    settle(listener)
    assert is_closed(client)
    assert listener.refused == 1
    assert len(read) == 1  # and of it no more than the secret's length


def test_one_that_hangs_up_is_forgotten(listener, clients):
    for said in (b"", SECRET[:3]):
        with clients(listener) as client:
            client.sendall(said)
            settle(listener)
    settle(listener)
    assert (listener.refused, len(listener._strangers)) == (2, 0)


def test_of_one_address_the_oldest_go_and_another_address_does_not_suffer(listener, clients):
    early = clients(listener, "127.0.0.2")
    settle(listener)
    strangers = []
    for _ in range(MOST_OF_ONE + 8):
        strangers.append(clients(listener))
        settle(listener)
    assert [is_closed(stranger) for stranger in strangers] == [True] * 8 + [False] * MOST_OF_ONE
    early.sendall(SECRET)
    ((connection, address),) = admitted(listener)
    connection.close()
    assert address == "127.0.0.2"


def test_strangers_from_everywhere_are_a_bounded_number_of_connections(listener, clients):
    before = len(os.listdir("/proc/self/fd"))
    strangers = [
        clients(listener, f"127.0.0.{2 + index // MOST_OF_ONE}") for index in range(2 * MOST_STRANGERS)
    ]
    settle(listener)
    assert listener.refused == MOST_STRANGERS
    assert len(os.listdir("/proc/self/fd")) == before + len(strangers) + MOST_STRANGERS
    client = clients(listener)
    client.sendall(SECRET)
    ((connection, _),) = admitted(listener)
    connection.close()


def test_one_that_has_said_the_secret_is_not_dropped_for_being_the_oldest(listener, clients):
    first = clients(listener)
    settle(listener)
    first.sendall(SECRET)
    for _ in range(2 * MOST_OF_ONE):
        clients(listener)
    ((connection, _),) = admitted(listener)
    connection.close()


def test_one_that_takes_too_long_is_refused(listener, clients, monkeypatch):
    client = clients(listener)
    client.sendall(SECRET[:-1])
    settle(listener)
    assert not is_closed(client)
    monkeypatch.setattr(listeners, "DEADLINE", -1.0)
    settle(listener)
    assert is_closed(client)


@pytest.fixture
def no_descriptors():
    """A block in which this process can open nothing."""

    @contextlib.contextmanager
    def block():
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        least = os.dup(0)
        os.close(least)
        resource.setrlimit(resource.RLIMIT_NOFILE, (least, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    return block


def test_without_a_descriptor_strangers_give_theirs(listener, clients, no_descriptors):
    strangers = [clients(listener) for _ in range(2)]
    settle(listener)
    with socket.socket() as client:
        with no_descriptors():
            client.connect(listener.name)
            client.sendall(SECRET)
            ((connection, _),) = admitted(listener)
        connection.close()
    assert [is_closed(stranger) for stranger in strangers] == [True, False]


def test_without_a_descriptor_newcomers_wait_and_cost_no_time(listener, clients, no_descriptors, monkeypatch):
    monkeypatch.setattr(listeners, "_PAUSE", 0.2)
    client = clients(listener)
    client.sendall(SECRET)
    with no_descriptors():
        assert listener.admit() == []
        turns = 0
        end = time.monotonic() + 0.1
        while time.monotonic() < end:
            listener.wait(0.05)
            assert listener.admit() == []
            turns += 1
        assert turns < 10  # `wait` does wait
    ((connection, _),) = admitted(listener)
    connection.close()
