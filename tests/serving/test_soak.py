"""Bad clients of all kinds beside good ones: what the good ones wait, and what it costs, beside a quiet run."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import pathlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import psutil
import pytest

from gluon_resnet.serving.log import LINE_LENGTH, LINES
from tests.support.hostile_clients import KINDS
from tests.support.paths import ROOT
from tests.support.serve_clients import metric, shade
from tests.support.served import Server, fake_server

BODIES = 100_000_000  # bytes of all bodies at a time
CLIENTS = 3
PACE = 0.03  # seconds between two requests of a good client


@dataclass(frozen=True)
class Run:
    """What a run of some seconds came to."""

    waits: list[float]  # seconds of each good request
    memory: int  # bytes, when all have gone
    most_memory: int
    files: int  # descriptors, when all have gone
    most_files: int
    log: bytes

    def __str__(self) -> str:
        waits = " ".join(f"{1000 * self.percentile(share):.1f}" for share in (0.5, 0.9, 0.99, 1))
        memory = f"{self.memory / 1e6:.0f} MB, at most {self.most_memory / 1e6:.0f}"
        files = f"{self.files} files, at most {self.most_files}"
        return f"{len(self.waits)} requests, ms {waits}; {memory}; {files}; {len(self.log)} bytes of log"

    def percentile(self, share: float) -> float:
        return sorted(self.waits)[min(len(self.waits) - 1, int(share * len(self.waits)))]


def ask(client: http.client.HTTPConnection, level: int) -> float:
    """Seconds until a good request is answered as it must be."""
    begin = time.monotonic()
    client.request("POST", "/predict", shade(level), {"Content-Type": "image/png"})
    answer = client.getresponse()
    content = json.loads(answer.read())
    assert (answer.status, content.get("error")) == (200, None)
    assert content["predictions"][0]["classes"][0]["label"] == level
    return time.monotonic() - begin


@contextlib.contextmanager
def watching(server: Server) -> Iterator[list[tuple[int, int]]]:
    """Memory and descriptors of the server, from time to time."""
    process, stop = psutil.Process(server.process.pid), threading.Event()
    seen = [(process.memory_info().rss, process.num_fds())]

    def watch() -> None:
        while not stop.wait(0.1):
            seen.append((process.memory_info().rss, process.num_fds()))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def run(server: Server, log: pathlib.Path, seconds: float) -> Run:
    """Good clients for so long, and then until the server is as idle as it can be."""
    end, waits = time.monotonic() + seconds, []
    failures: list[BaseException] = []
    before = log.stat().st_size

    def repeat(number: int) -> None:
        client = http.client.HTTPConnection(*server.address, timeout=600)
        try:
            while time.monotonic() < end:
                waits.append(ask(client, (number + len(waits)) % 12))
                time.sleep(PACE)
        except BaseException as error:
            failures.append(error)
        finally:
            client.close()

    with watching(server) as seen:
        threads = [threading.Thread(target=repeat, args=[number]) for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []
    memory, files = settled(server)
    most_memory, most_files = map(max, zip(*seen))
    return Run(waits, memory, most_memory, files, most_files, log.read_bytes()[before:])


def settled(server: Server) -> tuple[int, int]:
    """Memory and descriptors once nothing is being answered and nobody is connected but who asks."""
    process = psutil.Process(server.process.pid)
    deadline = time.monotonic() + 600
    while metric(server, "open_requests") != 1 or len(process.net_connections()) > 2:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    memory = []
    for _ in range(20):  # an image that is being decoded is, though nobody waits for it
        memory.append(process.memory_info().rss)
        time.sleep(0.1)
    return min(memory), process.num_fds()


def soak(folder: pathlib.Path, seconds: float, threads: int) -> tuple[Run, Run, dict[str, int]]:
    """A quiet run, one beside all bad kinds, and how often each was at it."""
    log = folder / "log"
    options = ("--threads", str(threads), "timeout=2", "deadline=10", "connections=200", f"bodies={BODIES}")
    with fake_server(*options, log=log) as server:
        run(server, log, 1)  # warm
        quiet = run(server, log, seconds)
        command = [
            sys.executable,
            "tests/support/hostile_clients.py",
            str(server.address[1]),
            str(seconds),
            *KINDS,
        ]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, env={**os.environ}) as bad:
            time.sleep(0.5)
            hostile = run(server, log, seconds)
            output, _ = bad.communicate()
    return quiet, hostile, json.loads(output)


@pytest.mark.parametrize(
    ("seconds", "threads", "ratio"),
    [
        (3, 1, 50),
        pytest.param(60, 1, 20, marks=pytest.mark.slow),
        pytest.param(60, 8, 20, marks=pytest.mark.slow),
    ],
)
def test_good_clients_beside_bad_ones(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], seconds: float, threads: int, ratio: float
) -> None:
    quiet, hostile, counts = soak(tmp_path, seconds, threads)
    with capsys.disabled():
        print(f"\n{threads} threads, {seconds:g} seconds\nquiet:   {quiet}\nhostile: {hostile}\n{counts}")
    assert min(counts.values()) > 0
    assert hostile.percentile(0.99) < ratio * quiet.percentile(0.99)
    assert len(hostile.waits) > len(quiet.waits) / ratio
    assert hostile.memory < 1.5 * quiet.memory
    # Large images are decoded by half as many threads, 7000 x 7000 pixels in each; and there are the bodies.
    assert hostile.most_memory < quiet.most_memory + max(1, threads // 2) * 3 * 7000 * 7000 + 2 * BODIES
    assert hostile.files == quiet.files
    assert hostile.most_files < quiet.most_files + 210
    assert quiet.log == b""
    assert 0 < len(hostile.log) < (seconds + 10) * (LINES + 1) * (LINE_LENGTH + 30)
