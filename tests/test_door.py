"""The door of a run: who knows the secret comes in, whatever strangers do at the port."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import time

import pytest

from gluon_resnet import door as doors
from gluon_resnet.door import MOST_OF_ONE, MOST_STRANGERS, Door

SECRET = b"0123456789abcdef"


@pytest.fixture
def door():
    with Door("127.0.0.1", SECRET) as opened:
        yield opened


@pytest.fixture
def clients():
    with contextlib.ExitStack() as stack:
        yield lambda door, source="127.0.0.1": stack.enter_context(
            socket.create_connection(door.name, 60, (source, 0))
        )


def admitted(door: Door, count: int = 1) -> list[tuple[socket.socket, str]]:
    found: list[tuple[socket.socket, str]] = []
    end = time.monotonic() + 600
    while len(found) < count:
        assert time.monotonic() < end
        door.wait(0.1)
        found += door.admit()
    return found


def settle(door: Door) -> None:
    """Until the door has done all there is to do."""
    while True:
        assert door.admit() == []
        began = time.monotonic()
        door.wait(0.05)
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


def test_one_that_says_the_secret_comes_in_and_what_follows_is_left_unread(door, clients):
    for parts in ([SECRET + b"more"], [SECRET[:5], SECRET[5:], b"more"]):
        client = clients(door)
        for part in parts:
            client.sendall(part)
            if part == SECRET[:5]:
                settle(door)
        ((connection, address),) = admitted(door)
        with connection:
            assert address == "127.0.0.1"
            assert connection.recv(100) == b"more"
    assert door.refused == 0


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
def test_one_that_says_anything_else_is_refused_by_its_first_bytes(said, door, clients):
    read = []
    hear = door._hear
    door._hear = lambda connection: (read.append(len(door._strangers[connection].said)), hear(connection))
    client = clients(door)
    client.sendall(said)
    settle(door)
    assert is_closed(client)
    assert door.refused == 1
    assert len(read) == 1  # and of it no more than the secret's length


def test_one_that_hangs_up_is_forgotten(door, clients):
    for said in (b"", SECRET[:3]):
        with clients(door) as client:
            client.sendall(said)
            settle(door)
    settle(door)
    assert (door.refused, len(door._strangers)) == (2, 0)


def test_of_one_address_the_oldest_go_and_another_address_does_not_suffer(door, clients):
    early = clients(door, "127.0.0.2")
    settle(door)
    strangers = []
    for _ in range(MOST_OF_ONE + 8):
        strangers.append(clients(door))
        settle(door)
    assert [is_closed(stranger) for stranger in strangers] == [True] * 8 + [False] * MOST_OF_ONE
    early.sendall(SECRET)
    ((connection, address),) = admitted(door)
    connection.close()
    assert address == "127.0.0.2"


def test_strangers_from_everywhere_are_a_bounded_number_of_connections(door, clients):
    before = len(os.listdir("/proc/self/fd"))
    strangers = [clients(door, f"127.0.0.{2 + index // MOST_OF_ONE}") for index in range(2 * MOST_STRANGERS)]
    settle(door)
    assert door.refused == MOST_STRANGERS
    assert len(os.listdir("/proc/self/fd")) == before + len(strangers) + MOST_STRANGERS
    client = clients(door)
    client.sendall(SECRET)
    ((connection, _),) = admitted(door)
    connection.close()


def test_one_that_has_said_the_secret_is_not_dropped_for_being_the_oldest(door, clients):
    first = clients(door)
    settle(door)
    first.sendall(SECRET)
    for _ in range(2 * MOST_OF_ONE):
        clients(door)
    ((connection, _),) = admitted(door)
    connection.close()


def test_one_that_takes_too_long_is_refused(door, clients, monkeypatch):
    client = clients(door)
    client.sendall(SECRET[:-1])
    settle(door)
    assert not is_closed(client)
    monkeypatch.setattr(doors, "DEADLINE", -1.0)
    settle(door)
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


def test_without_a_descriptor_strangers_give_theirs(door, clients, no_descriptors):
    strangers = [clients(door) for _ in range(2)]
    settle(door)
    with socket.socket() as client:
        with no_descriptors():
            client.connect(door.name)
            client.sendall(SECRET)
            ((connection, _),) = admitted(door)
        connection.close()
    assert [is_closed(stranger) for stranger in strangers] == [True, False]


def test_without_a_descriptor_newcomers_wait_and_cost_no_time(door, clients, no_descriptors, monkeypatch):
    monkeypatch.setattr(doors, "_PAUSE", 0.2)
    client = clients(door)
    client.sendall(SECRET)
    with no_descriptors():
        assert door.admit() == []
        turns = 0
        end = time.monotonic() + 0.1
        while time.monotonic() < end:
            door.wait(0.05)
            assert door.admit() == []
            turns += 1
        assert turns < 10  # `wait` does wait
    ((connection, _),) = admitted(door)
    connection.close()
