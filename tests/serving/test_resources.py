"""What clients of bad manners cost the server: memory, connections and descriptors have bounds, and come back."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import struct
import subprocess
import sys
import time

import psutil
import pytest

from gluon_resnet.serving.connections import LINGERING
from tests.support.paths import ROOT
from tests.support.serve_clients import HEAD, closed, connected, read_answer, shade, wait_for
from tests.support.served import Server, fake_server

MIB = 1 << 20
BODY = 4 * MIB
CLIENTS = 16
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset


def memory(server: Server) -> int:
    return psutil.Process(server.process.pid).memory_info().rss


def healthy(server: Server) -> None:
    image = shade(3)
    with connected(server) as client:
        for _ in range(20):
            client.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(image) + image)
            status, _, content = read_answer(client)
            assert (status, content["predictions"][0]["classes"][0]["label"]) == (200, 3)


def begin(server: Server, stack: contextlib.ExitStack, head: bytes, body: bytes) -> socket.socket:
    client = stack.enter_context(connected(server))
    with contextlib.suppress(ConnectionError):
        client.sendall(head + body)
    return client


def unfinished(server: Server, stack: contextlib.ExitStack) -> socket.socket:
    return begin(server, stack, HEAD + b"Content-Length: %d\r\n\r\n" % BODY, bytes(BODY - 1))


def unfinished_chunks(server: Server, stack: contextlib.ExitStack) -> socket.socket:
    chunk = b"%x\r\n%b\r\n" % (1000, bytes(1000))
    return begin(server, stack, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", chunk * (BODY // 1000))


def no_image(server: Server, stack: contextlib.ExitStack) -> socket.socket:
    return begin(server, stack, HEAD + b"Content-Length: %d\r\n\r\n" % BODY, bytes(BODY))


def no_form(server: Server, stack: contextlib.ExitStack) -> socket.socket:
    part = b'--B\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\n%b\r\n'
    body = part % bytes(BODY // 2 - 100) + part % bytes(BODY // 2 - 100) + b"--B--\r\n"
    head = HEAD.replace(b"image/png", b"multipart/form-data; boundary=B")
    return begin(server, stack, head + b"Content-Length: %d\r\n\r\n" % len(body), body)


def too_large(server: Server, stack: contextlib.ExitStack) -> socket.socket:
    return begin(server, stack, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"600000\r\n" + bytes(6 * MIB))


def test_the_memory_of_bodies_is_given_back_in_each_of_ten_rounds() -> None:
    with fake_server(f"body={BODY}", f"bodies={CLIENTS * BODY}") as server:
        healthy(server)
        quiet = memory(server)
        after = {}
        for reset in (False, True):
            for client in (unfinished, unfinished_chunks, no_image, no_form, too_large):
                with contextlib.ExitStack() as stack:
                    for _ in range(CLIENTS):
                        rude = client(server, stack)
                        if reset:
                            rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                wait_for(server, 1, "open_requests")  # the one that asks
                healthy(server)
                after[client.__name__, reset] = memory(server)
        # A round is 64 MiB. A heap for each thread that has seen one of its bodies may stay; not ten rounds, nor one.
        assert max(after.values()) < quiet + CLIENTS * BODY // 2, (quiet, after)


def test_all_bodies_together_have_a_limit_and_clients_beyond_it_are_told_at_once() -> None:
    limit = 5 * BODY // 2
    with fake_server(f"body={BODY}", f"bodies={limit}") as server, contextlib.ExitStack() as stack:
        healthy(server)
        quiet = memory(server)
        clients = [unfinished(server, stack) for _ in range(CLIENTS)]
        wait_for(server, CLIENTS - 2, "requests_total", path="/predict", status="503")
        refused = 0
        for client in clients:
            client.settimeout(0.2)
            with contextlib.suppress(socket.timeout):
                status, headers, _ = read_answer(client)
                assert (status, headers["retry-after"], headers["connection"]) == (503, "1", "close")
                refused += 1
        assert refused == CLIENTS - 2
        assert memory(server) - quiet < 2 * limit
        stack.close()
        wait_for(server, 1, "open_requests")
        healthy(server)


def test_a_body_that_nobody_asked_for_waits_in_the_clients_own_system() -> None:
    with fake_server() as server, connected(server) as client:
        healthy(server)
        quiet = memory(server)
        # A client that sends requests ahead, each with its body, gets one answer after the other.
        image = shade(4) + bytes(MIB)
        client.settimeout(0.5)
        sent = 0
        with contextlib.suppress(socket.timeout):
            while sent < 256 * MIB:
                client.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(image) + image)
                sent += len(image)
        assert memory(server) - quiet < 32 * MIB


@pytest.mark.parametrize("early", [False, True], ids=["waits for the answer", "asks at once"])
def test_every_client_beyond_the_limit_reads_why_it_is_not_served(early: bool) -> None:
    with fake_server("connections=2") as server, contextlib.ExitStack() as stack:
        there = [stack.enter_context(connected(server)) for _ in range(2)]
        wait_for_connections(server, 2)
        others = [stack.enter_context(connected(server)) for _ in range(58)]
        for client in others:
            if early:
                with contextlib.suppress(ConnectionError):
                    client.sendall(HEAD + b"Content-Length: 100000\r\n\r\n" + bytes(100_000))
        for client in others:
            status, headers, content = read_answer(client)
            assert (status, headers["retry-after"]) == (503, "1")
            assert content == {"error": "there are too many connections"}
            assert closed(client)
        for client in there:
            client.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert read_answer(client)[0] == 200


def test_clients_that_were_told_to_go_do_not_take_the_places_of_others_for_long() -> None:
    with fake_server("connections=2") as server, contextlib.ExitStack() as stack:
        there = [stack.enter_context(connected(server)) for _ in range(2)]
        wait_for_connections(server, 2)
        others = [stack.enter_context(connected(server)) for _ in range(200)]  # and stay
        assert read_answer(others[-1])[0] == 503
        process, deadline = psutil.Process(server.process.pid), time.monotonic() + 60
        while len(process.net_connections("tcp")) > 1 + 2 + LINGERING:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        for client in there:
            client.close()
        healthy(server)


def wait_for_connections(server: Server, count: int) -> None:
    process = psutil.Process(server.process.pid)
    deadline = time.monotonic() + 60
    while sum(c.status == psutil.CONN_ESTABLISHED for c in process.net_connections("tcp")) != count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_server_without_descriptors_says_so_once_and_serves_when_it_has_some_again() -> None:
    with fake_server() as server:
        healthy(server)
        process = psutil.Process(server.process.pid)
        used = process.num_fds()
        before = process.rlimit(resource.RLIMIT_NOFILE)
        process.rlimit(resource.RLIMIT_NOFILE, (used + 10, before[1]))
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(connected(server)) for _ in range(50)]
            clients[0].sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert read_answer(clients[0])[0] == 200
            times = process.cpu_times()
            time.sleep(1)
            spent = process.cpu_times()
            assert (
                spent.user + spent.system - times.user - times.system < 0.5
            )  # it waits, and does not turn round
            clients[49].sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            for client in clients[:49]:
                client.close()
            assert read_answer(clients[49])[0] == 200
        healthy(server)
        status, stderr = server.stop()
        assert status == 0
        assert stderr.count("\n") == 1
        assert "connections cannot be accepted now: Too many open files" in stderr


@pytest.mark.parametrize(
    ("hard", "said"), [(4096, ""), (256, "connections are possible instead of 300: ulimit -n is 256")]
)
def test_the_number_of_connections_fits_the_descriptors_or_says_so(hard: int, said: str) -> None:
    command = f"ulimit -S -n 128; ulimit -H -n {hard}; exec {sys.executable} tests/support/served.py connections=300"
    process = subprocess.Popen(
        ["bash", "-c", command],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        server = Server(process)
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(connected(server)) for _ in range(299 if hard > 256 else 60)]
            clients[-1].sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert read_answer(clients[-1])[0] == 200
        status, stderr = server.stop()
        assert status == 0
        assert said in stderr
        assert stderr.count("\n") == bool(said)
    finally:
        process.kill()
        process.communicate()
