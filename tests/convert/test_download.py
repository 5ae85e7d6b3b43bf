"""Downloads: whole and right under their name, or nothing there and one sentence; from a server that misbehaves."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import pathlib
import time
from collections.abc import Iterator

import numpy as np
import pytest

from gluon_resnet.convert.download import download, require_right
from gluon_resnet.errors import EnvironmentProblem, ModelError
from tests.support.weights_server import FileServer, Handler, serving

DATA = np.random.default_rng(0).bytes(300_000)
DIGEST = hashlib.sha256(DATA).hexdigest()[:8]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serving(DATA) as running:
        yield running


def bring(server: FileServer, path: pathlib.Path, longest: int = len(DATA), patience: float = 60) -> None:
    download(f"{server.address}file.pth", str(path), DIGEST, longest, patience)


def refusal(server: FileServer, folder: pathlib.Path, longest: int = len(DATA), patience: float = 60) -> str:
    """Why nothing was downloaded, and nothing is left."""
    with pytest.raises(EnvironmentProblem) as caught:
        bring(server, folder / "file.pth", longest, patience)
    assert os.listdir(folder) == ["file.pth.lock"]
    assert str(caught.value).startswith(f"{server.address}file.pth")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_file_is_brought_once_into_a_new_folder(server: FileServer, tmp_path: pathlib.Path) -> None:
    path, told = tmp_path / "new" / "folder" / "file.pth", []
    download(f"{server.address}file.pth", str(path), DIGEST, len(DATA), tell=told.append)
    assert path.read_bytes() == DATA
    assert told == [f"downloading {server.address}file.pth to {path}"]
    bring(server, path)
    assert server.requests == [("/file.pth", "")]
    assert require_right(str(path), DIGEST, len(DATA)) == hashlib.sha256(DATA).hexdigest()


def test_a_connection_that_is_cut_off_is_taken_up_where_it_ended(
    server: FileServer, tmp_path: pathlib.Path
) -> None:
    rest = [100_000, 50_000, None]
    server.answer = lambda handler, outer: outer.whole(handler, first=rest.pop(0))
    bring(server, tmp_path / "file.pth")
    assert (tmp_path / "file.pth").read_bytes() == DATA
    assert [where for _, where in server.requests] == ["", "bytes=100000-", "bytes=150000-"]


def test_a_server_without_ranges_sends_all_again(server: FileServer, tmp_path: pathlib.Path) -> None:
    first = [100_000, None]

    def answer(handler: Handler, outer: FileServer) -> None:
        del handler.headers["Range"]
        outer.whole(handler, first=first.pop(0))

    server.answer = answer
    bring(server, tmp_path / "file.pth")
    assert (tmp_path / "file.pth").read_bytes() == DATA


def test_a_server_that_always_cuts_off_is_given_up(server: FileServer, tmp_path: pathlib.Path) -> None:
    server.answer = lambda handler, outer: outer.whole(handler, first=1000)
    assert "the connection ended after 8000 of 300000 bytes" in refusal(server, tmp_path)
    server.answer = lambda handler, outer: outer.whole(handler, first=0)
    assert "the connection ended after 0 of 300000 bytes" in refusal(server, tmp_path)


@pytest.mark.parametrize(
    ("announced", "message"),
    [
        (10**15, f"expected at most {len(DATA)} bytes, got {10**15} announced"),
        (10, "begins with 0{0}, got 10 bytes with"),
        (len(DATA) - 1, "got 299999 bytes with"),
    ],
)
def test_a_length_that_is_a_lie_is_noticed(
    server: FileServer, tmp_path: pathlib.Path, announced: int, message: str
) -> None:
    server.answer = lambda handler, outer: outer.whole(handler, length=announced)
    assert message.replace("0{0}", DIGEST) in refusal(server, tmp_path)


def test_more_than_the_file_can_have_is_not_stored(server: FileServer, tmp_path: pathlib.Path) -> None:
    def endless(handler: Handler, outer: FileServer) -> None:
        handler.send_response(200)
        handler.end_headers()
        while not outer.gate.is_set():
            handler.wfile.write(bytes(100_000))

    server.answer = endless
    assert f"expected at most {len(DATA)} bytes, got 3" in refusal(server, tmp_path)


def test_another_file_is_refused(server: FileServer, tmp_path: pathlib.Path) -> None:
    server.data = DATA[:-1] + b"x"
    found = hashlib.sha256(server.data).hexdigest()[:8]
    message = refusal(server, tmp_path)
    assert f"expected a file whose SHA-256 begins with {DIGEST}, got 300000 bytes with {found}" in message
    (tmp_path / "file.pth").write_bytes(server.data)
    with pytest.raises(ModelError, match=f"begins with {DIGEST}, found one with {found}: remove it"):
        require_right(str(tmp_path / "file.pth"), DIGEST, len(DATA))
    with pytest.raises(ModelError, match="found one of 300000 bytes"):
        require_right(str(tmp_path / "file.pth"), DIGEST, len(DATA) - 1)


def test_a_server_that_is_silent_or_too_slow_is_given_up(server: FileServer, tmp_path: pathlib.Path) -> None:
    server.answer = lambda handler, outer: outer.gate.wait(600)
    assert "nothing was received for 0.2 s" in refusal(server, tmp_path, patience=0.2)

    def drip(handler: Handler, outer: FileServer) -> None:
        handler.send_response(200)
        handler.end_headers()
        while not outer.gate.wait(0.01):
            handler.wfile.write(b"x")

    server.answer = drip
    message = refusal(server, tmp_path, patience=0.2)
    assert "cannot be downloaded: only" in message
    assert "bytes came in 0.2 s" in message


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"HTTP/1.0 404 \x1b[31mGone\r\n\r\n", "the server answered 404 Not Found"),
        (b"HTTP/1.0 599 Odd\r\n\r\n", "the server answered 599"),
        (b"\x1b[31mhello\r\n\r\n", "the answer is not one of HTTP"),
        (b"", "closed|reset|not one of HTTP"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "not one of HTTP"),
        (b"HTTP/1.0 302 \r\nLocation: file:///etc/passwd\r\n\r\n", "the server answered 302 Found"),
    ],
    ids=["missing", "unknown", "no HTTP", "nothing", "bad chunk", "to a file"],
)
def test_answers_that_are_no_file_are_told_in_our_words(
    server: FileServer, tmp_path: pathlib.Path, answer: bytes, message: str
) -> None:
    server.answer = lambda handler, _: handler.wfile.write(answer)
    with pytest.raises(EnvironmentProblem, match=message) as caught:
        bring(server, tmp_path / "file.pth")
    assert str(caught.value).isprintable()
    assert os.listdir(tmp_path) == ["file.pth.lock"]


def test_without_a_network_the_sentence_says_so(tmp_path: pathlib.Path) -> None:
    with serving(b"") as server:
        pass
    assert "Connection refused" in refusal(server, tmp_path)


def test_proxies_are_those_of_the_environment(
    server: FileServer, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", server.address)
    monkeypatch.delenv("no_proxy", raising=False)
    download("http://weights.invalid/file.pth", str(tmp_path / "file.pth"), DIGEST, len(DATA))
    assert server.requests[0][0] == "http://weights.invalid/file.pth"


def test_two_processes_download_once(server: FileServer, tmp_path: pathlib.Path) -> None:
    def slow(handler: Handler, outer: FileServer) -> None:
        outer.gate.wait(600)
        outer.whole(handler)

    server.answer = slow
    context = multiprocessing.get_context("fork")
    path = tmp_path / "file.pth"
    (tmp_path / ".file.pth.k1ll3d_x.tmp").write_bytes(b"left by a killed process")
    told = context.Queue()

    def process_bring() -> None:
        download(f"{server.address}file.pth", str(path), DIGEST, len(DATA), tell=told.put)

    processes = [context.Process(target=process_bring) for _ in range(3)]
    for process in processes:
        process.start()
    sentences = sorted(told.get(timeout=600) for _ in processes)
    assert sentences[0] == f"downloading {server.address}file.pth to {path}"
    assert sentences[1:] == [f"waiting for another process that is downloading {path}"] * 2
    server.gate.set()
    for process in processes:
        process.join(600)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert len(server.requests) == 1
    assert path.read_bytes() == DATA
    assert sorted(os.listdir(tmp_path)) == ["file.pth", "file.pth.lock"]


def test_a_killed_download_leaves_nothing_under_the_name(server: FileServer, tmp_path: pathlib.Path) -> None:
    def half(handler: Handler, outer: FileServer) -> None:
        outer.whole(handler, first=100_000)
        outer.gate.wait(600)

    server.answer = half
    path = tmp_path / "file.pth"
    process = multiprocessing.get_context("fork").Process(target=bring, args=(server, path))
    process.start()
    while not any(os.path.getsize(tmp_path / name) for name in os.listdir(tmp_path)):
        time.sleep(0.01)
    process.kill()
    process.join(600)
    assert not path.exists()
    server.gate.set()
    server.answer = lambda handler, outer: outer.whole(handler)
    bring(server, path)
    assert sorted(os.listdir(tmp_path)) == ["file.pth", "file.pth.lock"]
    assert path.read_bytes() == DATA
