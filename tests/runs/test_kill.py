"""Training killed with SIGKILL at random steps and gone on with: the bits of a run that never stopped."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys

import pytest

from tests.support.paths import ROOT
from tests.support.small_training import training_options

TRAIN = ROOT / "tools" / "train.py"
ITERATIONS = 24  # 6 epochs of 4 batches


@pytest.fixture(scope="module")
def records(tmp_path_factory) -> list[str]:
    return training_options(tmp_path_factory.mktemp("records"))


def start(options, prefix, **pipes) -> subprocess.Popen:
    command = [sys.executable, str(TRAIN), *options, "--model-prefix", str(prefix), "--resume"]
    return subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, text=True, **pipes)


def kill_after(process: subprocess.Popen, steps: int) -> None:
    """Kill `process` when it says that it has done so many more steps, unless it ends before."""
    assert process.stderr
    for line in process.stderr:
        steps -= "images/s" in line
        if not steps:
            process.send_signal(signal.SIGKILL)
            break
    process.stderr.read()


def results(prefix):
    """All that a run leaves behind, but for times, and states before the last one."""
    folder, name = prefix.parent, prefix.name
    networks = {path.name[len(name) :]: path.read_bytes() for path in folder.glob(f"{name}-0*.params")}
    state = json.loads((folder / f"{name}-resume.json").read_text())
    arrays = (folder / state["arrays"]["name"]).read_bytes()
    log = [json.loads(line) for line in (folder / f"{name}-log.jsonl").read_text().splitlines()]
    for record in log:
        for time in ("seconds", "images_per_second", "data_wait", "communication"):
            del record[time]
    links = [os.readlink(f"{prefix}-{link}.params")[len(name) :] for link in ("best", "last")]
    return networks, {**state["position"], "seconds": None}, arrays, log, links


@pytest.mark.slow
@pytest.mark.parametrize(
    "more",
    [
        ["--save-every", "1"],
        ["--save-every", "3", "--cpus", "2", "--lr-mode", "plateau", "--lr-patience", "0"],
        ["--save-every", "0", "--recipe", "cifar10-modern", "--lr", "0.05"],
    ],
    ids=["every step", "two devices", "modern"],
)
def test_a_killed_run_goes_on_to_the_same_bits(records, tmp_path, more):
    options = [*records, "--num-iterations", str(ITERATIONS), "--disp-batches", "1", *more]
    with start(options, tmp_path / "whole", stdout=subprocess.DEVNULL) as process:
        assert process.wait(600) == 0
    expected = results(tmp_path / "whole")
    random_steps = random.Random(repr(more))
    for number in range(3):
        prefix, kills = tmp_path / f"killed{number}", 0
        while True:
            with start(options, prefix, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
                kill_after(process, random_steps.randint(5, ITERATIONS - 1))
                status = process.wait(600)
            assert status in (0, -signal.SIGKILL)
            if not status:
                break
            kills += 1
        assert kills
        assert results(prefix) == expected
