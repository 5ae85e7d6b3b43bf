"""A training step: against NumPy, on several devices, with padding, and with bad input."""

from __future__ import annotations

import numpy as np
import pytest

from gluon_resnet._mxnet import mx
from gluon_resnet.errors import DataError, GluonResnetError
from gluon_resnet.training.metrics import Meter, Sums
from gluon_resnet.training.trainer import Trainer
from tests.support.fakes import FakeBatch, FakeLoader, random_batch, tiny_net


def cpus(count):
    return [mx.cpu(i) for i in range(count)]


def train(batches, contexts=1, norm=False, lr=0.1, **options):
    """The trainer after a step with each of `batches`, and the sums."""
    trainer = Trainer(tiny_net(cpus(contexts), norm), cpus(contexts), 4, **options)
    meter = trainer.new_meter()
    for batch in batches:
        trainer.step(batch, lr, meter, "a batch")
    return trainer, meter.sums()


def assert_same(state, expected, tolerance):
    assert set(state) == set(expected)
    for name in state:
        np.testing.assert_allclose(state[name], expected[name], rtol=0, atol=tolerance, err_msg=name)


def test_steps_are_sgd_with_momentum_and_weight_decay():
    net = mx.gluon.nn.HybridSequential()
    net.add(mx.gluon.nn.Dense(3, in_units=3 * 2 * 2))
    net.initialize(mx.init.Normal(0.3))
    trainer = Trainer(net, cpus(1), 3, momentum=0.9, weight_decay=0.01)
    weight, bias = (net[0].weight.data().asnumpy(), net[0].bias.data().asnumpy())
    velocity = [np.zeros_like(weight), np.zeros_like(bias)]
    random = np.random.default_rng(0)
    meter, loss = trainer.new_meter(), 0.0
    for lr in (0.2, 0.1, 0.05):
        data = random.random((5, 3, 2, 2), dtype="float32")
        label = random.integers(0, 3, 5)
        trainer.step(FakeBatch(data, label.astype("float32")), lr, meter, "")

        flat = data.reshape(5, -1).astype("float64")
        scores = flat @ weight.T + bias
        probability = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        loss -= np.log(probability[np.arange(5), label]).sum()
        slope = (probability - np.eye(3)[label]) / 5
        for i, (value, gradient) in enumerate(((weight, slope.T @ flat), (bias, slope.sum(axis=0)))):
            velocity[i] = 0.9 * velocity[i] - lr * (gradient + 0.01 * value)
        weight, bias = weight + velocity[0], bias + velocity[1]
    np.testing.assert_allclose(net[0].weight.data().asnumpy(), weight, atol=1e-6)
    np.testing.assert_allclose(net[0].bias.data().asnumpy(), bias, atol=1e-6)
    assert meter.sums().loss == pytest.approx(loss, rel=1e-5)


def test_batch_normalization_is_per_device():
    """Two devices equal one where their parts have the same statistics, and only there."""
    half = list(FakeLoader(batches=3, rows=4))
    twice = [FakeBatch(np.concatenate([b.data] * 2), np.concatenate([b.label] * 2)) for b in half]
    one, _ = train(twice, norm=True)
    two, _ = train(twice, contexts=2, norm=True)
    assert_same({k: v for k, v in two.state().items() if not k.endswith("@1")}, one.state(), 1e-5)

    batches = list(FakeLoader(batches=3, rows=8))
    one, _ = train(batches, norm=True)
    two, _ = train(batches, contexts=2, norm=True)
    for device in (0, 1):  # what a device's part would have given it alone, the first step included
        part = slice(4 * device, 4 * device + 4)
        first = FakeBatch(batches[0].data[part], batches[0].label[part])
        alone, _ = train([first], norm=True)
        both, _ = train(batches[:1], contexts=2, norm=True)
        for name in ("1.running_mean", "1.running_var"):
            np.testing.assert_allclose(
                both.state()[f"{name}@{device}"], alone.state()[f"{name}@0"], rtol=1e-6
            )
    name = "1.running_mean"
    first, second = two.state()[f"{name}@0"], two.state()[f"{name}@1"]
    assert not np.array_equal(first, second)
    two.average_statistics()
    np.testing.assert_allclose(two.state()[f"{name}@0"], (first + second) / 2, rtol=1e-6)
    np.testing.assert_array_equal(two.state()[f"{name}@0"], two.state()[f"{name}@1"])


@pytest.mark.parametrize("contexts", [1, 2])
def test_padding_does_not_count(contexts):
    short = list(FakeLoader(batches=3, rows=5))
    padded = []
    for batch in short:
        poison = np.full((3, *batch.data.shape[1:]), np.nan, "float32")
        label = np.concatenate([batch.label, batch.label[:1].repeat(3)])
        padded.append(FakeBatch(np.concatenate([batch.data, poison]), label, pad=3))
    expected, expected_sums = train(short, contexts, norm=True)
    trainer, sums = train(padded, contexts, norm=True)
    assert_same(trainer.state(), expected.state(), 0)
    assert sums == expected_sums
    assert trainer.evaluate(padded) == expected.evaluate(short)
    assert trainer.evaluate(padded).images == 15


