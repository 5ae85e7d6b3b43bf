"""Checked training steps: the same numbers as others, and the first that is not finite is named."""

from __future__ import annotations

import re

import numpy as np
import pytest

from gluon_resnet._mxnet import mx
from gluon_resnet.training.anomaly import Anomaly
from gluon_resnet.training.detect import DetectingTrainer, Values
from gluon_resnet.training.mixup import Mixup
from gluon_resnet.training.trainer import Trainer
from tests.support.fakes import FakeBatch, FakeLoader, random_batch, tiny_net


def cpus(count):
    return [mx.cpu(i) for i in range(count)]


def detecting(contexts=1, **options) -> DetectingTrainer:
    return DetectingTrainer(tiny_net(cpus(contexts), norm=True), cpus(contexts), 4, **options)


def caught(trainer, batch, lr=0.1) -> Anomaly:
    """What a step with `batch` ends with."""
    with pytest.raises(Anomaly) as error:
        trainer.step(batch, lr, trainer.new_meter(), "the step")
    return error.value


@pytest.mark.parametrize("contexts", [1, 2])
@pytest.mark.parametrize("rows", [6, 7, 1])
def test_checked_steps_train_as_others_do(contexts, rows):
    options = {"mixup": Mixup(0.4), "label_smoothing": 0.1}
    plain = Trainer(tiny_net(cpus(contexts), norm=True), cpus(contexts), 4, **options)
    checked = detecting(contexts, **options)
    results = []
    for trainer in (plain, checked):
        meter = trainer.new_meter()
        for iteration, batch in enumerate(FakeLoader(rows=rows)):
            trainer.step(batch, 0.1, meter, "", iteration)
        sums = meter.sums()
        results.append((trainer.state(), sums, trainer.evaluate(FakeLoader(rows=rows)).loss))
    (state, sums, loss), (other_state, other_sums, other_loss) = results
    assert set(state) == set(other_state)
    for name in state:
        np.testing.assert_allclose(other_state[name], state[name], rtol=0, atol=1e-5, err_msg=name)
    assert other_sums.loss == pytest.approx(sums.loss, rel=1e-5)
    assert other_sums.mean_gradient_norm == pytest.approx(sums.mean_gradient_norm, rel=1e-4)
    assert other_loss == pytest.approx(loss, rel=1e-5)


def poison_conv(trainer):
    weight = trainer.net[0].weight
    value = weight.data(mx.cpu()).asnumpy()
    value[3] = np.inf
    weight.set_data(mx.nd.array(value))


def poison_beta(trainer):
    trainer.net[1].beta.set_data(mx.nd.full(8, -np.inf))


@pytest.mark.parametrize(
    ("poison", "found"),
    [
        (poison_conv, r"first in the output of 0 \(Conv2D\): 256 of 2048 values not finite, the others from"),
        (
            poison_beta,
            r"first in the output of 1 \(BatchNorm\): 2048 of 2048 values not finite \(records 100, 101",
        ),
    ],
)
def test_the_first_block_is_named(poison, found):
    trainer = detecting()
    poison(trainer)
    anomaly = caught(trainer, random_batch(4))
    assert str(anomaly).startswith("numbers ran out of range in the step: first in ")
    assert np.array_equal(anomaly.records, [100, 101, 102, 103])
    assert re.search(found, str(anomaly)), anomaly


@pytest.mark.parametrize("contexts", [1, 2, 3])
@pytest.mark.parametrize("row", [0, 4, 6])
def test_a_bad_image_is_named_by_its_record(contexts, row):
    batch = random_batch(7)
    batch.data[row, 1, 2, 3] = np.nan
    anomaly = caught(detecting(contexts), batch)
    assert anomaly.bad_records == [100 + row]
    assert "first in the images: 1 of " in str(anomaly)
    assert f"(record {100 + row})" in str(anomaly)


@pytest.mark.parametrize("contexts", [1, 2])
def test_padding_is_not_looked_at(contexts):
    batch = random_batch(6)
    padded = FakeBatch(batch.data.copy(), batch.label, pad=2)
    padded.data[4:] = np.nan
    trainer = detecting(contexts)
    trainer.step(padded, 0.1, trainer.new_meter(), "")
    batch.data[4] = np.nan
    assert caught(trainer, batch).records == list(range(100, 106))


class Cliff(mx.gluon.HybridBlock):
    """The square root: its value at 0 is finite, its slope is not."""

    def hybrid_forward(self, F, x):
        return F.sqrt(F.relu(x))


def test_a_gradient_is_named_where_all_outputs_are_finite():
    net = mx.gluon.nn.HybridSequential()
    net.add(mx.gluon.nn.Dense(5, in_units=3 * 8 * 8), Cliff(), mx.gluon.nn.Dense(4, in_units=5))
    net.initialize(mx.init.Zero())
    net[2].weight.set_data(mx.nd.ones((4, 5)) * mx.nd.arange(4).reshape((4, 1)))
    trainer = DetectingTrainer(net, cpus(1), 4)
    before = trainer.state()
    anomaly = caught(trainer, random_batch(6))
    assert "first in the gradient of 0.bias: 5 of 5 values not finite" in str(anomaly)
    assert anomaly.bad_records == []
    after = trainer.state()
    for name in before:
        np.testing.assert_array_equal(after[name], before[name])  # nothing was updated


