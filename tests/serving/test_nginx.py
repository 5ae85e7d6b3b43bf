"""The nginx configuration that is shipped, in a real nginx in front of a real server."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.support.paths import ROOT
from tests.support.serve_clients import labels, read_answer, shade
from tests.support.served import Server, fake_server

pytestmark = pytest.mark.skipif(
    shutil.which("nginx") is None, reason="needs nginx: apt-get install nginx-light"
)

PNG = {"Content-Type": "image/png"}
MAIN = """
{user}
daemon off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/gluon-resnet.conf;
}}
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with fake_server() as server:
        yield server


@pytest.fixture(scope="module")
def port(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """nginx's, in front of the server."""
    folder = tmp_path_factory.mktemp("nginx")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    content = (ROOT / "examples" / "nginx" / "gluon-resnet.conf").read_text()
    for shipped, here in (
        ("server 127.0.0.1:8080;", f"server 127.0.0.1:{server.address[1]};"),
        ("listen 80; ", f"listen 127.0.0.1:{port}; "),
        ("server_name models.example.org;", "server_name localhost;"),
    ):
        assert content.count(shipped) == 1
        content = content.replace(shipped, here)
    (folder / "gluon-resnet.conf").write_text(content)
    user = "user root;" if os.getuid() == 0 else ""  # the folder of a test is its user's alone
    (folder / "nginx.conf").write_text(MAIN.format(folder=folder, user=user))
    process = subprocess.Popen(["nginx", "-p", folder, "-c", folder / "nginx.conf"], stderr=subprocess.PIPE)
    try:
        wait_until_open(port, process, folder)
        yield port
    finally:
        process.terminate()
        process.communicate()


def wait_until_open(port: int, process: subprocess.Popen, folder: pathlib.Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return
        assert process.poll() is None, (process.communicate(), (folder / "error.log").read_text())
        assert time.monotonic() < deadline
        time.sleep(0.05)


def answered(port: int, data: bytes) -> int:
    """The status of what a client sends."""
    with socket.create_connection(("127.0.0.1", port), timeout=600) as client:
        with contextlib.suppress(ConnectionError):
            client.sendall(data)
        return int(client.makefile("rb").readline().split()[1])


def post(headers: bytes, body: bytes = b"") -> bytes:
    return (
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n" + headers + b"\r\n" + body
    )


def test_an_image_is_named_through_it(port: int) -> None:
    answer = httpx.post(f"http://localhost:{port}/predict", content=shade(7), headers=PNG, timeout=600)
    assert (answer.status_code, labels(answer)) == (200, [7])


def test_a_body_in_pieces_of_one_byte_reaches_the_server_as_one(server: Server, port: int) -> None:
    image = shade(5) + bytes(50_000)
    body = b"".join(b"1\r\n%c\r\n" % byte for byte in image) + b"0\r\n\r\n"
    request = post(b"Transfer-Encoding: chunked\r\n", body)
    assert answered(server.address[1], request) == 400  # where nothing is in front of it
    with socket.create_connection(("127.0.0.1", port), timeout=600) as client:
        client.sendall(request)
        status, _, content = read_answer(client)
    assert (status, content["predictions"][0]["classes"][0]["label"]) == (200, 5)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (post(b"Content-Length: %d\r\n" % (17 << 20)), 413),
        (post(b"X: " + b"y" * 5000 + b"\r\n"), 400),
        (b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
        (post(b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"), 400),
        (b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", 403),
    ],
    ids=["body", "header", "url", "both-lengths", "metrics"],
)
def test_what_is_too_large_or_nobodys_business_does_not_reach_the_server(
    port: int, data: bytes, status: int
) -> None:
    assert answered(port, data) == status


def test_a_client_that_asks_too_often_is_told_so(port: int) -> None:
    statuses = [answered(port, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n") for _ in range(60)]
    deadline = time.monotonic() + 60
    while 429 not in statuses and time.monotonic() < deadline:  # a crowded machine asks slowly
        statuses.append(answered(port, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"))
    assert set(statuses) == {200, 429}


def test_a_client_has_so_many_connections_at_a_time(port: int) -> None:
    with contextlib.ExitStack() as stack:
        clients = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=600)) for _ in range(20)
        ]
        for client in clients:  # nginx counts a connection from its first request on, while it is answered
            client.sendall(post(b"Content-Length: 1000\r\n"))
        clients[-1].settimeout(60)
        refused = int(clients[-1].makefile("rb").readline().split()[1])
    assert refused == 429
