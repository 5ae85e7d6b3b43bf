"""Controls the process (starter.py) in which MXNet's tracker starts the agents."""

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
        kind: how agents are started: ``local``, ``ssh``, ``mpi`` or ``slurm``.
        workers: the number of workers.
        servers: the number of servers.
        launcher: the address of the launcher.
        token: the token that agents present to the launcher; it is kept in environments and pipes, never in a command
            line.
        hosts: the path of the host file, or None.
        nodes: the number of machines that Slurm has allocated.

    Attributes:
        reports: a file to read sentences about failures from, which ends with the process.
        noise: a file to read the output of the started programs from.
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
        if (
            kind == "ssh"
        ):  # the tracker would write these into ssh's command line, where everybody can read them
            for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
                environment.pop(name, None)
        self._process = subprocess.Popen(
            [sys.executable, str(_HERE / "starter.py"), json.dumps(order)],
            cwd="/",  # the tracker uses the same folder on every machine; agents are told their own
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # so that Ctrl-C reaches only the launcher
        )
        self._stdin: IO[bytes] = self._process.stdin  # type: ignore[assignment]
        self.reports: IO[bytes] = self._process.stdout  # type: ignore[assignment]
        self.noise: IO[bytes] = self._process.stderr  # type: ignore[assignment]

    def close(self) -> None:
        """End the process and everything that it has started on this machine, within 4 s."""
        self._stdin.close()  # the process does the rest itself
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(2)
        with contextlib.suppress(ProcessLookupError):  # if it was killed, what it has started remains
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self.reports.close()
        self.noise.close()
