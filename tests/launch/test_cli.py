"""tools/launch.py without MXNet: its arguments, hosts, addresses, and what it prints."""

from __future__ import annotations

import io
import os
import pathlib
import socket
import subprocess
import sys
import threading
import types

import pytest

from gluon_resnet.cli.launch import main
from gluon_resnet.errors import DataError, EnvironmentProblem, UsageError
from gluon_resnet.launch import agent
from gluon_resnet.launch.console import Console
from gluon_resnet.launch.hosts import Host, check_ssh, own_address, read_hosts
from gluon_resnet.launch.member import Member, number
from gluon_resnet.launch.messages import End, Introduction, Line, read_message
from gluon_resnet.launch.strangers import Strangers
from tests.support.launched import TOOL

COMMAND = ["--", "python", "-c", "pass"]


def program(folder: pathlib.Path, name: str, text: str) -> None:
    """A program of that name, first in the PATH of a test that sets it to `folder`."""
    (folder / name).write_text(f"#!/bin/bash\n{text}\n")
    (folder / name).chmod(0o755)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-n", "0", *COMMAND], "expected from 1 to 4096, found 0"),
        (["-n", "two", *COMMAND], "invalid number value: 'two'"),
        (["-n", "2", "-s", "0", *COMMAND], "expected from 1 to 4096, found 0"),
        (COMMAND, "the following arguments are required: -n/--num-workers"),
        (["-n", "1", "--host-ip", "10.0.0.256", *COMMAND], "expected an IPv4 address like 10.0.0.1"),
        (["-n", "1", "--host-ip", "203.0.113.7", *COMMAND], "203.0.113.7 is not an address of this machine"),
        (
            ["-n", "1", "--env", "NOBODY_SETS_THIS", *COMMAND],
            "expected NAME=VALUE, or a variable that is set",
        ),
        (["-n", "1", "--max-restarts", "-1", *COMMAND], "expected at least 0, found -1"),
        (["-n", "1", "--launcher", "yarn", *COMMAND], "invalid choice: 'yarn'"),
    ],
)
def test_arguments_that_cannot_be_are_refused(arguments, message, capsys):
    with pytest.raises(SystemExit) as error:
        main(arguments)
    assert error.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-n", "1"], "there is no command"),
        (["-n", "1", "--"], "there is no command"),
        (["-n", "1", "--launcher", "ssh", *COMMAND], "--launcher ssh needs the machines: -H FILE"),
        (["-n", "1", "--launcher", "local", "-H", "hosts", *COMMAND], "--launcher local takes no --hostfile"),
        (["-n", "1", "--launcher", "slurm", "-H", "hosts", *COMMAND], "--launcher slurm takes no --hostfile"),
        (["-n", "1", "--max-restarts", "1", "--", "python", "tools/train.py"], "give train.py --resume from"),
        (["-n", "1", "--max-restarts", "1", "--", "gluon-resnet", "train"], "give train.py --resume from"),
        (
            ["-n", "1", "--max-restarts", "1", "--", "python", "-m", "gluon_resnet", "train"],
            "give train.py --resume",
        ),
    ],
)
def test_arguments_that_do_not_go_together_are_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        main(arguments)


def test_the_tool_says_one_sentence_and_exits_with_status_2_for_arguments_and_1_for_failures(tmp_path):
    def run(*arguments):
        return subprocess.run([sys.executable, TOOL, *arguments, *COMMAND], capture_output=True, text=True)

    done = run("-n", "1", "--launcher", "ssh")
    assert (done.returncode, done.stderr) == (
        2,
        "launch.py: error: --launcher ssh needs the machines: -H FILE\n",
    )
    missing = tmp_path / "hosts"
    done = run("-n", "1", "-H", str(missing))
    assert (done.returncode, done.stderr) == (1, f"launch.py: error: {missing}: No such file or directory\n")


