"""What a stranger can write on a connection: everything is answered once, and the connection is closed where it is not
clear what comes next."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.support.serve_clients import HEAD, closed, connected, metric, read_answer, shade, wait_for
from tests.support.served import Server, fake_server

GET = b"GET /health HTTP/1.1\r\nHost: x\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with fake_server("timeout=2", "body=10000000") as server:
        yield server


def send(client: socket.socket, data: bytes) -> None:
    with contextlib.suppress(ConnectionError):
        client.sendall(data)


def statuses(client: socket.socket) -> list[int]:
    """Of all answers, to the end of the connection."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while data := client.recv(65536):
            received += data
    return [int(part[:3]) for part in received.split(b"HTTP/1.1 ")[1:]]


REFUSED = {
    "length and chunks": (HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "chunks and length": (HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", 400),
    "the same length twice": (HEAD + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400),
    "two lengths": (HEAD + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
    "two lengths in one": (HEAD + b"Content-Length: 3, 3\r\n\r\nabc", 400),
    "+3": (HEAD + b"Content-Length: +3\r\n\r\nabc", 400),
    "0x3": (HEAD + b"Content-Length: 0x3\r\n\r\nabc", 400),
    "other digits": (HEAD + "Content-Length: ٣\r\n\r\nabc".encode(), 400),
    "an empty length": (HEAD + b"Content-Length: \r\n\r\nabc", 400),
    "a length beyond 2^64": (HEAD + b"Content-Length: 99999999999999999999\r\n\r\nabc", 400),
    "chunked twice": (HEAD + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400),
    "two codings": (HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    "nearly chunked": (HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501),
    "a vertical tab": (HEAD + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n", 400),
    "chunks of HTTP/1.0": (CHUNKED.replace(b"1.1", b"1.0") + b"0\r\n\r\n", 400),
    "a folded header": (GET + b"X: a\r\n b\r\n\r\n", 400),
    "a header that begins with a space": (GET + b" X: a\r\n\r\n", 400),
    "a space before the colon": (GET + b"Content-Length : 3\r\n\r\nabc", 400),
    "no colon": (GET + b"Content-Length\r\n\r\n", 400),
    "no name": (GET + b": x\r\n\r\n", 400),
    "a name outside ASCII": (GET + b"X\xff: a\r\n\r\n", 400),
    "NUL": (GET + b"X: a\x00b\r\n\r\n", 400),
    "a lone carriage return": (GET + b"X: a\rY: b\r\n\r\n", 400),
    "lines that end with LF": (b"GET /health HTTP/1.1\nHost: x\n\n", 400),
    "one line that ends with LF": (GET + b"X: a\nY: b\r\n\r\n", 400),
    "two hosts": (GET + b"Host: x\r\n\r\n", 400),
    "no host": (b"GET /health HTTP/1.1\r\n\r\n", 400),
    "HTTP/0.9": (b"GET /health\r\n\r\n", 505),
    "HTTP/0.9 with a request behind it": (b"GET /health\r\n" + GET + b"\r\n", 400),
    "HTTP/2.0": (b"GET /health HTTP/2.0\r\nHost: x\r\n\r\n", 505),
    "HTTP/1.2": (b"GET /health HTTP/1.2\r\nHost: x\r\n\r\n", 400),
    "HTTP/2 without a question": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "a method in lower case": (b"get /health HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a tunnel": (b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n", 400),
    "a URL that is no path": (b"GET health HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a URL outside ASCII": (b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 9, 400),
    "another expectation": (HEAD + b"Expect: tea\r\nContent-Length: 3\r\n\r\n", 417),
    "a long URL": (b"GET /" + b"x" * 10_000, 414),
    "a long header": (GET + b"X: " + b"y" * 9_000 + b"\r\n\r\n", 431),
    "a long name": (GET + b"x" * 9_000 + b": y\r\n\r\n", 431),
    "long headers": (GET + b"".join(b"X: %b\r\n" % (b"y" * 1000) for _ in range(17)), 431),
    "many headers": (GET + b"X: y\r\n" * 101 + b"\r\n", 431),
    "empty lines without end": (b"\r\n" * 10_000, 431),
    "a size that is no number": (CHUNKED + b"zz\r\n", 400),
    "a size below 0": (CHUNKED + b"-3\r\nabc\r\n", 400),
    "a size in Python's way": (CHUNKED + b"0x3\r\nabc\r\n", 400),
    "a size beyond 2^64": (CHUNKED + b"1" + b"0" * 16 + b"\r\n", 400),
    "a space before a size": (CHUNKED + b" 3\r\nabc\r\n", 400),
    "a size that ends with LF": (CHUNKED + b"3\nabc\r\n", 400),
    "a chunk that is longer than its size": (CHUNKED + b"3\r\nabcd\r\n", 400),
    "an extension without end": (CHUNKED + b"3;" + b"x" * 20_000, 400),
    "a long extension of each chunk": (CHUNKED + (b"3;" + b"x" * 100 + b"\r\nabc\r\n") * 100, 400),
    "trailers without end": (CHUNKED + b"0\r\n" + b"X: y\r\n" * 2_000, 400),
    "a trailer without end": (CHUNKED + b"0\r\nX: " + b"y" * 20_000, 400),
    "a trailer that is none": (CHUNKED + b"0\r\nX : y\r\n\r\n", 400),
    "chunks of one byte": (CHUNKED + b"1\r\na\r\n" * 10_000, 400),
}


@pytest.mark.parametrize(("data", "status"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("step", [0, 1], ids=["at once", "byte by byte"])
def test_what_is_no_good_request_is_answered_once_and_the_connection_closed(
    server: Server, data: bytes, status: int, step: int
) -> None:
    before = metric(server, "errors_total", reason="malformed")
    with connected(server) as client:
        if not step or len(data) > 1000:  # which is as slow as it is long
            send(client, data)
        else:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
            for i in range(len(data)):
                send(client, data[i : i + 1])
        send(client, GET + b"\r\n")  # another request, which must not be seen
        assert statuses(client) == [status]
    wait_for(server, before + 1, "errors_total", reason="malformed")


def test_a_refusal_says_in_json_what_is_wrong(server: Server) -> None:
    with connected(server) as client:
        send(client, CHUNKED + b"1\r\na\r\n" * 10_000)
        status, headers, content = read_answer(client)
        assert (status, headers["connection"], headers["content-type"]) == (400, "close", "application/json")
        assert "chunks are too small" in content["error"]


GOOD = {
    "an empty line before it": (b"\r\n" + GET + b"\r\n", [200]),
    "a URL with a host": (b"GET http://x/health HTTP/1.1\r\nHost: x\r\n\r\n", [200]),
    "a URL for the server": (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", [404]),
    "an escaped path": (b"GET /%68ealth?x=%00 HTTP/1.1\r\nHost: x\r\n\r\n", [200]),
    "HTTP/1.0": (b"GET /health HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n", [200]),
    "HEAD": (b"HEAD /health HTTP/1.1\r\nHost: x\r\n\r\n" + GET + b"\r\n", [200, 200]),
    "an upgrade that is not taken up": (GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n", [200]),
    "the last of a connection": (GET + b"Connection: close\r\n\r\n" + GET + b"\r\n", [200]),
    "a hundred headers": (GET + b"X: y\r\n" * 99 + b"\r\n", [200]),
    "two after each other": (GET + b"\r\n" + GET + b"\r\n", [200, 200]),
}


@pytest.mark.parametrize(("data", "expected"), GOOD.values(), ids=GOOD)
@pytest.mark.parametrize("step", [0, 1], ids=["at once", "byte by byte"])
def test_a_good_request_is_answered_also_to_a_client_that_says_that_it_has_sent_all(
    server: Server, data: bytes, expected: list[int], step: int
) -> None:
    with connected(server) as client:
        for i in range(0, len(data), step or len(data)):
            send(client, data[i : i + (step or len(data))])
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_WR)
        assert statuses(client) == expected


def chunks(data: bytes, size: int, extension: bytes = b"") -> bytes:
    pieces = (data[i : i + size] for i in range(0, len(data), size))
    framed = (b"%x%b\r\n%b\r\n" % (len(piece), extension, piece) for piece in pieces)
    return b"".join(framed) + b"0\r\n\r\n"


def label(client: socket.socket) -> int:
    status, _, content = read_answer(client)
    assert status == 200
    return content["predictions"][0]["classes"][0]["label"]


@pytest.mark.parametrize("size", [1, 7, 64, 1000, 1 << 20])
@pytest.mark.parametrize("extension", [b"", b";a=b"])
def test_a_body_in_chunks_is_put_together(server: Server, size: int, extension: bytes) -> None:
    image = shade(7)
    assert len(image) < 1000
    with connected(server) as client:
        for _ in range(2):
            send(client, CHUNKED + chunks(image, size, extension))
            assert label(client) == 7
        send(client, CHUNKED + chunks(image, size)[:-2] + b"X: trailer\r\n\r\n")
        assert label(client) == 7


def test_a_long_body_in_chunks_of_64_bytes_is_taken(server: Server) -> None:
    image = shade(5) + bytes(1 << 20)  # what is behind an image is not looked at
    with connected(server) as client:
        threading.Thread(target=send, args=(client, CHUNKED + chunks(image, 64))).start()
        assert label(client) == 5


def test_a_request_behind_one_in_chunks_is_answered_or_the_connection_closed(server: Server) -> None:
    with connected(server) as client:
        send(client, CHUNKED + chunks(shade(7), 64) + GET + b"\r\n")
        status, headers, _ = read_answer(client)
        assert (status, headers["connection"]) == (200, "close")  # so a client knows that it has to ask again
        assert closed(client)


@pytest.mark.parametrize("beginning", [GET, HEAD + b"Content-Length: 1000\r\n\r\nabc"], ids=["head", "body"])
def test_half_a_request_of_a_client_that_says_it_has_sent_all_ends_the_connection(
    server: Server, beginning: bytes
) -> None:
    with connected(server) as client:
        send(client, beginning)
        client.shutdown(socket.SHUT_WR)
        assert statuses(client) == ([400] if beginning == GET else [])


def test_clients_of_small_pieces_keep_nobody_waiting(server: Server) -> None:
    """Counted in answers: while eight send as fast as they can, good clients are answered."""
    stop = threading.Event()
    sent = [0]

    def attack() -> None:
        while not stop.is_set():
            with connected(server) as client, contextlib.suppress(OSError):
                client.sendall(CHUNKED)
                for _ in range(1000):
                    client.sendall(b"1\r\na\r\n" * 4000)
                    sent[0] += 4000

    attackers = [threading.Thread(target=attack) for _ in range(8)]
    for attacker in attackers:
        attacker.start()
    try:
        image = shade(3)
        refused = metric(server, "errors_total", reason="malformed")
        deadline = time.monotonic() + 60
        while (
            metric(server, "errors_total", reason="malformed") < refused + 24 and time.monotonic() < deadline
        ):
            with connected(server) as client:
                send(client, HEAD + b"Content-Length: %d\r\n\r\n" % len(image) + image)
                assert label(client) == 3
    finally:
        stop.set()
        for attacker in attackers:
            attacker.join()
    assert metric(server, "errors_total", reason="malformed") >= refused + 24
    assert metric(server, "errors_total", reason="slow") == 0


def test_a_proxy_on_this_machine_is_believed_for_whom_it_asks() -> None:
    with fake_server() as server:
        with connected(server) as client:
            send(client, GET.replace(b"/health", b"/nothing") + b"X-Forwarded-For: 203.0.113.9\r\n\r\n")
            assert read_answer(client)[0] == 404
            send(client, GET.replace(b"/health", b"/nothing") + b"\r\n")
            assert read_answer(client)[0] == 404
        _, said = server.stop()
        clients = [line.split()[3] for line in said.splitlines()]
        assert clients == ["203.0.113.9", "127.0.0.1"]
