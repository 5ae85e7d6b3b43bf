"""Several workers, as processes on the loopback: sums over them, and learning rates that follow all of their errors."""

from __future__ import annotations

import json

import numpy as np
import pytest
import shared_training
from cluster import cluster
from shared_training import ITERATIONS, RUNS, Run

from gluon_resnet.training.metrics import Sums
from gluon_resnet.training.workers import Workers


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> list[dict]:
    """What the two workers of a cluster came to, by rank."""
    folder = tmp_path_factory.mktemp("two")
    command = [shared_training.__file__, str(folder)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MXNET_MKLDNN_ENABLED", "0")  # or weights that were trained cannot be set
        with cluster([command, command], folder) as processes:
            for process in processes:  # the scheduler and the server end, too
                out, err = process.communicate(timeout=90)
                assert process.returncode == 0, (out, err)
    return [json.loads((folder / f"worker{rank}.json").read_text()) for rank in (0, 1)]


def test_sums_over_workers_are_of_their_own_round(two):
    for worker in two:
        for n, values in enumerate(worker["sums"]):
            assert values == [3 * n, 2**49 - 3, 8190][: 1 + n % 3]
        assert worker["any"] == [True, False, True]
        assert worker["agree"] == [True, False, True]


@pytest.mark.parametrize("name", RUNS)
def test_two_workers_have_the_rates_of_one_with_the_combined_batch(two, tmp_path, name):
    one = Run("local", Workers())(name, str(tmp_path / "one"))
    assert len(one["rates"]) == ITERATIONS
    assert len(set(one["rates"])) >= 3
    for worker in two:
        assert worker[name]["rates"] == one["rates"]
        for parameter, weights in one["weights"].items():
            np.testing.assert_allclose(
                worker[name]["weights"][parameter], weights, atol=1e-5, err_msg=parameter
            )
    assert two[0][name]["weights"] == two[1][name]["weights"]


@pytest.mark.parametrize("after", [3, 5, 13])
def test_workers_stop_with_the_one_that_is_asked_to_and_go_on_to_the_same_bits(two, after):
    for worker in two:
        assert worker[f"stopped {after}"] == worker["all of it"]


def test_one_worker_alone_adds_up_nothing():
    with Workers() as workers:
        assert (workers.rank, workers.count) == (0, 1)
        assert workers.sum([1, 2**48 - 1]) == [1, 2**48 - 1]
        assert workers.total(Sums(1.5, 2, 3, 4)) == Sums(1.5, 2, 3, 4)
        assert (workers.any(True), workers.any(False), workers.agree(7)) == (True, False, True)