def test_evaluation_uses_running_statistics_and_changes_nothing():
    trainer, _ = train(FakeLoader(batches=2), norm=True)
    before = trainer.state()
    batch = random_batch(6)
    together = trainer.evaluate([batch])
    single = [FakeBatch(batch.data[i : i + 1], batch.label[i : i + 1]) for i in range(6)]
    assert trainer.evaluate(single).loss == pytest.approx(together.loss, rel=1e-5)
    assert_same(trainer.state(), before, 0)


def test_a_validation_counts_what_each_class_was_taken_for():
    trainer, _ = train(FakeLoader(batches=2))
    batches = [random_batch(6, random=np.random.default_rng(seed)) for seed in range(3)]
    batches[2].pad = 2
    confusion = np.full((4, 4), 9, np.int64)  # what another validation left
    sums = trainer.evaluate(batches, confusion)
    expected = np.zeros((4, 4), np.int64)
    for batch in batches:
        answers = trainer.net(mx.nd.array(batch.data)).asnumpy().argmax(axis=1)
        for label, answer in list(zip(batch.label.astype(int), answers))[: 6 - batch.pad]:
            expected[label, answer] += 1
    assert (confusion == expected).all()
    assert (confusion.sum(), np.trace(confusion)) == (16, sums.top1_right)


def test_weight_decay_can_spare_normalization_and_biases():
    gamma, weight = "1.gamma", "0.weight"
    states = {}
    for spared in (False, True):
        for decay in (0.0, 0.5):
            trainer, _ = train([random_batch(6)], norm=True, weight_decay=decay, decay_bn_and_bias=not spared)
            states[spared, decay] = trainer.state()
    assert np.array_equal(states[True, 0.0][gamma], states[True, 0.5][gamma])
    assert not np.array_equal(states[False, 0.0][gamma], states[False, 0.5][gamma])
    assert not np.array_equal(states[True, 0.0][weight], states[True, 0.5][weight])


def test_meter_counts_like_numpy():
    random = np.random.default_rng(0)
    meter = Meter(classes=7, top_k=3)
    expected = Sums()
    for rows in (4, 9, 1):
        scores = random.standard_normal((rows, 7)).astype("float32")
        label = random.integers(0, 7, rows)
        loss = random.random(rows).astype("float32")
        order = np.argsort(-scores, axis=1)
        expected += Sums(
            float(loss.astype("float64").sum()),
            int((order[:, 0] == label).sum()),
            int((order[:, :3] == label[:, None]).any(axis=1).sum()),
            rows,
        )
        meter.add([(mx.nd.array(scores), mx.nd.array(loss), mx.nd.array(label))], "")
    sums = meter.sums()
    assert sums.loss == pytest.approx(expected.loss, rel=1e-6)
    assert (sums.top1_right, sums.topk_right, sums.images) == (
        expected.top1_right,
        expected.topk_right,
        expected.images,
    )
    assert sums.top1_error == pytest.approx(100 * (1 - expected.top1_right / 14))
    assert sums.mean_loss == sums.loss / 14


def test_top_k_of_few_classes_and_equal_scores():
    scores, loss, label = mx.nd.zeros((2, 4)), mx.nd.ones(2), mx.nd.array([0, 3])
    meter = Meter(classes=4, top_k=5)
    meter.add([(scores, loss, label)], "")
    assert meter.sums().top1_right == 0  # all classes alike: that is no answer
    assert meter.sums().topk_right == 2


@pytest.mark.parametrize(("norm", "value"), [(False, np.inf), (True, np.inf), (True, np.nan)])
def test_numbers_out_of_range_stop_with_their_batch(norm, value):
    """Also NaN behind a ReLU, which makes it 0 and the loss finite."""
    trainer = Trainer(tiny_net(norm=norm), cpus(1), 4)
    meter = trainer.new_meter()
    bad = random_batch(4)
    bad.data[0, 0, 0, 0] = value
    trainer.step(random_batch(4), 0.1, meter, "batch 1")
    trainer.step(bad, 0.1, meter, "batch 2")
    with pytest.raises(GluonResnetError, match="out of range in batch 2"):
        meter.sums()
    with pytest.raises(GluonResnetError, match="no longer finite"):
        trainer.state()


@pytest.mark.parametrize("label", [4, -1, 0.5, np.nan])
def test_a_label_that_is_no_class_names_its_record(label):
    batch = random_batch(4)
    batch.label[2] = label
    with pytest.raises(DataError, match=r"record 102: label .* is not one of 0 to 3") as error:
        train([batch])
    assert error.value.key == 102


def test_several_labels_an_image_are_refused():
    batch = random_batch(4)
    batch.label = np.zeros((4, 2), "float32")
    with pytest.raises(DataError, match="one label per image"):
        train([batch])
    batch.label = np.zeros((4, 1), "float32")
    train([batch])
