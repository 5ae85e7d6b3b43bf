"""Clients of all bad kinds, at once, for some seconds: python tests/support/hostile_clients.py PORT SECONDS KIND...

It prints how often each kind began, as JSON. They come from an address of their own, 127.0.0.66.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from typing import Callable

ADDRESS = "127.0.0.66"
PAUSE = 0.02  # seconds between two of a kind: they are many, and the machine is also the server's
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset

Connect = Callable[[], contextlib.AbstractContextManager[socket.socket]]


def head(kind: str, *lines: str, host: str = "localhost") -> bytes:
    return "\r\n".join(
        ["POST /predict HTTP/1.1", f"Host: {host}", f"Content-Type: {kind}", *lines, "", ""]
    ).encode("latin-1")


def whole(kind: str, body: bytes, *lines: str, host: str = "localhost") -> bytes:
    return head(kind, f"Content-Length: {len(body)}", "Connection: close", *lines, host=host) + body


def ask(connect: Connect, request: bytes) -> None:
    with connect() as client:
        client.sendall(request)
        while client.recv(65536):
            pass


def one_bit(side: int) -> bytes:
    """A black PNG, a few kB for many millions of pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes((side + 7) // 8 + 1) * side, 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def form(images: list[bytes]) -> bytes:
    part = b'--B\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\n%b\r\n'
    return b"".join(part % image for image in images) + b"--B--\r\n"


FORM = "multipart/form-data; boundary=B"
BOMB = one_bit(7000)


def content_type(connect: Connect) -> None:
    """The standard library's parser takes half a minute for it."""
    ask(connect, whole('multipart/form-data; boundary="' + ";" * 60_000, b"x"))


def tiny_chunks(connect: Connect) -> None:
    with connect() as client:
        client.sendall(head("image/png", "Transfer-Encoding: chunked"))
        end = time.monotonic() + 1
        while time.monotonic() < end:
            client.sendall(b"1\r\na\r\n" * 4000)


def aborted_bodies(connect: Connect) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(8):
            client = stack.enter_context(connect())
            client.sendall(head("image/png", "Content-Length: 4000000") + bytes(3_999_999))
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


def pixel_bombs(connect: Connect) -> None:
    """12 billion pixels, which are too many, and as many as are taken."""
    for count in (250, 4):
        ask(connect, whole(FORM, form([BOMB] * count)))


def full_queue(connect: Connect) -> None:
    ask(connect, whole(FORM, form([one_bit(100)] * 256)))


def odd_hosts(connect: Connect) -> None:
    for host in ("[", "evil.example", "", "a b", "\x00", "x" * 5000, "[::1]:99999999999"):
        ask(connect, whole("image/png", b"x", host=host).replace(b"/predict", b"/nothing"))


def odd_forms(connect: Connect) -> None:
    for kind in (
        "boundary*=idna''%FF",
        "boundary*=undefined''a",
        f"boundary*{'9' * 900}*=x",
        'boundary="\0"',
    ):
        ask(connect, whole(f"multipart/form-data; {kind}", form([b"x"])))
    for name in (b"*=idna''%FF", b"*=undefined''a", b"*=punycode''%FF", b"*" + b"9" * 5000 + b"*=a"):
        ask(connect, whole(FORM, form([b"x"]).replace(b'="a"\r\n\r\n', name + b"\r\n\r\n")))


def odd_json(connect: Connect) -> None:
    for body in (
        b"[" * 2000,
        b"9" * 400_000,
        b'{"instances": [NaN]}',
        b'{"instances": ["\\ud800"]}',
        b"\xff",
    ):
        ask(connect, whole("application/json", body))


def foreign_pages(connect: Connect) -> None:
    ask(connect, whole("image/png", b"x", "Origin: https://evil.example", "Sec-Fetch-Site: cross-site"))
    ask(connect, whole("image/png", b"x", "Origin: null"))


def two_lengths(connect: Connect) -> None:
    lines = ("Transfer-Encoding: chunked", "Content-Length: 6")
    ask(connect, head("image/png", *lines, "Connection: close") + b"0\r\n\r\nX")


def slow_headers(connect: Connect) -> None:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect()) for _ in range(20)]
        for letter in b"GET / HTTP/1.1\r\nX":
            for client in clients:
                client.sendall(bytes([letter]))
            time.sleep(0.05)


def half_closed(connect: Connect) -> None:
    with connect() as client:
        client.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        client.shutdown(socket.SHUT_WR)
        while client.recv(65536):
            pass


def unread_answers(connect: Connect) -> None:
    with connect() as client:
        client.settimeout(0.5)
        with contextlib.suppress(socket.timeout):
            for _ in range(100):
                client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100)


def no_http(connect: Connect) -> None:
    ask(connect, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 9 + b"\r\n\r\n")


KINDS: dict[str, Callable[[Connect], None]] = {
    function.__name__: function
    for function in (
        *(content_type, tiny_chunks, aborted_bodies, pixel_bombs, full_queue, odd_hosts, odd_forms, odd_json),
        *(foreign_pages, two_lengths, slow_headers, half_closed, unread_answers, no_http),
    )
}


def main() -> None:
    port, seconds, *kinds = sys.argv[1:]
    end = time.monotonic() + float(seconds)
    counts = dict.fromkeys(kinds, 0)

    @contextlib.contextmanager
    def connect() -> Iterator[socket.socket]:
        with socket.create_connection(("127.0.0.1", int(port)), 10, (ADDRESS, 0)) as client:
            yield client

    def repeat(kind: str) -> None:
        while time.monotonic() < end:
            counts[kind] += 1
            with contextlib.suppress(OSError):  # what was refused is cut off, too
                KINDS[kind](connect)
            time.sleep(PAUSE)

    threads = [threading.Thread(target=repeat, args=[kind], daemon=True) for kind in kinds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, end + 2 - time.monotonic()))
    print(json.dumps(counts))


if __name__ == "__main__":
    main()
