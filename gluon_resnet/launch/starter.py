"""Starts agents through the tracker in MXNet's wheel (`dmlc_tracker`), in a process of its own.

The tracker has threads that run shells, ends when its scheduler does, and leaves the rest behind. So it gets its own
process group here, which ends with the launcher, and nothing important to pass on: no command, no port, and no
environment except the launcher's address. This file is run by its name, with a JSON object as its argument (see
`Tracker` in tracker.py).

The token of the run is in the environment, and kept out of command lines, which every account can read: processes
started here and by Slurm inherit it, mpirun is told the variable's name, and ssh passes it through standard input.

Standard input is a pipe that breaks when the launcher is gone. Standard output gets one sentence for each failure, and
breaks when this process ends; whatever the started programs write goes to standard error.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from typing import Any, Callable, Optional

from dmlc_tracker import local, mpi, ssh, tracker

_Submit = Callable[[int, int, dict[str, Any]], None]
_submit = tracker.submit
_NO_MORE = "no more processes or threads can be started here: end others, or raise the limit (ulimit -u)"


class Starting:
    """Starts the roles once. `report` is called with a sentence for each failure."""

    def __init__(self, order: dict[str, Any], report: Callable[[str], None]) -> None:
        self._order = order
        self._variable: str = order["variable"]
        self._report = report

    def run(self) -> None:
        """Start the roles, and return when the scheduler's agent has ended; the others may still be running."""
        threading.Thread.isAlive = threading.Thread.is_alive  # type: ignore[attr-defined]  # gone since Python 3.9
        threading.excepthook = lambda failure: self._failed(failure.exc_value)
        tracker.submit = self._submit  # which all of its launchers call in the end
        # If the environment has this, the tracker retries roles, and compares the number as text.
        os.environ.pop("DMLC_NUM_ATTEMPT", None)
        kind, hosts = self._order["launcher"], self._order["hosts"]
        arguments = argparse.Namespace(
            num_workers=self._order["workers"],
            num_servers=self._order["servers"],
            command=[_quoted(part) for part in self._order["agent"]],
            host_file=_quoted(hosts) if kind == "mpi" and hosts else hosts,  # for a shell
            host_ip=self._order["address"],
            sync_dst_dir=None,
            local_num_attempt=0,
        )
        ssh.subprocess = _WithToken(os.environ[self._variable].rpartition(":")[2])
        mpi.get_mpi_env = functools.partial(_by_name, mpi.get_mpi_env, self._variable)
        submit = {"local": local.submit, "ssh": ssh.submit, "mpi": mpi.submit, "slurm": self._slurm}
        try:
            submit[kind](arguments)
        except (RuntimeError, OSError) as error:
            self._failed(error)
        except AttributeError:  # the tracker looks for a port, and goes on without one
            self._report("the tracker found no free port from 9091 to 9998")

    def _submit(
        self, workers: int, servers: int, fun_submit: _Submit, hostIP: str = "", pscmd: str = ""
    ) -> None:
        """The tracker's function, with the launcher's address added if roles do not inherit it."""
        ours = {self._variable: self._order["reached_at"]} if self._order["launcher"] == "ssh" else {}
        _submit(
            workers,
            servers,
            lambda workers, servers, environment: fun_submit(workers, servers, {**environment, **ours}),
            hostIP=self._order["address"],  # its own guess needs a host name that resolves
            pscmd=pscmd,
        )

    def _slurm(self, arguments: argparse.Namespace) -> None:
        """Replaces the tracker's function, which passes srun an option (--share) that Slurm has dropped."""

        def start(workers: int, servers: int, environment: dict[str, Any]) -> None:
            for role, count in (("server", servers), ("worker", workers)):
                nodes = min(count, self._order["nodes"])
                srun = ["srun", "--overlap", "--export=ALL", f"--nodes={nodes}", f"--ntasks={count}"]
                variables = {**os.environ, **environment, "DMLC_ROLE": role}
                threading.Thread(
                    target=subprocess.check_call,
                    args=([*srun, *self._order["agent"]],),
                    kwargs={"env": {name: str(value) for name, value in variables.items()}},
                    daemon=True,
                ).start()

        tracker.submit(arguments.num_workers, arguments.num_servers, start, pscmd=" ".join(arguments.command))

    def _failed(self, error: Optional[BaseException]) -> None:
        if isinstance(error, subprocess.CalledProcessError):
            command = error.cmd if isinstance(error.cmd, str) else " ".join(error.cmd)
            program = command.split("'")[0].split(self._order["agent"][0])[0].strip() or "an agent"
            self._report(f"{_without_variables(program)} ended with status {error.returncode}")
        elif isinstance(error, RuntimeError) and "Get nonzero return code" in str(
            error
        ):  # and the environment
            self._report("an agent ended with status 1")
        elif isinstance(error, BlockingIOError) or "can't start new thread" in str(error):
            self._report(_NO_MORE)
        else:
            self._report(f"{type(error).__name__}: {error}")


class _WithToken:
    """Replaces the module subprocess in the tracker's ssh: commands read the token from standard input."""

    def __init__(self, token: str) -> None:
        self._input = f"{token}\n".encode()

    def check_call(self, command: str, shell: bool) -> None:
        subprocess.run(command, shell=shell, input=self._input, check=True)


def _by_name(get_mpi_env: Callable[[dict[str, Any]], str], variable: str, variables: dict[str, Any]) -> str:
    """mpirun's options for `variables`, and for `variable` without its value: MPICH passes on all variables."""
    options = get_mpi_env(variables)
    return f"{options} -x {variable}" if " -x " in options else options


def _without_variables(command: str) -> str:
    """`command` without mpirun's -x NAME=VALUE and -env NAME VALUE, which mean nothing to users."""
    return re.sub(r" +(-x \S+|-env \S+ \S+)", "", command)


def _quoted(part: str) -> str:
    """Quote `part` for one shell, as the tracker uses; ssh's command is already in single quotes."""
    return re.sub(r"([^\w@%+=:,./-])", r"\\\1", part)


def _end_with(launcher: int) -> None:
    """End this process group when the pipe from the launcher breaks."""
    os.read(launcher, 1)
    os.killpg(0, signal.SIGTERM)
    time.sleep(1)
    os.killpg(0, signal.SIGKILL)


def main() -> None:
    """Start the roles that the argument describes."""
    launcher, reports = os.dup(0), os.dup(1)  # for this process alone
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    signal.signal(
        signal.SIGTERM, lambda number, frame: None
    )  # not ignored, since programs would inherit that
    try:
        threading.Thread(target=_end_with, args=(launcher,), daemon=True).start()
    except RuntimeError:
        _write(reports, _NO_MORE)
        return
    Starting(json.loads(sys.argv[1]), lambda sentence: _write(reports, sentence)).run()


def _write(reports: int, sentence: str) -> None:
    os.write(reports, sentence.replace("\n", " ").encode() + b"\n")


if __name__ == "__main__":
    main()
