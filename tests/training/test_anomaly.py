"""Gradient norms, and steps that run out of range: what is measured, what an error names, what is saved."""

from __future__ import annotations

import json

import numpy as np
import pytest

from gluon_resnet._mxnet import mx
from gluon_resnet.errors import ModelError
from gluon_resnet.models.parameters import read_arrays
from gluon_resnet.runs.anomaly_file import AnomalyFile, state_prefix
from gluon_resnet.training.anomaly import Anomaly, Place, list_records
from gluon_resnet.training.checkpoints.checkpoint import Checkpoints
from gluon_resnet.training.fit import fit
from gluon_resnet.training.metrics import Sums
from gluon_resnet.training.position import Position
from gluon_resnet.training.schedule import Schedule
from gluon_resnet.training.trainer import Trainer
from tests.support.fakes import FakeLoader, random_batch, tiny_net

RUN = {
    "rank": 0,
    "world_size": 1,
    "seed": 5,
    "arguments": ["--lr", "0.1"],
    "command": "train.py --lr 0.1",
    "folder": "/somewhere",
    "settings": {"lr": 0.1},
    "versions": {"mxnet": "1.9.1"},
}


def trainer(contexts=1) -> Trainer:
    devices = [mx.cpu(i) for i in range(contexts)]
    return Trainer(tiny_net(devices, norm=True), devices, 4, momentum=0.0, weight_decay=0.0)


@pytest.mark.parametrize("contexts", [1, 2])
def test_the_gradient_norm_is_that_of_the_change_of_the_weights(contexts):
    """Without momentum and decay a step is -lr times the gradient."""
    ours, norms = trainer(contexts), []
    names = [name for name in ours.state() if "@" not in name]
    meter = ours.new_meter()
    for batch in FakeLoader(rows=7):
        before = ours.state()
        assert meter.gradient_norm == (pytest.approx(norms[-2], rel=1e-3) if len(norms) > 1 else None)
        ours.step(batch, 0.5, meter, "")
        after = ours.state()
        change = np.concatenate([(after[name] - before[name]).ravel() for name in names])
        norms.append(float(np.linalg.norm(change.astype("float64"))) / 0.5)
        assert meter.lagging.updates == len(norms) - 1  # one behind: nothing waits for it
    sums = meter.sums()
    assert (sums.updates, sums.mean_gradient_norm) == (5, pytest.approx(np.mean(norms), rel=1e-3))
    assert meter.gradient_norm == pytest.approx(norms[-1], rel=1e-3)


def test_mean_norms_of_an_interval_are_differences_of_sums():
    first, second = Sums(gradient_norms=2.0, updates=1), Sums(gradient_norms=8.0, updates=3)
    assert (second - first).mean_gradient_norm == 3.0
    assert (second - second).mean_gradient_norm is None
    assert (first + second).mean_gradient_norm == 2.5


def test_a_resumed_epoch_has_the_mean_norm_of_all_of_it(tmp_path):
    def run(name, stops):
        calls, position = iter(stops), None
        checkpoints, loader = Checkpoints(str(tmp_path / name), {}), FakeLoader()
        for _ in range(2):
            ours = trainer()
            position = checkpoints.resume(ours)
            stop = next(calls, None)
            asked = iter(range(100))
            fit(
                ours,
                loader,
                None,
                5,
                Schedule(0.1),
                position=position,
                checkpoints=checkpoints,
                stop=lambda: stop is not None and next(asked) >= stop,  # noqa: B023
            )
            if stop is None:
                break

    sums = []
    original = Checkpoints.save

    def noting(self, trainer, position, **options):
        sums.append(position.sums)
        original(self, trainer, position, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "save", noting)
        run("whole", [])
        run("stopped", [2])
    whole, part, rest = sums
    assert 0 < part.updates < 5
    assert whole == rest
    assert whole.updates == 5


class Bad(FakeLoader):
    """NaN in the third batch of the second epoch."""

    def __iter__(self):
        for number, batch in enumerate(super().__iter__()):
            if (self._epoch, number) == (1, 2):
                batch.ids = batch.ids + 7
                batch.data[1] = np.nan
            yield batch


def anomaly_of_a_run(prefix, contexts=1, checkpoints=None) -> Anomaly:
    with pytest.raises(Anomaly) as error:
        fit(trainer(contexts), Bad(), None, 15, Schedule(0.25), checkpoints=checkpoints)
    return error.value


@pytest.mark.parametrize("contexts", [1, 2])
def test_the_step_and_its_records_are_those_of_the_bad_batch(tmp_path, contexts):
    """And not of the one behind it, which is queued when the error comes."""
    anomaly = anomaly_of_a_run(tmp_path / "a", contexts)
    assert anomaly.where == Place(iteration=8, batch=3, epoch=2, epochs=3, lr=0.25)
    assert anomaly.records == list(range(107, 113))
    assert np.isnan(anomaly.gradient_norm)
    assert str(anomaly).startswith(
        "numbers ran out of range in iteration 8, batch 3 of epoch 2/3 (learning rate 0.25): loss "
    )
    assert "gradient norm nan" in str(anomaly)


def test_records_whose_own_loss_is_not_finite_are_named():
    net = mx.gluon.nn.HybridSequential()
    net.add(mx.gluon.nn.Dense(4, in_units=3 * 8 * 8))  # without a ReLU, which makes NaN 0
    net.initialize()
    ours = Trainer(net, [mx.cpu()], 4)
    batch, meter = random_batch(6), ours.new_meter()
    batch.data[2] = batch.data[5] = np.inf
    ours.step(batch, 0.1, meter, "a batch")
    with pytest.raises(Anomaly, match="the loss is not finite for records 102, 105") as error:
        meter.sums()
    assert error.value.bad_records == [102, 105]


