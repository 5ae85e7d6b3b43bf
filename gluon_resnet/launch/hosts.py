"""The machines of a run: the file that lists them, whether ssh reaches them, and the address at which they reach us."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Optional

from gluon_resnet.errors import DataError, EnvironmentProblem
from gluon_resnet.files import regular_only
from gluon_resnet.terminal import shown

_CONNECT = 10  # seconds for ssh to reach a host


class Host(NamedTuple):
    """A machine in the form that ssh expects."""

    name: str  # may begin with USER@
    port: str


def read_hosts(path: str) -> list[Host]:
    """The lines of a host file in MXNet's form: ``HOST``, ``HOST:PORT`` or, as for MPI, ``HOST slots=4``.

    DataError for a file without hosts, and for a malformed line, since the tracker passes it to a shell.
    """
    hosts = []
    with open(path, encoding="utf-8", errors="replace", opener=regular_only) as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            match = re.fullmatch(r"(?!-)([\w.@-]+)(?::(\d+))?(?:\s+slots=\d+)?", line.strip(), re.ASCII)
            if not match:
                raise DataError(
                    f"{path}:{number}: expected HOST, HOST:PORT or HOST slots=N, found {shown(line.strip())}",
                    path,
                )
            hosts.append(Host(match[1], match[2] or "22"))
    if not hosts:
        raise DataError(f"{path}: expected hosts, one per line, found none", path)
    return hosts


def check_ssh(hosts: Sequence[Host]) -> None:
    """Raise EnvironmentProblem for the first of `hosts` that ssh cannot reach without asking for anything."""
    different = list(dict.fromkeys(hosts))
    with ThreadPoolExecutor(min(32, len(different))) as pool:
        for host, problem in zip(different, pool.map(_ssh_problem, different)):
            if problem:
                raise EnvironmentProblem(f"ssh does not reach the host {host.name}: {problem}")


def _ssh_problem(host: Host) -> Optional[str]:
    options = ["-o", "BatchMode=yes", "-o", f"ConnectTimeout={_CONNECT}", "-p", host.port]
    try:
        done = subprocess.run(
            ["ssh", *options, host.name, "true"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            timeout=2 * _CONNECT,
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {2 * _CONNECT} s"
    if done.returncode == 0:
        return None
    said = done.stderr.strip().splitlines()
    return said[-1].strip() if said else f"it ended with status {done.returncode}"


def own_address(hosts: Sequence[Host]) -> str:
    """This machine's IPv4 address that `hosts` can reach or, if there are none, the other machines in its network.

    EnvironmentProblem if it cannot be determined.
    """
    for host in hosts:
        address = _address_towards(host.name.rpartition("@")[2])
        if not address.startswith("127."):  # this machine's own name may be a loopback address
            return address
    if hosts:
        return "127.0.0.1"
    for name in (socket.gethostname(), "10.255.255.255"):  # the route to the latter is that to most others
        try:
            address = _address_towards(name)
        except EnvironmentProblem:
            continue
        if not address.startswith("127."):
            return address
    raise EnvironmentProblem("this machine has no address that others can reach: give one with --host-ip")


def _address_towards(host: str) -> str:
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:  # connecting sends nothing
            probe.connect((host, 9))
            return str(probe.getsockname()[0])
    except OSError as error:
        raise EnvironmentProblem(f"there is no route to the host {host}: {error.strerror or error}") from None
