"""Smoothed and mixed labels: against PyTorch and NumPy, on several devices, and resumed."""

from __future__ import annotations

import numpy as np
import pytest

from gluon_resnet._mxnet import mx
from gluon_resnet.training.loss import CrossEntropy
from gluon_resnet.training.mixup import Mixup
from gluon_resnet.training.trainer import Trainer
from tests.support.fakes import FakeBatch, random_batch, tiny_net


def cpus(count):
    return [mx.cpu(i) for i in range(count)]


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("weight", [None, 0.7])
def test_the_loss_is_pytorchs(smoothing, weight):
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(0)
    scores = random.standard_normal((9, 5)).astype("float32") * 5
    label, other = random.integers(0, 5, (2, 9))
    theirs = torch.nn.CrossEntropyLoss(label_smoothing=smoothing, reduction="none")
    leaf = torch.tensor(scores, requires_grad=True)
    expected = theirs(leaf, torch.tensor(label))
    mixed = ()
    if weight is not None:
        expected = weight * expected + (1 - weight) * theirs(leaf, torch.tensor(other))
        mixed = (mx.nd.array(other), mx.nd.array([weight]))
    expected.sum().backward()
    ours, loss = mx.nd.array(scores), CrossEntropy(smoothing)
    loss.hybridize()
    ours.attach_grad()
    with mx.autograd.record():
        found = loss(ours, mx.nd.array(label), *mixed)
    found.backward()
    np.testing.assert_allclose(found.asnumpy(), expected.detach().numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ours.grad.asnumpy(), leaf.grad.numpy(), atol=1e-5)


def test_without_smoothing_the_loss_is_gluons_to_the_bit():
    scores, label = mx.nd.random.normal(shape=(9, 5)), mx.nd.array([0, 1, 2, 3, 4, 0, 1, 2, 3])
    theirs = mx.gluon.loss.SoftmaxCrossEntropyLoss()
    assert (CrossEntropy()(scores, label) == theirs(scores, label)).asnumpy().all()


def one_layer():
    net = mx.gluon.nn.HybridSequential()
    net.add(mx.gluon.nn.Dense(3, in_units=3 * 2 * 2))
    mx.random.seed(1)
    net.initialize(mx.init.Normal(0.3))
    return net


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
@pytest.mark.parametrize("pad", [0, 2])
def test_steps_train_on_mixed_images_and_labels(dtype, pad):
    """Against mixing by hand in float64; errors count the label of greater weight."""
    net, mixup = one_layer(), Mixup(0.5, seed=3)
    trainer = Trainer(net, cpus(1), 3, momentum=0.0, weight_decay=0.0, mixup=mixup, label_smoothing=0.1)
    weight, bias = (net[0].weight.data().asnumpy(), net[0].bias.data().asnumpy())
    random, meter, loss, right = np.random.default_rng(0), trainer.new_meter(), 0.0, 0
    weights = [mixup.weight(iteration) for iteration in range(10, 16)]
    assert min(weights) < 0.5 < max(weights)
    rows = 7 - pad
    for iteration, w in zip(range(10, 16), weights):
        data = (random.random((7, 3, 2, 2)) * (255 if dtype == "uint8" else 1)).astype(dtype)
        label = random.integers(0, 3, 7)
        lr = 1e-6 if dtype == "uint8" else 0.1
        trainer.step(FakeBatch(data, label.astype("float32"), pad), lr, meter, "", iteration)

        partner = mixup.partners(iteration, 0, rows)
        flat, target = data[:rows].reshape(rows, -1).astype("float64"), np.eye(3)[label[:rows]]
        flat, target = w * flat + (1 - w) * flat[partner], w * target + (1 - w) * target[partner]
        target = 0.9 * target + 0.1 / 3
        scores = flat @ weight.T + bias
        probability = np.exp(scores - scores.max(axis=1, keepdims=True))
        probability /= probability.sum(axis=1, keepdims=True)
        loss -= (target * np.log(probability)).sum()
        greater = label[:rows] if w >= 0.5 else label[:rows][partner]
        right += (scores.argmax(axis=1) == greater).sum()
        slope = (probability - target) / rows
        weight, bias = weight - lr * slope.T @ flat, bias - lr * slope.sum(axis=0)
    np.testing.assert_allclose(net[0].weight.data().asnumpy(), weight, atol=2e-6)
    np.testing.assert_allclose(net[0].bias.data().asnumpy(), bias, atol=2e-6)
    sums = meter.sums()
    assert sums.loss == pytest.approx(loss, rel=1e-5)
    assert (sums.top1_right, sums.images) == (right, 6 * rows)


@pytest.mark.parametrize("contexts", [2, 3])
def test_each_device_mixes_its_own_part(contexts):
    """With one image for each device, or none, nothing is mixed with another."""
    batch, states = random_batch(2), []
    for mixup in (None, Mixup(0.5)):
        trainer = Trainer(tiny_net(cpus(contexts)), cpus(contexts), 4, mixup=mixup)
        trainer.step(batch, 0.1, trainer.new_meter(), "", 5)
        states.append(trainer.state())
    for name, array in states[0].items():
        np.testing.assert_allclose(states[1][name], array, atol=1e-7, err_msg=name)


def test_evaluation_neither_mixes_nor_smooths():
    batch = random_batch(6)
    plain = Trainer(tiny_net(), cpus(1), 4).evaluate([batch])
    assert Trainer(tiny_net(), cpus(1), 4, mixup=Mixup(0.5), label_smoothing=0.3).evaluate([batch]) == plain


def test_mixups_numbers_depend_on_seed_iteration_and_device_alone():
    mixup = Mixup(0.2, seed=4)
    weights = np.array([mixup.weight(i) for i in range(4000)])
    assert [Mixup(0.2, seed=4).weight(i) for i in (3999, 0)] == [weights[3999], weights[0]]
    assert abs(weights.mean() - 0.5) < 0.02
    # Beta(a, a) has the variance 1 / (4 (2a + 1)).
    assert weights.var() == pytest.approx(1 / (4 * 1.4), rel=0.03)
    assert np.unique(weights).size > 3900  # some round to 0 or 1
    orders = [mixup.partners(i, device, 64).tolist() for i, device in ((0, 0), (0, 1), (1, 0))]
    orders.append(Mixup(0.2, seed=5).partners(0, 0, 64).tolist())
    assert all(sorted(order) == list(range(64)) for order in orders)
    assert len({tuple(order) for order in orders}) == 4
    assert mixup.partners(0, 0, 64).tolist() == orders[0]
