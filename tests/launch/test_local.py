"""tools/launch.py with small commands: lines, exit statuses, signals, and that nothing stays behind."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from typing import Callable

import psutil
import pytest

from tests.support.launched import PATIENCE, TOOL, launched
from tests.support.paths import ROOT

HOST = socket.gethostname()
ONE = ["-n", "1", "-s", "1", "--launcher", "local"]


def test_the_first_failure_gives_the_status_and_its_last_lines_are_told_again(tmp_path):
    command = "for i in $(seq 30); do echo out $i; done; echo 'last $HOME' >&2; exit 7"
    with launched([*ONE, "--", "bash", "-c", command], tmp_path) as launch:
        status, output, error = launch.end()
    assert status == 7
    assert output.splitlines() == [f"[worker 0] out {i}" for i in range(1, 31)]
    started, *rest = error.splitlines()
    assert started == f"launch.py: worker 0 on {HOST}, scheduler on {HOST}, server 0 on {HOST}"
    assert rest[0] == "[worker 0] last $HOME"
    assert rest[1] == f"launch.py: error: worker 0 on {HOST} ended with status 7; its last lines:"
    assert len(rest) == 22
    assert rest[-1] in ("    [worker 0] out 30", "    [worker 0] last $HOME")  # two streams


def test_arguments_and_variables_reach_the_command_as_they_are(tmp_path):
    arguments = ["it's", "$HOME", 'a  "b"', "", "*", "line\nbreak", "ö"]
    show = (
        "import os, sys; "
        "print(ascii(sys.argv[1:]), os.environ['GIVEN'], os.environ['SET'], os.getcwd()); sys.exit(3)"
    )
    folder = tmp_path / "with space's"
    folder.mkdir()
    variables = ["--env", "GIVEN=a=b c", "--env", "SET"]
    with launched([*ONE, *variables, "--", "python", "-c", show, *arguments], folder, {"SET": "'"}) as launch:
        status, output, _ = launch.end()
    assert status == 3
    assert output == f"[worker 0] {arguments!a} a=b c ' {folder}\n"


def test_lines_of_any_bytes_come_and_a_bar_in_its_last_state(tmp_path):
    write = r"printf 'a\rb\rc\n\377\n%070000d' 0; exit 3"
    with launched([*ONE, "--", "bash", "-c", write], tmp_path) as launch:
        _, output, _ = launch.end()
    assert output.splitlines() == [
        "[worker 0] c",
        "[worker 0] �",
        f"[worker 0] {'0' * 65536}",
        f"[worker 0] {'0' * (70000 - 65536)}",
    ]


def test_a_command_that_does_not_exist_is_told_as_a_shell_does(tmp_path):
    with launched([*ONE, "--", "no-such-program", "x"], tmp_path) as launch:
        status, _, error = launch.end()
    assert status == 127
    assert "[worker 0] no-such-program: No such file or directory" in error.splitlines()


@pytest.mark.slow
def test_a_worker_that_is_done_long_before_the_others_is_told_of(tmp_path):
    first = "mkdir one 2>/dev/null && exit 0; sleep 34; exit 5"
    with launched(["-n", "2", "-s", "1", "--", "bash", "-c", first], tmp_path) as launch:
        status, _, error = launch.end()
    assert status == 5
    told = [line for line in error.splitlines() if "ended 30 s ago with status 0" in line]
    assert len(told) == 1
    assert told[0].endswith("the other workers are still running")


def test_a_signal_reaches_the_workers_as_sigterm_and_the_rest_ends_after_them(tmp_path):
    wait = "trap 'touch got; exit 143' TERM; touch ready; while :; do sleep 0.1; done"
    with launched([*ONE, "--", "bash", "-c", wait], tmp_path) as launch:
        launch.wait_for("ready", -1)
        (server,) = launch.commands("server")
        server.suspend()  # it would end at a signal of its own
        launch.process.send_signal(signal.SIGINT)
        launch.wait_for("got", -1)
        server.kill()
        status, _, error = launch.end()
    assert status == 128 + signal.SIGINT
    assert "launch.py: SIGINT: the workers will save their states and end" in error
    assert "error" not in error


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_what_a_worker_has_started_ends_with_it_and_with_its_agent(tmp_path):
    command = "sleep 1000 & touch ready; wait"
    for kill in ("commands", "agents"):
        with launched([*ONE, "--", "bash", "-c", command], tmp_path) as launch:
            launch.wait_for("ready", -1)
            wait_until(lambda: any(process.name() == "sleep" for process in launch.processes()))
            getattr(launch, kill)("worker")[0].kill()
            assert launch.end()[0] == (137 if kill == "commands" else 1)
        os.unlink(tmp_path / "ready")


def test_one_that_ignores_sigterm_is_killed(tmp_path):
    command = "trap '' TERM; touch ready; while :; do sleep 0.1; done"
    with launched([*ONE, "--", "bash", "-c", command], tmp_path) as launch:
        launch.wait_for("ready", -1)
        launch.commands("scheduler")[0].kill()
        status, _, error = launch.end()
    assert status == 137
    assert f"launch.py: error: scheduler on {HOST} was killed by SIGKILL" in error


def test_a_failure_is_tried_again_as_often_as_asked_with_a_line_for_each(tmp_path):
    command = ["--", "bash", "-c", "echo $DMLC_PS_ROOT_PORT >>ports; exit 5"]
    with launched([*ONE, "--max-restarts", "2", *command], tmp_path) as launch:
        status, _, error = launch.end()
    assert status == 5
    assert len(set((tmp_path / "ports").read_text().split())) == 3
    failure = f"worker 0 on {HOST} ended with status 5"
    said = [line for line in error.splitlines() if failure in line]
    assert said == [
        f"launch.py: {failure}; restart 1 of 2 in 1 s",
        f"launch.py: {failure}; restart 2 of 2 in 2 s",
        f"launch.py: error: {failure}",
    ]


@pytest.mark.parametrize("status", [2, 130, 143])
def test_bad_arguments_and_what_was_stopped_are_not_tried_again(status, tmp_path):
    command = ["--", "bash", "-c", f"echo >>tries; exit {status}"]
    with launched([*ONE, "--max-restarts", "2", *command], tmp_path) as launch:
        assert launch.end()[0] == status
    assert (tmp_path / "tries").read_text() == "\n"


def test_a_signal_in_the_pause_before_a_restart_ends_the_run(tmp_path):
    with launched([*ONE, "--max-restarts", "9", "--", "bash", "-c", "exit 5"], tmp_path) as launch:
        while "restart 3 of 9" not in launch.process.stderr.readline():
            pass
        launch.process.terminate()
        assert launch.end()[0] == 128 + signal.SIGTERM


def test_strangers_at_the_port_count_for_nothing(tmp_path):
    with launched([*ONE, "--", "bash", "-c", "touch ready; sleep 1000"], tmp_path) as launch:
        launch.wait_for("ready", -1)
        (server,) = (
            connection.laddr
            for connection in psutil.Process(launch.process.pid).net_connections()
            if connection.status == psutil.CONN_LISTEN
        )
        worker = b'{"token": "x", "role": "worker", "host": "h", "port": 1, "pid": 1}\n'
        deep = b"[" * 200_000 + b"\n"
        hellos = (
            b"",
            b"GET / HTTP/1.0\r\n\r\n",
            b"[]\n",
            b'{"ended": 9}\n',
            b"x" * 2**21,
            worker,
            deep,
        )
        for hello in hellos:
            with socket.create_connection(server) as stranger, pytest.raises(OSError):
                for _ in range(1000):  # it is closed at the other end
                    stranger.sendall(hello)
                    hello = b"\n"
                    time.sleep(0.01)
        assert launch.process.poll() is None
        launch.process.terminate()
        status, _, error = launch.end()
    assert status == 128 + signal.SIGTERM
    told = [line for line in error.splitlines() if "not know the token of this run" in line]
    assert len(told) < 5  # one a minute and one at the end, whatever their number
    counts = [line.split()[1].replace("a", "1") for line in told]
    assert sum(map(int, counts)) == len(hellos)


def test_strangers_that_stay_take_no_descriptors_and_the_run_goes_on(tmp_path):
    command = "touch ready; while ! [ -e go ]; do sleep 0.1; done; exit 7"
    with launched([*ONE, "--", "bash", "-c", command], tmp_path) as launch, contextlib.ExitStack() as stack:
        launch.wait_for("ready", -1)
        launcher = psutil.Process(launch.process.pid)
        (server,) = (each.laddr for each in launcher.net_connections() if each.status == psutil.CONN_LISTEN)
        few = launcher.num_fds() + 4
        launcher.rlimit(psutil.RLIMIT_NOFILE, (few, few))
        for _ in range(1100):
            with contextlib.suppress(ConnectionError):
                stack.enter_context(socket.create_connection(server)).sendall(b"{")
        assert launcher.num_fds() <= few
        (tmp_path / "go").touch()
        assert launch.end()[0] == 7


def test_more_processes_than_the_launcher_may_open_connections_are_refused(tmp_path):
    done = subprocess.run(
        ["bash", "-c", f"ulimit -n 100; exec {sys.executable} {TOOL} -n 60 -s 1 -- true"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr == (
        "launch.py: error: 62 processes need 110 open files here, but the limit is 100: type ulimit -n 110\n"
    )


def test_an_output_that_nobody_reads_any_more_stops_the_run(tmp_path):
    command = "trap 'touch saved; exit 143' TERM; while :; do echo x; sleep 0.1; done"
    with launched([*ONE, "--", "bash", "-c", command], tmp_path) as launch:
        assert launch.process.stdout.readline() == "[worker 0] x\n"
        launch.process.stdout.close()
        launch.process.stdout = None
        assert launch.end()[0] == 1
    assert (tmp_path / "saved").exists()


# Programs in place of those that start processes elsewhere.

SSH = """\
while case $1 in -*) true ;; *) false ;; esac; do shift 2; done
host=$1; shift; [ "$1" != -p ] || shift 2
echo "$host: $*" >>log
case $host:$* in down:*) echo "down: no route" >&2; exit 255 ;; late:true) exit 0 ;; late:*) exit 255 ;; esac
exec setsid env -i HOME=/ PATH=/usr/bin:/bin TEST_MARK="$TEST_MARK" sh -c "$*"
"""
MPIRUN = """\
[ "$1" != --version ] || { echo "mpirun (Open MPI) 4.1.4"; exit 0; }
echo "$*" >>log
shift; count=$1; shift
while case $1 in -*) true ;; *) false ;; esac; do [ "$1" != -x ] || export "$2"; shift 2; done
for i in $(seq $count); do "$@" & done; wait
"""
SRUN = """\
echo "$*" >>log
while case $1 in -*) true ;; *) false ;; esac; do count=${1#--ntasks=}; shift; done
for i in $(seq $count); do "$@" & done; wait
"""


@pytest.fixture
def elsewhere(tmp_path) -> dict[str, str]:
    """An environment whose ssh, mpirun and srun start processes here, and write what they were given into ``log``."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in (("ssh", SSH), ("mpirun", MPIRUN), ("srun", SRUN)):
        text = text.replace("TEST_MARK", "LAUNCH_TEST_MARK").replace(">>log", f">>{tmp_path}/log")
        (folder / name).write_text(f"#!/bin/bash\n{text}")
        (folder / name).chmod(0o755)
    (tmp_path / "my hosts").write_text("127.0.0.1\nlocalhost\n")
    return {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "SLURM_JOB_ID": "1",
        "SLURM_JOB_NUM_NODES": "2",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }


@pytest.mark.parametrize(
    ("arguments", "calls"),
    [(["-H", "my hosts"], 2 + 5), (["--launcher", "mpi", "-H", "my hosts"], 2), (["--launcher", "slurm"], 2)],
)
def test_roles_are_started_elsewhere_by_the_program_for_it(arguments, calls, elsewhere, tmp_path):
    # Command lines are for everybody to read.
    meet = (
        "cat /proc/*/cmdline >seen-$PORT 2>/dev/null; touch $PORT; "
        "while [ $(ls | grep -c '^[0-9]') != 3 ]; do sleep 0.1; done"
    )
    command = f"echo it\\'s $DMLC_ROLE of $DMLC_NUM_WORKER; {meet}; exit 9"
    given = ["-n", "3", "-s", "2", *arguments, "--host-ip", "127.0.0.1", "--", "bash", "-c", command]
    with launched(given, tmp_path, elsewhere) as launch:
        status, output, error = launch.end()
    assert status == 9, error
    assert sorted(output.splitlines()) == [f"[worker {rank}] it's worker of 3" for rank in range(3)]
    assert error.splitlines()[0] == "launch.py: " + ", ".join(
        f"{role} on {HOST}"
        for role in ("worker 0", "worker 1", "worker 2", "scheduler", "server 0", "server 1")
    )
    log = (tmp_path / "log").read_text()
    assert "secret" not in log
    token = re.compile(r"\b[0-9a-f]{32}\b")
    assert not token.search(log)
    for path in tmp_path.glob("seen-*"):
        assert "127.0.0.1" in (seen := path.read_text(errors="replace"))
        assert not [
            line for line in seen.split("\0") if "GLUON_RESNET_LAUNCHER=" in line and token.search(line)
        ]
    assert len(log.splitlines()) == calls


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("down", "launch.py: error: ssh does not reach the host down: down: no route"),
        (
            "late",
            "launch.py: error: not all processes could be started: "
            "ssh -o StrictHostKeyChecking=no late -p 22 ended with status 255",
        ),
    ],
)
def test_a_host_that_cannot_be_used_ends_the_start(host, message, elsewhere, tmp_path):
    (tmp_path / "hosts").write_text(f"127.0.0.1\n{host}\n")
    options = ["-n", "2", "-s", "2", "-H", "hosts", "--host-ip", "127.0.0.1", "--max-restarts", "3"]
    with launched([*options, "--", "true"], tmp_path, elsewhere) as launch:
        status, _, error = launch.end()
    assert status == 1
    assert error.splitlines()[-1] == message
    assert "GLUON_RESNET_LAUNCHER" not in error  # it has the token


def test_an_agent_that_cannot_reach_the_launcher_says_so():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    environment = {"GLUON_RESNET_LAUNCHER": f"127.0.0.1:{port}:token", "DMLC_ROLE": "worker"}
    agent = ROOT / "gluon_resnet" / "launch" / "agent.py"
    done = subprocess.run(
        [sys.executable, "-I", agent], env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"{HOST} cannot reach the launcher at 127.0.0.1:{port} ([Errno 111]")
    assert "token" not in done.stderr
