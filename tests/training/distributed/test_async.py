"""dist_async over the loopback: one worker against SGD, and two that learn, stop and go on."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from tests.support import shared_async
from tests.support.cluster import cluster
from tests.support.paths import ROOT

PROGRAM = pathlib.Path(shared_async.__file__)


@pytest.fixture(autouse=True)
def path(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def run(folder: pathlib.Path, task: str, count: int, servers: int = 1) -> list[dict]:
    """What each of `count` workers wrote, by rank."""
    with cluster([[str(PROGRAM), str(folder), task]] * count, folder, servers) as processes:
        for process in processes:  # the scheduler and the servers end, too
            _, err = process.communicate(timeout=600)
            assert process.returncode == 0, err
    return [json.loads((folder / f"{task}{rank}.json").read_text()) for rank in range(count)]


def assert_same(state, expected, tolerance):
    assert state.keys() == expected.keys()
    for name, values in state.items():
        np.testing.assert_allclose(values, expected[name], rtol=0, atol=tolerance, err_msg=name)


def test_one_worker_and_two_servers_are_sgd_that_follows_the_rates(tmp_path):
    """With momentum, weight decay of weights only, and a rate that falls and rises while momentum stays."""
    (found,) = run(tmp_path, "steps", 1, servers=2)
    subprocess.run([sys.executable, PROGRAM, tmp_path, "steps", "local"], check=True, timeout=600)
    expected = json.loads((tmp_path / "steps0.json").read_text())
    assert len(found["states"]) == len(shared_async.RATES)
    for ours, theirs in zip(found["states"], expected["states"]):
        assert_same(ours, theirs, 1e-6)
    first, second = expected["states"][:2]
    assert first != second


def test_two_workers_learn_wait_at_epochs_only_and_end_with_equal_weights(tmp_path):
    zero, one = run(tmp_path, "learned", 2)
    assert zero["error"] < 35  # chance: 75 %
    assert zero["state"] == one["state"]
    assert zero["rates"] == one["rates"]
    assert len(set(zero["rates"])) > 2


def test_one_that_is_asked_to_stop_stops_both_and_they_go_on(tmp_path):
    assert [worker["done"] for worker in run(tmp_path, "stopped", 2)] == [False, False]
    zero, one = run(tmp_path, "resumed", 2)
    assert 0 < zero["iteration"] == one["iteration"] < 10**6
    for worker in (zero, one):
        weights = [name for name in worker["before"] if "running" not in name]
        for name in weights:
            assert worker["after"][name] == zero["before"][name]