def test_weights_that_an_update_spoils_are_named_and_the_state_before_is_kept():
    trainer = detecting(weight_decay=100.0)
    batches = list(FakeLoader(batches=2))
    trainer.step(batches[0], 0.1, trainer.new_meter(), "")
    before = trainer.state()
    anomaly = caught(trainer, batches[1], lr=3e38)
    assert "after the step" in str(anomaly)
    assert set(anomaly.state) == set(before)
    for name, array in before.items():
        np.testing.assert_array_equal(anomaly.state[name], array)


class Scaler:
    """A loss scaler of this scale."""

    def __init__(self, scale):
        self.loss_scale = self._loss_scale = self._next_loss_scale = scale
        self._unskipped = 0

    def has_overflow(self, parameters):
        return not all(np.isfinite(p.list_grad()[0].asnumpy()).all() for p in parameters)


def overflowing(kind, scale):
    """A trainer whose gradients are not finite, and the batch for it."""
    trainer = kind(tiny_net(), cpus(1), 4, scaler=Scaler(scale))
    original = trainer._updates._sgd._allreduce_grads

    def spoil():
        trainer.net[0].weight.grad()[:] = np.inf
        original()

    trainer._updates._sgd._allreduce_grads = spoil
    return trainer


@pytest.mark.parametrize("kind", [Trainer, DetectingTrainer])
def test_a_scaler_skips_gradients_that_overflow_until_its_scale_is_below_1(kind):
    trainer = overflowing(kind, 1.0)
    before, meter = trainer.state(), trainer.new_meter()
    trainer.step(random_batch(4), 0.1, meter, "")
    sums = meter.sums()
    assert (sums.updates, sums.mean_gradient_norm, meter.gradient_norm) == (0, None, np.inf)
    for name, array in trainer.state().items():
        np.testing.assert_array_equal(array, before[name])

    trainer = overflowing(kind, 0.5)
    meter = trainer.new_meter()
    with pytest.raises(Anomaly, match=r"in the step: loss \S+, gradient norm inf, loss scale 0.5"):
        trainer.step(random_batch(4), 0.1, meter, "the step")
        meter.sums()


def test_everything_is_shown_to_who_wants_to_see_it():
    trainer, seen = detecting(2), []
    trainer.see = seen.append
    batch, meter = random_batch(4), trainer.new_meter()
    batch.data[0, 0, 0, 0] = np.nan
    with pytest.raises(Anomaly):  # the meter's, at the end
        trainer.step(batch, 0.1, meter, "")
    blocks = [
        ("images", "", (2, 3, 8, 8)),
        ("output", "0 (Conv2D)", (2, 8, 8, 8)),
        ("output", "1 (BatchNorm)", (2, 8, 8, 8)),
        ("output", "2 (Activation)", (2, 8, 8, 8)),
        ("output", "3 (GlobalAvgPool2D)", (2, 8, 1, 1)),
        ("output", "4 (Dense)", (2, 4)),
    ]
    forward = [(v.kind, v.name, v.shape) for v in seen if v.kind in ("images", "output", "loss")]
    assert forward == [*blocks, *blocks, ("loss", "", (4,))]
    assert (seen[0].low, seen[0].high) == (np.nanmin(batch.data[:2]), np.nanmax(batch.data[:2]))
    assert [v.name for v in seen if v.kind == "output"][:2] == ["0 (Conv2D)", "1 (BatchNorm)"]
    assert [v.bad > 0 for v in seen[:3]] == [
        True,
        True,
        True,
    ]  # the images, the convolution, the normalization


def test_gradients_are_of_the_mean_loss_over_all_devices():
    trainer, seen = detecting(3), []
    trainer.see = seen.append
    meter = trainer.new_meter()
    trainer.step(random_batch(7), 0.1, meter, "")
    gradients = {v.name: v.norm for v in seen if v.kind == "gradient"}
    assert set(gradients) == {name for name in trainer.state() if ":" not in name and "@" not in name}
    norm = np.sqrt(sum(norm**2 for norm in gradients.values()))
    assert norm == pytest.approx(meter.gradient_norm, rel=1e-5)
    assert trainer.losses.shape == (7,)
    assert trainer.losses.sum() == pytest.approx(meter.sums().loss, rel=1e-5)


@pytest.mark.parametrize(
    ("array", "low", "high", "bad", "records"),
    [
        ([[1.0, -2.0], [np.nan, 3.0]], -2, 3, 1, (8,)),
        ([[np.inf, -np.inf], [np.nan, np.nan]], np.nan, np.nan, 4, (7, 8)),
        ([[0.0, 0.5], [0.25, 1.0]], 0, 1, 0, ()),
    ],
)
def test_values_are_numpys(array, low, high, bad, records):
    values = Values.of("output", "x", np.array(array, "float32"), [7, 8])
    np.testing.assert_array_equal([values.low, values.high], [low, high])
    assert (values.bad, values.records) == (bad, records)