def test_a_norm_alone_stops_training():
    ours = Trainer(tiny_net(), [mx.cpu()], 4)
    apply = ours._updates.apply
    ours._updates.apply = lambda lr, rows: apply(lr, rows) * np.inf
    meter = ours.new_meter()
    ours.step(random_batch(4), 0.1, meter, "a batch")
    with pytest.raises(Anomaly, match=r"in a batch: loss 1\.\d+, gradient norm inf"):
        meter.sums()


def test_what_is_saved_is_read_back_with_the_newest_state(tmp_path):
    prefix = str(tmp_path / "a")
    checkpoints = Checkpoints(prefix, {"lr": 0.1})
    anomaly = anomaly_of_a_run(prefix, checkpoints=checkpoints)
    saved = AnomalyFile.of(anomaly, **RUN)
    path = saved.save(prefix, anomaly, checkpoints)
    assert path == f"{prefix}-anomaly-00000008.json"
    assert AnomalyFile.load(path) == saved
    assert saved.place == anomaly.where
    assert (saved.gradient_norm, saved.records) == ("nan", anomaly.records)
    content = json.loads(
        (tmp_path / "a-anomaly-00000008.json").read_text(), parse_constant=lambda name: pytest.fail(name)
    )
    assert content["command"] == "train.py --lr 0.1"

    ours = trainer()
    assert fit(
        ours,
        FakeLoader(),
        None,
        10,
        Schedule(0.25),
        position=checkpoints.resume(ours),
        checkpoints=checkpoints,
    )
    kept = Checkpoints(state_prefix(path), {"lr": 0.1})  # though the run has gone on, and removed it
    assert kept.resume(ours) == Position(epoch=1, iteration=5, observed=kept.resume(ours).observed)
    whole = trainer()
    fit(whole, FakeLoader(), None, 5, Schedule(0.25))
    for name, array in whole.state().items():
        np.testing.assert_array_equal(ours.state()[name], array)


def test_a_run_that_has_saved_nothing_keeps_nothing_of_the_run_before_it(tmp_path):
    prefix = str(tmp_path / "a")
    fit(trainer(), FakeLoader(), None, 5, Schedule(0.1), checkpoints=Checkpoints(prefix, {}))
    anomaly = Anomaly(Place(3, 3, 1, 1, 0.1))
    AnomalyFile.of(anomaly, **RUN).save(prefix, anomaly, Checkpoints(prefix, {}))
    assert sorted(path.name for path in tmp_path.glob("a-anomaly*")) == ["a-anomaly-00000003.json"]


def test_a_state_before_the_step_takes_the_place_of_checkpoints(tmp_path):
    prefix = str(tmp_path / "a")
    checkpoints = Checkpoints(prefix, {})
    fit(trainer(), FakeLoader(), None, 5, Schedule(0.1), checkpoints=checkpoints)
    place, arrays = Place(6, 1, 2, 3, 0.1), {"x": np.arange(3, dtype="float32")}
    for state in (None, arrays):
        anomaly = Anomaly(place, state=state)
        AnomalyFile.of(anomaly, **RUN).save(prefix, anomaly, checkpoints)
    assert sorted(path.name for path in tmp_path.glob("a-anomaly*")) == [
        "a-anomaly-00000006.json",
        "a-anomaly-00000006.params",
    ]
    np.testing.assert_array_equal(read_arrays(tmp_path / "a-anomaly-00000006.params")["x"], arrays["x"])


def test_another_worker_writes_its_part_beside_the_first_ones(tmp_path):
    anomaly = Anomaly(Place(3, 3, 1, 1, 0.1), records=[4, 5])
    file = AnomalyFile.of(anomaly, **{**RUN, "rank": 1, "world_size": 2})
    path = file.save(str(tmp_path / "a"), anomaly, None)
    assert path == str(tmp_path / "a-anomaly-00000003-worker1.json")
    assert state_prefix(path) == state_prefix(str(tmp_path / "a-anomaly-00000003.json"))


@pytest.mark.parametrize(
    "change",
    [
        {"format": "gluon-resnet anomaly 0"},
        {"iteration": 0},
        {"iteration": "8"},
        {"batch": True},
        {"lr": "high"},
        {"arguments": "--lr 0.1"},
        {"arguments": [1]},
        {"records": [1.5]},
        {"rank": 1},
        {"folder": None},
        {"surprise": 1},
    ],
    ids=str,
)
def test_files_that_are_something_else_are_refused(tmp_path, change):
    anomaly = Anomaly(Place(3, 3, 1, 1, 0.1), records=[4])
    path = AnomalyFile.of(anomaly, **RUN).save(str(tmp_path / "a"), anomaly, None)
    with open(path, encoding="utf-8") as stream:
        content = json.load(stream)
    with open(path, "w", encoding="utf-8") as stream:
        json.dump({**content, **change}, stream)
    with pytest.raises(ModelError, match="is not an anomaly file"):
        AnomalyFile.load(path)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "null", "[" * 100_000, '{"format": "gluon-resnet anomaly 1"}', "\x00"]
)
def test_damaged_files_are_refused(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(ModelError, match="is not an anomaly file"):
        AnomalyFile.load(str(path))


def test_many_records_are_cut():
    assert list_records([3]) == "record 3"
    assert list_records([3, 4]) == "records 3, 4"
    assert list_records(range(12)).endswith("8, 9 and 2 more")