@pytest.mark.parametrize(("launcher", "name"), [("ssh", "ssh"), ("mpi", "mpirun"), ("slurm", "srun")])
def test_a_launcher_that_is_not_installed_is_named(launcher, name, tmp_path, monkeypatch):
    (tmp_path / "hosts").write_text("a\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    hosts = [] if launcher == "slurm" else ["-H", str(tmp_path / "hosts")]
    with pytest.raises(
        EnvironmentProblem, match=f"--launcher {launcher} needs {name}, which is not installed"
    ):
        main(["-n", "1", "--launcher", launcher, *hosts, *COMMAND])


def test_slurm_needs_an_allocation(tmp_path, monkeypatch):
    program(tmp_path, "srun", "exit 1")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    with pytest.raises(EnvironmentProblem, match="runs within an allocation: begin with salloc"):
        main(["-n", "1", "--launcher", "slurm", *COMMAND])


def test_host_files_are_in_the_form_of_mxnets(tmp_path):
    path = tmp_path / "hosts"
    path.write_text("a\n\n  b.example.org:2222  \nme@10.0.0.7\nc slots=4\n")
    assert read_hosts(str(path)) == [
        Host("a", "22"),
        Host("b.example.org", "2222"),
        Host("me@10.0.0.7", "22"),
        Host("c", "22"),
    ]


@pytest.mark.parametrize(
    "line", ["# a", "a b", "a;reboot", "$(reboot)", "-oProxyCommand=x", "a:b", "a slots=x", "\udc80"]
)
def test_lines_that_name_no_host_are_refused_with_their_number(line, tmp_path):
    path = tmp_path / "hosts"
    path.write_text(f"a\n{line}\n", errors="surrogateescape")
    with pytest.raises(DataError, match=r"hosts:2: expected HOST, HOST:PORT or HOST slots=N, found"):
        read_hosts(str(path))


def test_a_host_file_without_hosts_is_refused(tmp_path):
    path = tmp_path / "hosts"
    path.write_text("\n \n")
    with pytest.raises(DataError, match="expected hosts, one per line, found none"):
        read_hosts(str(path))


def test_a_host_that_ssh_does_not_reach_is_told_with_the_last_that_ssh_says(tmp_path, monkeypatch):
    log = tmp_path / "log"
    program(
        tmp_path,
        "ssh",
        f'echo "$@" >>{log}; [ "$7" != b ] || {{ echo one >&2; echo "b: refused" >&2; exit 255; }}',
    )
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    check_ssh([Host("a", "22"), Host("a", "22"), Host("c", "24")])
    assert sorted(log.read_text().splitlines()) == [
        "-o BatchMode=yes -o ConnectTimeout=10 -p 22 a true",
        "-o BatchMode=yes -o ConnectTimeout=10 -p 24 c true",
    ]
    with pytest.raises(EnvironmentProblem, match="^ssh does not reach the host b: b: refused$"):
        check_ssh([Host("a", "22"), Host("b", "22")])


def test_the_address_of_this_machine_is_not_the_loopback_where_another_is_a_host():
    assert own_address([Host("me@localhost", "22")]) == "127.0.0.1"
    with pytest.raises(EnvironmentProblem, match="there is no route to the host no.such.host.invalid: "):
        own_address([Host("localhost", "22"), Host("no.such.host.invalid", "22")])


def member(role: str, address: str, port: int) -> Member:
    connection, _ = socket.socketpair(socket.AF_UNIX)
    with connection, socket.socket() as tcp:
        made = Member(tcp, address)
    made.introduce(Introduction(role, "h", port))
    return made


def test_ranks_are_those_that_ps_lite_gives():
    # As MXNet 1.9.1 printed them for workers with such addresses: the greatest as text first, then the lowest port.
    nodes = [("127.0.0.2", 5), ("127.0.0.11", 3), ("127.0.0.3", 7), ("127.0.0.3", 6)]
    members = [member("worker", address, port) for address, port in nodes] + [member("server", "9.9.9.9", 1)]
    number(members)
    assert [member.rank for member in members] == [2, 3, 1, 0, 0]
    assert [member.name for member in members] == ["worker 2", "worker 3", "worker 1", "worker 0", "server 0"]


def test_messages_are_what_agents_send():
    hello = b'{"role": "server", "host": "a-1.b", "pid": 7, "port": 15000}'
    assert read_message(hello) == Introduction("server", "a-1.b", 15000)
    assert read_message(b'{"line": "\\u001b[1mx", "stream": 2}') == Line("\x1b[1mx", 2)
    assert read_message(b'{"ended": -9}') == End(-9)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\xff",
        b"[" * 2**20,
        b'{"a":' * 2**17,
        b"7",
        b'["line"]',
        b"{}",
        b'{"line": 1, "stream": 1}',
        b'{"line": "\\ud800", "stream": 1}',
        b'{"line": "x", "stream": 3}',
        b'{"line": "x"}',
        b'{"ended": "0"}',
        b'{"ended": NaN}',
        b'{"ended": 1e999}',
        b'{"ended": -4000}',
        b'{"ended": ' + b"9" * 5000 + b"}",
        b'{"role": "king", "host": "h", "port": 1}',
        b'{"role": [], "host": "h", "port": 1}',
        b'{"role": "worker", "host": "h\\u001b[2J", "port": 1}',
        b'{"role": "worker", "host": "", "port": 1}',
        b'{"role": "worker", "host": "' + b"h" * 256 + b'", "port": 1}',
        b'{"role": "worker", "host": "h", "port": Infinity}',
        b'{"role": "worker", "host": "h", "port": 65536}',
    ],
    ids=lambda line: repr(line[:40]),
)
def test_what_no_agent_sends_is_refused(line):
    with pytest.raises(ValueError):
        read_message(line)


