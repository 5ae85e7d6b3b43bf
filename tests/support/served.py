"""For tests of serving: a network that needs no MXNet, and a server with it as a process of its own.

PYTHONPATH=. python tests/support/served.py [--gate FILE] [--grace S] [--threads N] [LIMIT=VALUE ...]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any, Optional

import numpy as np
import psutil

from gluon_resnet.card import ModelCard
from gluon_resnet.data import EvalTransform
from gluon_resnet.provenance import DataSet, MeasuredError, Source, TrainedBy, TrainedOn
from gluon_resnet.serving.app import make_app
from gluon_resnet.serving.batcher import Batcher
from gluon_resnet.serving.hosts import Hosts, hosts_of
from gluon_resnet.serving.limits import Limits
from gluon_resnet.serving.log import bounded_log
from gluon_resnet.serving.metrics import Metrics
from gluon_resnet.serving.server import bind, serve, url
from tests.support.paths import ROOT

CLASSES = ("<script>document.title='hacked'</script>", *(f"class {label}" for label in range(1, 12)))
SIDE = 8
TEST_NAMES = ("x", "testserver")  # that tests and starlette's client write into Host
_PICTURES = DataSet(("/home/somebody/train.rec",), 1437, "0" * 16)
HISTORY: dict[str, Any] = {
    "epoch": 3,
    "data": TrainedOn(_PICTURES),
    "recipe": TrainedBy(
        "fast",
        "python /home/somebody/train.py",
        {"lr": 0.12345678, "mean": "/home/somebody/mean.npz of 2, C:\\somebody\\a.rec"},
    ),
    "source": Source("owner/nets", "~somebody/w.pth", "2" * 64, "convert.py ~somebody/w.pth"),
    "errors": (
        MeasuredError(
            DataSet(("/home/somebody/val.rec",), 360, "1" * 16),
            "1-crop",
            3,
            "2026-11-21T18:30:00Z",
            1.1111111111,
            (0.4329, 2.8216),
            5,
            0.0,
            (0.0, 1.0558),
        ),
    ),
}


class FakeNetwork:
    """Tells the gray level of an image: 20 K is of class K. Remembers its batches' sizes."""

    def __init__(self, gate: Optional[str] = None) -> None:
        self.card = ModelCard("fake", CLASSES, SIDE, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), **HISTORY)
        self.gate = gate  # a file that the first batch waits for
        self.decoded = 0
        self.batches: list[int] = []
        self.error: Optional[Exception] = None
        self._transform = EvalTransform(None, SIDE)

    def preprocess(self, image: bytes) -> np.ndarray:
        self.decoded += 1
        return self._transform(image)

    def forward(self, inputs: np.ndarray) -> np.ndarray:
        while self.gate and not os.path.exists(self.gate):
            time.sleep(0.01)
        if self.error:
            raise self.error
        self.batches.append(len(inputs))
        levels = inputs.mean(axis=(1, 2, 3)) / 20
        return -((levels[:, None] - np.arange(len(CLASSES))) ** 2).astype(np.float32)


def make_parts(
    network: FakeNetwork, limits: Optional[Limits] = None, hosts: Optional[Hosts] = None, **options: Any
) -> tuple[Any, Batcher, Metrics]:
    """The application, with what it is made of."""
    limits, metrics = limits or Limits(), Metrics()
    batcher = Batcher(network, limits, metrics, **options)
    hosts = hosts or hosts_of("127.0.0.1", "127.0.0.1", TEST_NAMES)
    return make_app(network.card, limits, metrics, batcher, hosts), batcher, metrics


# What the log says of a request that was refused, and of those for which there was no line left.
REFUSAL = re.compile(r"[-0-9]{10} [:0-9]{8} ([45][0-9]{2} \S+ \S+ |… and \d+ more refusals in that second$)")


class Server:
    """A started server: its address, and its process."""

    def __init__(self, process: subprocess.Popen) -> None:
        self.process = process
        self.line = process.stdout.readline()
        assert self.line, process.communicate()
        self.url = self.line.rpartition(" ")[2].strip()
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        self.address = (host, int(port))

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """The exit status, and what came on standard error."""
        with contextlib.suppress(psutil.NoSuchProcess):
            self.process.send_signal(number)
        _, stderr = self.process.communicate(timeout=600)
        return self.process.returncode, stderr


@contextlib.contextmanager
def started(*command: object, log: Optional[pathlib.Path] = None) -> Iterator[Server]:
    """A server of this command; it is ended with the block, and must have had to complain of clients alone.

    Args:
        log: takes what it says on standard error, as a pipe that nobody reads cannot for long.
    """
    with contextlib.ExitStack() as stack:
        process = subprocess.Popen(
            [sys.executable, *map(str, command)],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=stack.enter_context(log.open("w")) if log else subprocess.PIPE,
            text=True,
        )
    try:
        server = Server(process)
        yield server
        if process.returncode is None:
            status, said = server.stop()
            said = log.read_text() if log else said
            assert (status, [line for line in said.splitlines() if not REFUSAL.match(line)]) == (0, [])
    finally:
        process.kill()
        process.communicate()


def fake_server(
    *arguments: str, log: Optional[pathlib.Path] = None
) -> contextlib.AbstractContextManager[Server]:
    return started("tests/support/served.py", *arguments, log=log)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--grace", type=int, default=30)
    parser.add_argument("--gate")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("limits", nargs="*")
    args = parser.parse_args()
    values = {"deadline": "600", **dict(text.split("=") for text in args.limits)}
    limits = Limits(
        **{
            name: float(text) if name in ("timeout", "deadline") else int(text)
            for name, text in values.items()
        }
    )
    app, _, metrics = make_parts(FakeNetwork(args.gate), limits, threads=args.threads)
    with bind("127.0.0.1", 0) as listener, bounded_log():
        serve(app, listener, limits, metrics, args.grace, lambda: print("fake on", url(listener), flush=True))


if __name__ == "__main__":
    main()
