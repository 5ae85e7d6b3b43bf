"""The server's log: what strangers provoke is told in bounded lines, and what was left out is counted."""

from __future__ import annotations

import contextlib
import logging
import os
import pathlib
import re
import sys
import time
from collections.abc import Iterator

import httpx
import pytest
from starlette.testclient import TestClient

from gluon_resnet.serving import log as module
from gluon_resnet.serving.log import LINE_LENGTH, LINES, TRACEBACK_LENGTH, bounded_log, log
from tests.support.serve_clients import form, shade
from tests.support.served import FakeNetwork, fake_server, make_parts


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def strftime(self, _: str) -> str:
        return "TIME"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    with bounded_log():
        yield clock


def test_so_many_refusals_a_second_have_a_line_and_the_rest_is_counted(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(LINES + 312):
        log.warning("400 %d", number)
    clock.now += 1
    log.warning("400 last")
    lines = [f"TIME 400 {number}" for number in range(LINES)]
    lines += ["TIME … and 312 more refusals in that second", "TIME 400 last"]
    assert capsys.readouterr().err.splitlines() == lines


def test_what_was_left_out_is_told_when_nothing_comes_after_it(capsys: pytest.CaptureFixture[str]) -> None:
    with bounded_log():
        for _ in range(LINES + 7):
            log.warning("400")
    assert capsys.readouterr().err.endswith(" … and 7 more refusals in that second\n")


def test_a_flood_of_refusals_hides_no_failure(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(1000):
        log.warning("400")
    log.error("failed")
    logging.getLogger("asyncio").error("Fatal error:\nprotocol: %s", "x\x1b[2J" * 1000)
    err = capsys.readouterr().err
    assert "TIME failed\n" in err
    assert "TIME Fatal error: protocol: x\\u001b[2Jx" in err
    assert "\x1b" not in err
    assert max(map(len, err.splitlines())) == LINE_LENGTH + len("TIME ")


def test_a_traceback_is_shown_once_in_a_while_and_is_bounded(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(depth: int) -> None:
        if depth:
            fail(depth - 1)
        raise RuntimeError("foreign \x1b[2J " * 5000)

    def complain() -> str:
        try:
            fail(50)
        except RuntimeError:
            log.error("500 POST /predict", exc_info=True)
        return capsys.readouterr().err

    first = complain()
    assert re.match(r"TIME 500 POST /predict: RuntimeError at test_log.py:\d+: foreign \\u001b\[2J", first)
    assert TRACEBACK_LENGTH < len(first) < TRACEBACK_LENGTH + LINE_LENGTH + 100
    assert "\x1b" not in first
    clock.now += 1
    assert complain().count("\n") == 1
    clock.now += module.TRACEBACK_SECONDS
    assert complain().count("\n") > 1


def test_a_refused_request_is_a_line_with_its_client_and_its_reason(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "log"
    with fake_server(log=file) as server:
        for headers in ({}, {"X-Forwarded-For": "203.0.113.9"}, {"X-Forwarded-For": "no address, x" * 99}):
            answer = httpx.post(f"{server.url}/predict?top_k=%1b", headers=headers, **form(shade(1)))
            assert answer.status_code == 400
        assert httpx.get(f"{server.url}/%0A400 203.0.113.10 GET /").status_code == 404
        assert httpx.get(server.url, headers={"Host": "["}).status_code == 400
    reason = "top_k: expected a number of at least 1, with at most 20 digits, found '\\x1b'"
    assert [line[20:] for line in file.read_text().splitlines()] == [
        f"400 127.0.0.1 POST /predict: {reason}",
        f"400 203.0.113.9 POST /predict: {reason}",
        f"400 unknown POST /predict: {reason}",
        "404 127.0.0.1 GET /\\n400 203.0.113.10 GET /: Not Found",
        "400 127.0.0.1 GET /: Host: expected NAME or NAME:PORT, found '['",
    ]


def test_a_server_that_fails_all_the_time_fills_no_disk(capsys: pytest.CaptureFixture[str]) -> None:
    network = FakeNetwork()
    network.error = RuntimeError("out of memory")
    app, _, _ = make_parts(network)
    with bounded_log(), TestClient(app, raise_server_exceptions=False) as client:
        begin = time.monotonic()
        for _ in range(60):
            assert client.post("/predict", **form(shade(1))).status_code == 500
        seconds = int(time.monotonic() - begin) + 2
    err = capsys.readouterr().err
    assert err.count("Traceback") == 1
    assert (
        1
        <= len(re.findall(r" 500 unknown POST /predict: RuntimeError at .*: out of memory\n", err))
        <= LINES * seconds
    )
    assert len(err) < TRACEBACK_LENGTH + seconds * (LINES + 1) * (LINE_LENGTH + 21)


def test_requests_are_answered_where_nobody_reads_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    app, _, _ = make_parts(FakeNetwork())
    with open(writer, "w") as closed, bounded_log(), TestClient(app) as client:
        monkeypatch.setattr(sys, "stderr", closed)
        assert client.get("/nothing").status_code == 404
        assert client.get("/", headers={"Host": "["}).status_code == 400
        monkeypatch.undo()
        with contextlib.suppress(BrokenPipeError):
            closed.close()
