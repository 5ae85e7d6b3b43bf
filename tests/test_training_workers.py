"""Several workers, as processes on the loopback: sums over them, and learning rates that follow all of their errors."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import shared_training
from cluster import cluster
from shared_training import ITERATIONS, RUNS

from gluon_resnet.training.metrics import Sums
from gluon_resnet.training.workers import Workers


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> tuple[dict, list[dict]]:
    """What one worker alone came to, and the two of a cluster, by rank."""
    one, two = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    program = pathlib.Path(shared_training.__file__)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MXNET_MKLDNN_ENABLED", "0")  # or weights that were trained cannot be set
        patch.setenv("MXNET_STORAGE_FALLBACK_LOG_VERBOSE", "0")
        patch.setenv("PYTHONPATH", str(program.parent.parent))
        with cluster([[str(program), str(two)]] * 2, two) as processes:
            subprocess.run([sys.executable, str(program), str(one)], check=True, timeout=90)
            for process in processes:  # the scheduler and the server end, too
                _, err = process.communicate(timeout=90)
                assert process.returncode == 0, err
    files = (one / "worker0.json", two / "worker0.json", two / "worker1.json")
    alone, *both = (json.loads(file.read_text()) for file in files)
    return alone, both


def test_sums_over_workers_are_of_their_own_round(runs):
    for worker in runs[1]:
        for n, values in enumerate(worker["sums"]):
            assert values == [3 * n, 2**49 - 3, 8190][: 1 + n % 3]
        assert worker["any"] == [True, False, True]
        assert worker["agree"] == [True, False, True]


@pytest.mark.parametrize("name", RUNS)
def test_two_workers_have_the_rates_of_one_with_the_combined_batch(runs, name):
    one, two = runs
    assert len(one[name]["rates"]) == ITERATIONS
    assert len(set(one[name]["rates"])) >= 3
    for worker in two:
        assert worker[name]["rates"] == one[name]["rates"]
        for parameter, weights in one[name]["weights"].items():
            np.testing.assert_allclose(
                worker[name]["weights"][parameter], weights, atol=1e-6, err_msg=parameter
            )
    assert two[0][name]["weights"] == two[1][name]["weights"]


@pytest.mark.parametrize("after", [3, 5, 13])
def test_workers_stop_with_the_one_that_is_asked_to_and_go_on_to_the_same_bits(runs, after):
    for worker in (runs[0], *runs[1]):
        assert worker[f"stopped {after}"] == worker["all of it"]


def test_one_worker_alone_adds_up_nothing():
    with Workers() as workers:
        assert (workers.rank, workers.count) == (0, 1)
        assert workers.sum([1, 2**48 - 1]) == [1, 2**48 - 1]
        assert workers.total(Sums(1.5, 2, 3, 4)) == Sums(1.5, 2, 3, 4)
        assert (workers.any(True), workers.any(False), workers.agree(7)) == (True, False, True)
