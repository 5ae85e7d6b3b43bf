"""Running statistics over two workers with two devices each, against those of each part alone."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest

from gluon_resnet._mxnet import mx
from gluon_resnet.training.trainer import Trainer
from tests.support import shared_statistics
from tests.support.cluster import HAS_HOROVOD, NEEDS_HOROVOD, cluster, horovodrun
from tests.support.fakes import tiny_net
from tests.support.shared_statistics import batch, batches, statistics

PROGRAM = pathlib.Path(shared_statistics.__file__)


@pytest.fixture(scope="module")
def alone() -> list[dict[str, np.ndarray]]:
    """The statistics after the first step of a device that has only its own part."""
    parts = []
    for part in range(4):
        trainer = Trainer(tiny_net(norm=True), [mx.cpu()], 4)
        trainer.step(batch(part), 0.1, trainer.new_meter(), "")
        parts.append(statistics(trainer.state()))
    return parts


def expected(alone: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The statistics of a mixture of equal parts, by the law of total variance."""
    means = np.array([part["1.running_mean@0"] for part in alone], "float64")
    variances = np.array([part["1.running_var@0"] for part in alone], "float64")
    variance = variances.mean(axis=0) + means.var(axis=0)
    return {"1.running_mean": means.mean(axis=0), "1.running_var": variance}


@pytest.fixture(scope="module", params=["dist_sync", "dist_async", "horovod"])
def workers(request, tmp_path_factory) -> tuple[str, list[dict[str, np.ndarray]]]:
    """The engine, and what the workers wrote."""
    folder = tmp_path_factory.mktemp("statistics")
    command = [str(PROGRAM), str(folder), request.param]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MXNET_MKLDNN_ENABLED", "0")  # or weights that were trained cannot be set
        if request.param != "horovod":
            with cluster([command] * 2, folder) as processes:
                for process in processes:
                    _, err = process.communicate(timeout=600)
                    assert process.returncode == 0, err
        elif HAS_HOROVOD:
            with horovodrun(command, 2, folder) as process:
                _, err = process.communicate(timeout=600)
                assert process.returncode == 0, err
        else:
            pytest.skip(NEEDS_HOROVOD)
    return request.param, [dict(np.load(folder / f"{rank}.npz")) for rank in range(2)]


def test_a_state_has_the_statistics_of_each_device_of_each_worker(workers, alone):
    name, found = workers
    if name == "dist_async":
        assert not any(key.startswith("restored") for key in found[0])
        return
    assert (
        found[0]["names"].tolist() == found[1]["names"].tolist()
    )  # in one order: states are compared by a checksum
    for worker in found:
        for number, part in enumerate(alone):
            for statistic in ("1.running_mean", "1.running_var"):
                for title in ("gathered", "restored"):
                    np.testing.assert_allclose(
                        worker[f"{title} {statistic}@{number}"], part[f"{statistic}@0"], rtol=1e-5
                    )
                np.testing.assert_array_equal(
                    worker[f"gathered {statistic}@{number}"], worker[f"restored {statistic}@{number}"]
                )


def test_all_devices_of_all_workers_get_the_statistics_of_all_parts(workers, alone):
    for statistic, values in expected(alone).items():
        for worker in workers[1]:
            for number in range(4):
                found = worker[f"averaged {statistic}@{number}"]
                np.testing.assert_allclose(found, values, rtol=1e-5)
                np.testing.assert_array_equal(found, workers[1][0][f"averaged {statistic}@0"])
    spread = np.var([part["1.running_mean@0"] for part in alone], axis=0)
    assert (spread > 0.1 * expected(alone)["1.running_var"]).any()  # or the plain mean would do, too


def test_recomputed_statistics_are_those_of_all_batches_of_all_workers(workers, alone):
    images = np.concatenate([b.data for part in range(4) for b in batches(part, 1)])
    for worker in workers[1]:
        for number in range(4):
            for statistic, over in (("mean", np.mean), ("var", np.var)):
                # The first layer's weights have changed by the workers' own steps, which all have the same.
                outputs = worker["outputs"].astype("float64")
                assert len(outputs) == len(images)
                found = worker[f"recomputed 1.running_{statistic}@{number}"]
                np.testing.assert_allclose(found, over(outputs, axis=(0, 2, 3)), rtol=1e-5)
                np.testing.assert_array_equal(found, workers[1][0][f"recomputed 1.running_{statistic}@0"])


def test_two_devices_are_combined_as_two_workers_are(alone):
    devices = [mx.cpu(0), mx.cpu(1)]
    trainer = Trainer(tiny_net(devices, norm=True), devices, 4)
    trainer.step(batch(0, 2), 0.1, trainer.new_meter(), "")
    trainer.average_statistics()
    for statistic, values in expected(alone[:2]).items():
        for number in range(2):
            np.testing.assert_allclose(trainer.state()[f"{statistic}@{number}"], values, rtol=1e-5)
