"""A server as a process, and clients of all kinds over real sockets: many, slow, rude, gone; and its end."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import pathlib
import socket
import time
from collections.abc import Iterator
from typing import Optional

import httpx
import pytest

from tests.support.serve_clients import (
    HEAD,
    closed,
    connected,
    form,
    labels,
    metric,
    read_answer,
    shade,
    wait_for,
)
from tests.support.served import Server, fake_server


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with fake_server("timeout=0.5", "body=1000000", "connections=40") as server:
        yield server


def test_64_clients_at_once_get_each_its_own_answer_and_share_batches(tmp_path: pathlib.Path) -> None:
    gate = tmp_path / "gate"
    with fake_server("--gate", str(gate)) as server:

        def ask(k: int) -> list[Optional[int]]:
            expected = [k % 12] if k % 2 else [k % 12, (k + 5) % 12]
            answer = client.post(f"{server.url}/predict", **form(*map(shade, expected)))
            assert answer.status_code == 200
            assert labels(answer) == expected
            return labels(answer)

        with httpx.Client(timeout=600) as client, concurrent.futures.ThreadPoolExecutor(64) as pool:
            answers = [pool.submit(ask, k) for k in range(256)]
            wait_for(server, 96, "waiting_images")  # of 64 clients, half of which have two
            gate.touch()
            images = sum(len(answer.result(60)) for answer in answers)
        assert metric(server, "images_total") == images == 384
        assert metric(server, "batch_images_sum") == 384
        assert metric(server, "batch_images_count") < 200
        assert metric(server, "batch_images_bucket", le="16.0") == metric(server, "batch_images_count")


@pytest.mark.parametrize("trickle", [b"", b"X-Header: 1\r\n"])
def test_headers_that_trickle_are_answered_with_408(server: Server, trickle: bytes) -> None:
    before = metric(server, "errors_total", reason="slow")
    with connected(server) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
        client.settimeout(0.1)
        answer = b""
        deadline = time.monotonic() + 60
        while not answer and time.monotonic() < deadline:
            with contextlib.suppress(socket.timeout):
                client.sendall(trickle)
                answer = client.recv(1000, socket.MSG_PEEK)
        client.settimeout(600)
        status, headers, content = read_answer(client)
        assert status == 408
        assert headers["connection"] == "close"
        assert content == {"error": "the request's headers were not complete after 0.5 seconds"}
        assert closed(client)
    wait_for(server, before + 1, "errors_total", reason="slow")


def test_headers_that_trickle_in_a_second_request_are_not_waited_for_either(server: Server) -> None:
    with connected(server) as client:
        client.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_answer(client)[0] == 200
        client.sendall(b"GET /health HTTP/1.1\r\n")
        assert read_answer(client)[0] == 408
        assert closed(client)


def test_a_connection_without_a_request_is_closed_without_a_word(server: Server) -> None:
    with connected(server) as client:
        assert client.recv(100) == b""


@pytest.mark.parametrize(
    "beginning", [b"Content-Length: 1000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n"]
)
def test_a_body_that_trickles_is_answered_with_408(server: Server, beginning: bytes) -> None:
    with connected(server) as client:
        client.sendall(HEAD + beginning)
        status, headers, content = read_answer(client)
        assert (status, headers["connection"]) == (408, "close")
        assert content == {"error": "the body was not complete after 0.5 seconds"}
        assert closed(client)


@pytest.mark.parametrize(
    "header", [b"Content-Length: 1000001\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n"]
)
def test_a_client_that_still_sends_hears_that_its_body_is_too_large(server: Server, header: bytes) -> None:
    with connected(server) as client:
        if b"Connection" in header:
            header += b"Content-Length: 3000000\r\n"
        client.sendall(HEAD + header + b"\r\n")
        chunked = b"chunked" in header
        piece = b"x" * 100_000
        with contextlib.suppress(ConnectionError):
            for _ in range(30):
                client.sendall(b"186a0\r\n" + piece + b"\r\n" if chunked else piece)
        assert read_answer(client)[0] == 413
        assert closed(client)


def test_a_body_of_any_length_is_not_read_to_its_end(server: Server) -> None:
    with connected(server) as client:
        client.sendall(HEAD + b"Content-Length: 1000000000000\r\n\r\n")
        assert read_answer(client)[0] == 413
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < 1 << 30:
                sent += client.send(b"x" * 1_000_000)
        assert sent < 1 << 30


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"hello\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 9 + b"\r\n\r\n", 400),  # TLS
        (b"GET / HTTP/1.1\r\n\r\n", 400),  # no Host
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 1_000_000 + b"\r\n\r\n", 431),
        (HEAD + b"Content-Length: 3x\r\n\r\n", 400),
        (HEAD + b"Content-Length: -3\r\n\r\n", 400),
        (HEAD + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\n", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (HEAD + b"Transfer-Encoding: zip\r\n\r\n", 501),
    ],
    ids=["words", "tls", "no-host", "long", "length-3x", "length-3", "lengths", "chunk", "encoding"],
)
def test_what_is_not_http_is_answered_in_json(server: Server, request_bytes: bytes, status: int) -> None:
    with connected(server) as client:
        with contextlib.suppress(ConnectionError):
            client.sendall(request_bytes)
        found, headers, content = read_answer(client)
        assert (found, headers["content-type"], headers["connection"]) == (
            status,
            "application/json",
            "close",
        )
        assert content["error"].startswith("Invalid HTTP request received")
        assert closed(client)


def test_requests_that_were_sent_together_are_answered_one_after_the_other(server: Server) -> None:
    images = [shade(k) for k in range(5)]
    with connected(server) as client:
        client.sendall(
            b"".join(HEAD + b"Content-Length: %d\r\n\r\n" % len(image) + image for image in images)
        )
        stream = client.makefile("rb")
        for k in range(5):
            headers = b"".join(iter(stream.readline, b"\r\n"))
            assert b" 200 OK" in headers
            length = int(headers.lower().partition(b"content-length: ")[2].split()[0])
            content = json.loads(stream.read(length))
            assert content["predictions"][0]["classes"][0]["label"] == k


def test_a_client_that_asks_before_it_sends_is_told_to_go_on_or_not(server: Server) -> None:
    image = shade(8)
    expecting = HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n"
    with connected(server) as client:
        client.sendall(expecting % len(image))
        assert client.recv(1000).startswith(b"HTTP/1.1 100 ")
        client.sendall(image)
        assert read_answer(client)[0] == 200
        client.sendall(expecting % 1_000_001)
        assert read_answer(client)[0] == 413
        assert closed(client)


def test_too_many_connections_get_503_and_those_that_are_there_are_served() -> None:
    with fake_server("connections=3") as server, contextlib.ExitStack() as stack:
        first, *_ = [stack.enter_context(connected(server)) for _ in range(3)]
        for _ in range(5):
            status, headers, content = read_answer(stack.enter_context(connected(server)))
            assert (status, headers["retry-after"]) == (503, "1")
            assert content == {"error": "there are too many connections"}
        first.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_answer(first)[0] == 200


def test_a_client_that_does_not_read_its_answer_is_cut_off() -> None:
    with fake_server("timeout=0.5") as server:
        with connected(server) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.settimeout(1)
            request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
            with contextlib.suppress(OSError):
                for _ in range(200):
                    client.sendall(request * 100)
            wait_for(server, 1, "errors_total", reason="slow")


def test_the_work_of_clients_that_go_away_is_dropped(tmp_path: pathlib.Path) -> None:
    gate, image = tmp_path / "gate", shade(4)
    with fake_server("--gate", str(gate)) as server, concurrent.futures.ThreadPoolExecutor(1) as pool:
        first = pool.submit(httpx.post, f"{server.url}/predict", timeout=600, **form(shade(1)))
        wait_for(server, 1, "waiting_images")
        with contextlib.ExitStack() as stack:
            for _ in range(5):
                client = stack.enter_context(connected(server))
                client.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(image) + image)
            wait_for(server, 6, "waiting_images")
        wait_for(server, 1, "waiting_images")
        wait_for(server, 5, "errors_total", reason="gone")
        gate.touch()
        assert labels(first.result(60)) == [1]
        assert labels(httpx.post(f"{server.url}/predict", timeout=600, **form(shade(3)))) == [3]
        assert metric(server, "batch_images_sum") == 2


def test_a_full_queue_is_told_without_reading_the_body(tmp_path: pathlib.Path) -> None:
    gate = str(tmp_path / "gate")
    with fake_server("--gate", gate, "images=2") as server, concurrent.futures.ThreadPoolExecutor(1) as pool:
        first = pool.submit(httpx.post, f"{server.url}/predict", timeout=600, **form(shade(1), shade(2)))
        wait_for(server, 2, "waiting_images")
        with connected(server) as client:
            client.sendall(HEAD + b"Content-Length: 1000\r\n\r\n")
            status, headers, content = read_answer(client)
            assert (status, headers["retry-after"]) == (503, "1")
            assert content == {"error": "2 images are waiting, of at most 2"}
        pathlib.Path(gate).touch()
        assert labels(first.result(60)) == [1, 2]
        answer = httpx.post(f"{server.url}/predict", timeout=600, **form(*[shade(1)] * 3))
        assert answer.status_code == 413  # which no later moment would change


def test_bodies_share_a_limit_of_memory() -> None:
    with fake_server("bodies=150000", "body=100000") as server:
        with connected(server) as client:
            client.sendall(HEAD + b"Content-Length: 100000\r\n\r\n" + b"x" * 99_999)
            wait_for(server, 0, "errors_total", reason="busy")
            other, status = {"content": b"y" * 99_999, "headers": {"Content-Type": "image/png"}}, 422
            deadline = time.monotonic() + 60
            while status == 422 and time.monotonic() < deadline:  # until all of the first one has come
                status = httpx.post(f"{server.url}/predict", **other).status_code
            assert status == 503
            client.sendall(b"x")
            assert read_answer(client)[0] == 422
        assert httpx.post(f"{server.url}/predict", **form(shade(3))).status_code == 200
