"""Clusters on the loopback, as processes: of MXNet's parameter server, or started by horovodrun."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pathlib
import random
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence

from tests.support.paths import ROOT


@contextlib.contextmanager
def cluster(
    commands: Sequence[Sequence[str]], folder: pathlib.Path, servers: int = 1
) -> Iterator[list[subprocess.Popen]]:
    """The processes of `commands` (Python's arguments), one worker each, then a scheduler and the servers.

    They work in `folder`. Who has which rank is not known before. All that still run are killed at the end.
    """
    environment = {
        **os.environ,
        "DMLC_PS_ROOT_URI": "127.0.0.1",
        "DMLC_PS_ROOT_PORT": str(_free_port()),
        "DMLC_NODE_HOST": "127.0.0.1",
        "DMLC_NUM_WORKER": str(len(commands)),
        "DMLC_NUM_SERVER": str(servers),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
    }
    roles = [("worker", command) for command in commands]
    roles += [
        (role, ("-m", "gluon_resnet.training.distributed.parameter_server"))
        for role in ("scheduler", *["server"] * servers)
    ]
    processes: list[subprocess.Popen] = []
    try:
        for role, command in roles:
            processes.append(
                subprocess.Popen(
                    [sys.executable, *command],
                    cwd=folder,
                    env={**environment, "DMLC_ROLE": role},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate()


HAS_HOROVOD = importlib.util.find_spec("horovod") is not None
NEEDS_HOROVOD = "Horovod is not installed: scripts/install_horovod.sh"


@contextlib.contextmanager
def horovodrun(command: Sequence[str], count: int, folder: pathlib.Path) -> Iterator[subprocess.Popen]:
    """horovodrun with `count` processes of `command` (Python's arguments), which work in `folder`."""
    program = pathlib.Path(sys.executable).parent / "horovodrun"
    process = subprocess.Popen(
        [program, "-np", str(count), "--gloo", sys.executable, *command],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.terminate()  # it ends the others
        try:
            process.communicate(timeout=600)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def _free_port() -> int:
    """One below those that the system gives away by itself: the roles' own ports are such ones."""
    for port in random.sample(range(15000, 30000), 100):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise OSError("no free port")
