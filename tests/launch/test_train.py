"""tools/launch.py with tools/train.py: any process may be killed, and nothing hangs, stays behind or is lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys

import pytest

from tests.support.launched import TRAIN, launched
from tests.support.paths import ROOT
from tests.support.small_training import training_options

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

HOST = socket.gethostname()


@pytest.fixture(scope="module")
def train(tmp_path_factory) -> list[str]:
    """What a launcher of two workers and a server takes, to train on small batches."""
    options = training_options(tmp_path_factory.mktemp("records"))
    training = ["--batch-size", "4", "--kv-store", "dist_sync", "--model-prefix", "a"]
    return ["-n", "2", "-s", "1", "--", "python", TRAIN, *options, *training]


@pytest.fixture(scope="module")
def whole(train, tmp_path_factory) -> bytes:
    """The weights after four epochs without a break."""
    folder = tmp_path_factory.mktemp("whole")
    with launched([*train, "--num-epochs", "4"], folder) as launch:
        status, output, _ = launch.end(240)
    assert status == 0
    assert "[worker 0] saved a-0004.params" in output
    return (folder / "a-0004.params").read_bytes()


@pytest.mark.parametrize("name", ["worker 0", "worker 1", "server 0", "scheduler"])
def test_kill_9_of_a_process_ends_all_and_its_name_and_last_lines_are_told(train, tmp_path, name):
    role, _, rank = name.partition(" ")
    with launched([*train, "--num-epochs", "1000"], tmp_path) as launch:
        launch.wait_for("a-log.jsonl")
        launch.commands(role)[int(rank or 0)].kill()
        status, _, error = launch.end()
    assert status == 128 + signal.SIGKILL
    said = error[error.index("launch.py: error: ") :].splitlines()
    assert said[0].startswith(f"launch.py: error: {name} on {HOST} was killed by SIGKILL")
    assert all(line.startswith(f"    [{name}] ") for line in said[1:])
    assert ("    [worker 0] " in error) == (name == "worker 0")  # which is the one that says something


@pytest.mark.parametrize("role", ["worker", "server"])
def test_kill_9_of_an_agent_ends_its_command_and_all_others(train, tmp_path, role):
    with launched([*train, "--num-epochs", "1000"], tmp_path) as launch:
        launch.wait_for("a-log.jsonl")
        launch.agents(role)[0].kill()
        status, _, error = launch.end()
    assert status == 1
    assert f"launch.py: error: {role} 0 on {HOST} was lost: its agent was killed" in error


def test_kill_9_of_the_launcher_ends_all(train, tmp_path):
    with launched([*train, "--num-epochs", "1000"], tmp_path) as launch:
        launch.wait_for("a-log.jsonl")
        assert (
            len(launch.processes()) > 8
        )  # the tracker, and an agent, a leader of its group and a command for each
        launch.process.kill()
        launch.end()


def test_kill_9_of_the_tracker_changes_nothing(train, tmp_path):
    with launched([*train, "--num-epochs", "1000"], tmp_path) as launch:
        launch.wait_for("a-log.jsonl")
        (tracker,) = (
            process for process in launch.processes() if "starter.py" in " ".join(process.cmdline())
        )
        tracker.kill()
        launch.wait_for("a-log.jsonl", (tmp_path / "a-log.jsonl").stat().st_size)
        launch.process.terminate()
        assert launch.end()[0] == 128 + signal.SIGTERM


def test_a_signal_lets_the_workers_save_and_the_run_goes_on_to_the_same_bits(train, whole, tmp_path):
    command = [*train, "--num-epochs", "4"]
    with launched(command, tmp_path) as launch:
        launch.wait_for("a-log.jsonl")
        launch.process.send_signal(signal.SIGINT)
        status, output, error = launch.end()
    assert status == 128 + signal.SIGINT
    assert "launch.py: SIGINT: the workers will save their states and end" in error
    assert "stopped; the state is in a" in output
    with launched([*command, "--resume"], tmp_path) as launch:
        assert launch.end(240)[0] == 0
    assert (tmp_path / "a-0004.params").read_bytes() == whole


def test_a_second_signal_ends_all_at_once(train, tmp_path):
    with launched([*train, "--num-epochs", "1000"], tmp_path) as launch:
        launch.wait_for("a-log.jsonl")
        for worker in launch.commands("worker"):
            worker.suspend()  # a step that takes for ever
        launch.process.terminate()
        for line in launch.process.stderr:
            if "SIGTERM" in line:
                break
        launch.process.terminate()
        assert launch.end()[0] == 128 + signal.SIGTERM


def test_a_run_that_is_started_again_ends_with_the_weights_of_one_never_broken(train, whole, tmp_path):
    with launched(["--max-restarts", "2", *train, "--num-epochs", "4", "--resume"], tmp_path) as launch:
        launch.wait_for("a-log.jsonl")
        launch.commands("worker")[1].kill()
        status, _, error = launch.end(300)
    assert status == 0
    assert f"launch.py: worker 1 on {HOST} was killed by SIGKILL; restart 1 of 2 in 1 s" in error.splitlines()
    assert "error" not in error.replace("train.py: error: worker", "")
    log = (tmp_path / "a-log.jsonl").read_text()
    assert [json.loads(line)["epoch"] for line in log.splitlines()] == [1, 2, 3, 4]
    assert (tmp_path / "a-0004.params").read_bytes() == whole


def test_bad_arguments_are_not_tried_again(train, tmp_path):
    command = ["--max-restarts", "3", *train, "--resume", "--num-layers", "9"]
    with launched(command, tmp_path) as launch:
        status, _, error = launch.end()
    assert status == 2
    assert "restart" not in error
    assert "    [worker " in error
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("ip"), reason="needs root and iproute2")
def test_a_host_that_loses_its_link_ends_the_run_which_then_goes_on():
    script = ROOT / "scripts" / "netns_training.sh"
    done = subprocess.run(
        [script], env={**os.environ, "PYTHON": sys.executable}, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("ok: ") == 7
