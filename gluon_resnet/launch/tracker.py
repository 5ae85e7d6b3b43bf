"""The process in which MXNet's tracker starts the agents (starter.py), from the outside."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
from typing import IO, Optional

from gluon_resnet.launch.agent import LAUNCHER

_HERE = pathlib.Path(__file__).resolve().parent


class Tracker:
    """Starts one scheduler, `servers` and `workers`, as agents that connect to `launcher` (ADDRESS:PORT).

    Args:
        kind: ``local``, ``ssh``, ``mpi`` or ``slurm``.
        token: what agents say there; it stands in environments and pipes, in no command line.
        hosts: the path of the host file, or None.
        nodes: how many machines Slurm has given us.

    `reports` and `noise` are file descriptors to read: sentences about what failed, which break when the process
    ends, and what the started programs wrote.
    """

    def __init__(
        self,
        kind: str,
        workers: int,
        servers: int,
        launcher: str,
        token: str,
        hosts: Optional[str],
        nodes: int,
    ) -> None:
        order = {
            "launcher": kind,
            "workers": workers,
            "servers": servers,
            "address": launcher.split(":")[0],
            "hosts": hosts and os.path.abspath(hosts),
            "nodes": nodes,
            "agent": [sys.executable, "-I", str(_HERE / "agent.py")],
            "variable": LAUNCHER,
            "reached_at": launcher,
        }
        environment = {**os.environ, LAUNCHER: f"{launcher}:{token}"}
        if kind == "ssh":  # the tracker writes these into ssh's command line, for everybody to read
            for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
                environment.pop(name, None)
        self._process = subprocess.Popen(
            [sys.executable, str(_HERE / "starter.py"), json.dumps(order)],
            cwd="/",  # the tracker goes to the same folder on every machine; agents are told theirs
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # a Ctrl-C is for the launcher alone
        )
        self._stdin: IO[bytes] = self._process.stdin  # type: ignore[assignment]
        self.reports: IO[bytes] = self._process.stdout  # type: ignore[assignment]
        self.noise: IO[bytes] = self._process.stderr  # type: ignore[assignment]

    def close(self) -> None:
        """End it and all that it has started on this machine; within 4 s."""
        self._stdin.close()  # it does the rest itself
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(2)
        with contextlib.suppress(ProcessLookupError):  # where it was killed, what it has started is left
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self.reports.close()
        self.noise.close()