def test_strangers_are_told_of_once_in_a_while_and_none_is_left_out():
    listener = types.SimpleNamespace(refused=0, name=("127.0.0.1", 7))
    said = []
    strangers = Strangers(listener, said.append)
    for _ in range(1000):
        strangers.tell()
        listener.refused += 1
    strangers.tell(last=True)
    strangers.tell(last=True)
    assert said == [
        "a connection was closed that does not know the token of this run, at 127.0.0.1:7",
        "999 connections were closed that do not know the token of this run, at 127.0.0.1:7",
    ]


def test_a_signal_without_a_name_is_told_by_its_number():
    made = member("worker", "127.0.0.1", 1)
    for number_, name in ((9, "SIGKILL"), (40, "signal 40")):
        made.status = -number_
        assert made.end == f"was killed by {name}"


def test_a_reader_that_stops_loses_lines_but_never_stops_the_launcher(monkeypatch):
    class Stuck(io.StringIO):
        """Nothing can be written until `read` is set."""

        read = threading.Event()

        def write(self, text: str) -> int:
            assert self.read.wait(600)
            return super().write(text)

    stream = Stuck()
    monkeypatch.setattr(sys, "stdout", stream)
    with Console() as console:
        for index in range(10_500):
            console.line(f"line {index}", 1)
        Stuck.read.set()
        while "line 9000" not in stream.getvalue():
            pass
        console.line("last", 1)
    lines = stream.getvalue().splitlines()
    assert lines[:2] == ["line 0", "line 1"]
    assert lines[-1] == "last"
    assert lines[-2].endswith(" lines were left out here, because nobody read them in time")
    assert len(lines) - 2 + int(lines[-2].split()[1]) == 10_500


@pytest.mark.parametrize(
    "error", [RuntimeError("can't start new thread"), BlockingIOError(11, "Resource temporarily unavailable")]
)
def test_a_tracker_that_can_start_no_more_processes_says_so(error):
    starter = pytest.importorskip("gluon_resnet.launch.starter", reason="it needs MXNet's dmlc_tracker")
    said = []
    starter.Starting({"variable": "X"}, said.append)._failed(error)
    (sentence,) = said
    assert sentence.startswith("no more processes or threads can be started here")


def test_an_agent_that_can_start_no_more_processes_says_so(monkeypatch, capsys):
    def refused():
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refused)
    assert agent.main() == 1
    assert "cannot start more processes or threads" in capsys.readouterr().err
