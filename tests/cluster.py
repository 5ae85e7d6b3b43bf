"""A cluster of MXNet's parameter server on the loopback: a scheduler, a server and workers, as processes."""

from __future__ import annotations

import contextlib
import os
import pathlib
import random
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence

_ROLE = "import gluon_resnet._mxnet"  # runs until the workers are done, for a role that is not a worker's
_ROOT = pathlib.Path(__file__).parent.parent


@contextlib.contextmanager
def cluster(commands: Sequence[Sequence[str]], folder: pathlib.Path) -> Iterator[list[subprocess.Popen]]:
    """The processes of `commands` (Python's arguments), one worker each, then a scheduler and a server.

    They work in `folder`. Who has which rank is not known before. All that still run are killed at the end.
    """
    environment = {
        **os.environ,
        "DMLC_PS_ROOT_URI": "127.0.0.1",
        "DMLC_PS_ROOT_PORT": str(_free_port()),
        "DMLC_NODE_HOST": "127.0.0.1",
        "DMLC_NUM_WORKER": str(len(commands)),
        "DMLC_NUM_SERVER": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(_ROOT),
    }
    roles = [("worker", command) for command in commands]
    roles += [(role, ("-c", _ROLE)) for role in ("scheduler", "server")]
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


def _free_port() -> int:
    """One below those that the system gives away by itself: the roles' own ports are such ones."""
    for port in random.sample(range(15000, 30000), 100):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise OSError("no free port")
