"""Several workers, as processes on the loopback: sums over them, and learning rates that follow all of their errors."""

from __future__ import annotations

import json
import pathlib
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from gluon_resnet.errors import UsageError
from gluon_resnet.training.distributed.engine import Engine
from gluon_resnet.training.distributed.workers import Workers
from gluon_resnet.training.metrics import Sums
from tests.support import shared_training
from tests.support.cluster import HAS_HOROVOD, NEEDS_HOROVOD, cluster, horovodrun
from tests.support.paths import ROOT
from tests.support.shared_training import ITERATIONS, RUNS


@pytest.fixture(scope="module")
def program() -> Iterator[str]:
    """A path, in an environment in which it works."""
    path = pathlib.Path(shared_training.__file__)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MXNET_MKLDNN_ENABLED", "0")  # or weights that were trained cannot be set
        patch.setenv("MXNET_STORAGE_FALLBACK_LOG_VERBOSE", "0")
        patch.setenv("PYTHONPATH", str(ROOT))
        yield str(path)


@pytest.fixture(scope="module")
def alone(program, tmp_path_factory) -> dict:
    """What one worker came to."""
    folder = tmp_path_factory.mktemp("one")
    subprocess.run([sys.executable, program, str(folder), "local"], check=True, timeout=600)
    return json.loads((folder / "worker0.json").read_text())


@pytest.fixture(scope="module", params=["dist_sync", "horovod"])
def runs(request, program, alone, tmp_path_factory) -> tuple[dict, list[dict]]:
    """What one worker alone came to, and two, by rank."""
    folder = tmp_path_factory.mktemp("two")
    command = [program, str(folder), request.param]
    if request.param == "horovod":
        if not HAS_HOROVOD:
            pytest.skip(NEEDS_HOROVOD)
        with horovodrun(command, 2, folder) as process:
            out, err = process.communicate(timeout=600)
            assert process.returncode == 0, (out, err)
    else:
        with cluster([command] * 2, folder) as processes:
            for process in processes:  # the scheduler and the server end, too
                _, err = process.communicate(timeout=600)
                assert process.returncode == 0, err
    return alone, [json.loads((folder / f"worker{rank}.json").read_text()) for rank in range(2)]


class Threads(Engine):
    """Workers that are threads of this process."""

    def __init__(self, rank: int, count: int, shared: dict) -> None:
        super().__init__("device", rank, count)
        self._shared = shared

    def sum(self, values):
        parts, barrier = self._shared["parts"], self._shared["barrier"]
        parts[self.rank] = list(values)
        barrier.wait()
        result = [sum(column) for column in zip(*parts)]
        barrier.wait()
        return result


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([{"lr": 0.1}] * 3, None),
        (
            [{"lr": 0.1}, {"lr": 0.5}, {"lr": 0.1}],
            r"worker 1 .* \(lr: 0\.5 there, 0\.1 with worker 0\): start all",
        ),
        (
            [{"lr": 0.1}, {"lr": 0.1}, {"lr": 0.1, "seed": 7}],
            r"worker 2 .* \(seed: 7 there, nothing with worker 0\)",
        ),
        (
            [{"a": "\x1b[31mé" * 99}, {"a": 3}, {}],
            r'worker 1 .* \(a: 3 there, "\\u001b\[31m\\u00e9.*\.\.\. with',
        ),
        ([{str(n): n for n in range(9)}, {}, {}], r"worker 1 .*; and 4 more\)"),
    ],
)
def test_all_are_told_what_one_of_them_does_otherwise(values, told):
    shared = {"parts": [None] * 3, "barrier": threading.Barrier(3, timeout=600)}

    def work(rank):
        try:
            Workers(Threads(rank, 3, shared)).require_same(values[rank])
        except UsageError as error:
            return str(error)

    with ThreadPoolExecutor(3) as pool:
        said = list(pool.map(work, range(3)))
    assert len(set(said)) == 1
    assert said[0] is None if told is None else re.search(told, said[0])


def test_sums_over_workers_are_of_their_own_round(runs):
    for worker in runs[1]:
        for n, values in enumerate(worker["sums"]):
            assert values == [3 * n, 2**49 - 3, 8190][: 1 + n % 3]
        assert worker["any"] == [True, False, True]
        assert worker["agree"] == [True, False, True]


@pytest.mark.parametrize("name", RUNS)
def test_two_workers_have_the_rates_and_results_of_one_with_the_combined_batch(runs, name):
    one, two = runs
    assert len(one[name]["rates"]) == ITERATIONS
    assert len(set(one[name]["rates"])) >= 3
    for worker in two:
        assert worker[name]["rates"] == one[name]["rates"]
        assert worker[name]["errors"] == one[name]["errors"]
        np.testing.assert_allclose(worker[name]["losses"], one[name]["losses"], rtol=1e-5)
        for parameter, weights in one[name]["weights"].items():
            np.testing.assert_allclose(
                worker[name]["weights"][parameter], weights, atol=1e-6, err_msg=parameter
            )
    assert two[0][name]["weights"] == two[1][name]["weights"]


@pytest.mark.parametrize("after", [3, 5, 13])
def test_workers_stop_with_the_one_that_is_asked_to_and_go_on_to_the_same_bits(runs, after):
    for worker in (runs[0], *runs[1]):
        stopped, whole = worker[f"stopped {after}"], worker["all of it"]
        for name in ("rates", "errors", "weights"):
            assert stopped[name] == whole[name], name
        np.testing.assert_allclose(stopped["losses"], whole["losses"], rtol=1e-6)  # their sums are rounded


def test_one_worker_alone_adds_up_nothing():
    with Workers() as workers:
        assert (workers.rank, workers.count) == (0, 1)
        assert workers.sum([1, 2**48 - 1]) == [1, 2**48 - 1]
        assert workers.total(Sums(1.5, 2, 3, 4)) == Sums(1.5, 2, 3, 4)
        assert (workers.any(True), workers.any(False), workers.agree(7)) == (True, False, True)
