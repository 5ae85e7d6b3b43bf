"""A server that is asked to stop: what was begun is answered, and nothing else."""

from __future__ import annotations

import concurrent.futures
import contextlib
import pathlib
import signal
import socket
import time

import httpx
import pytest

from tests.support.serve_clients import HEAD, closed, connected, form, labels, read_answer, shade, wait_for
from tests.support.served import fake_server


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_answers_what_was_begun_and_takes_nothing_new(number: int, tmp_path: pathlib.Path) -> None:
    gate = tmp_path / "gate"
    with fake_server("--gate", str(gate)) as server, concurrent.futures.ThreadPoolExecutor(1) as pool:
        with connected(server) as idle, connected(server) as half:
            half.sendall(b"GET / HT")
            idle.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert read_answer(idle)[0] == 200
            begun = pool.submit(httpx.post, f"{server.url}/predict", timeout=600, **form(shade(1), shade(9)))
            wait_for(server, 2, "waiting_images")
            server.process.send_signal(number)
            assert closed(idle)
            assert closed(half)
            with pytest.raises(ConnectionError):
                socket.create_connection(server.address, timeout=600)
            gate.touch()
            answer = begun.result(60)
            assert labels(answer) == [1, 9]
            _, stderr = server.process.communicate(timeout=600)
            assert (server.process.returncode, stderr) == (0, "")


def test_a_stop_waits_no_longer_than_its_grace() -> None:
    with fake_server("--grace", "1", "timeout=1000") as server:
        with connected(server) as client:
            client.sendall(HEAD + b"Content-Length: 1000\r\n\r\n")
            wait_for(server, 2, "open_requests")  # with the one that asks for it
            status, stderr = server.stop()
            assert (status, stderr.count("\n")) == (0, 1)
            assert "graceful" in stderr
            status, _, content = read_answer(client)
            assert (status, content) == (503, {"error": "the server is stopping"})
            assert closed(client)


def test_a_second_interrupt_waits_for_no_client() -> None:
    with fake_server("--grace", "600", "timeout=1000") as server, connected(server) as client:
        client.sendall(HEAD + b"Content-Length: 1000\r\n\r\n")
        wait_for(server, 2, "open_requests")  # with the one that asks for it
        deadline = time.monotonic() + 60
        while server.process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(ProcessLookupError):
                server.process.send_signal(signal.SIGINT)
            time.sleep(0.5)
        assert server.process.returncode is not None
