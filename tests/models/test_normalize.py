"""Normalization inside the network: right, and touched by nothing."""

from __future__ import annotations

import numpy as np
import pytest

from gluon_resnet._mxnet import gluon, mx
from gluon_resnet.errors import UsageError
from gluon_resnet.models import Normalize, with_normalization

MEAN, STD = (123.68, 116.779, 103.939), (58.393, 57.12, 57.375)


def column(values):
    return np.reshape(values, (-1, 1, 1)).astype("float32")


def build_net(mean=MEAN, std=STD):
    inner = gluon.nn.HybridSequential(prefix="net_")
    with inner.name_scope():
        inner.add(gluon.nn.Conv2D(2, 3, in_channels=3), gluon.nn.GlobalAvgPool2D())
    return with_normalization(inner, mean, std)


def make_net(contexts=None, **hybrid):
    net = build_net()
    net.initialize(mx.init.MSRAPrelu(), ctx=contexts)
    net.hybridize(**hybrid)
    return net


def constants(net, context=None):
    return net[0].mean.data(context).asnumpy(), net[0].std.data(context).asnumpy()


def assert_untouched(net, context=None):
    mean, std = constants(net, context)
    np.testing.assert_array_equal(mean, column(MEAN))
    np.testing.assert_array_equal(std, column(STD))


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("hybrid", [False, True])
def test_it_normalizes(dtype, hybrid):
    x = np.random.default_rng(1).integers(0, 256, (2, 3, 5, 4)).astype(dtype)
    normalize = Normalize(MEAN, STD)
    normalize.initialize()
    normalize.hybridize(hybrid)
    y = normalize(mx.nd.array(x, dtype=dtype))
    assert y.dtype == np.float32
    np.testing.assert_allclose(y.asnumpy(), (x - column(MEAN)) / column(STD), rtol=1e-6, atol=1e-6)


def test_a_mean_per_pixel():
    """He et al. 2015, §3.4 and §4.2, subtract one."""
    rng = np.random.default_rng(2)
    x, mean = rng.uniform(0, 255, (2, 3, 5, 4)), rng.uniform(0, 255, (3, 5, 4))
    normalize = Normalize(mean, (1, 1, 1))
    normalize.initialize()
    np.testing.assert_allclose(normalize(mx.nd.array(x)).asnumpy(), x - mean, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("mean", "std"),
    [
        ((1, 2), (1, 1, 1)),
        (5.0, (1, 1, 1)),
        (np.zeros((1, 4, 4)), (1, 1, 1)),
        ((0, 0, float("nan")), (1, 1, 1)),
        ((0, 0, 0), (1, 0, 1)),
        ((0, 0, 0), (1, -1, 1)),
        ((0, 0, 0), (1, float("nan"), 1)),
        ((0, 0, 0), (1, float("inf"), 1)),
    ],
)
def test_impossible_statistics(mean, std):
    with pytest.raises(UsageError):
        Normalize(mean, std)


def test_training_does_not_touch_it():
    contexts = [mx.cpu(0), mx.cpu(1)]
    net = make_net(contexts, static_alloc=True, static_shape=True)
    trainer = gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.5, "wd": 0.5, "momentum": 0.9})
    for _ in range(2):
        with mx.autograd.record():
            losses = [net(mx.nd.random.uniform(0, 255, (2, 3, 8, 8), ctx=c)).sum() for c in contexts]
        mx.autograd.backward(losses)
        trainer.step(4)
    net.collect_params().setattr("grad_req", "write")  # as when gradients are accumulated
    assert net[0].mean.grad_req == "null"
    for context in contexts:
        assert_untouched(net, context)


def test_initializing_again_does_not_touch_it():
    net = make_net()
    net.initialize(mx.init.Zero(), force_reinit=True)
    assert (net[1][0].weight.data().asnumpy() == 0).all()
    assert_untouched(net)


def test_saved_and_exported_values_are_those_of_the_file(tmp_path):
    net = make_net()
    x = mx.nd.random.uniform(0, 255, (2, 3, 8, 8))
    expected = net(x).asnumpy()
    net.save_parameters(str(tmp_path / "a.params"))
    other = build_net((0, 0, 0), (1, 1, 1))
    contexts = [mx.cpu(0), mx.cpu(1)]
    other.load_parameters(str(tmp_path / "a.params"), ctx=contexts)
    for context in contexts:
        assert_untouched(other, context)
        np.testing.assert_array_equal(other(x.as_in_context(context)).asnumpy(), expected)

    net.export(str(tmp_path / "a"))
    files = [str(tmp_path / name) for name in ("a-symbol.json", "a-0000.params")]
    imported = gluon.SymbolBlock.imports(files[0], ["data"], files[1])
    np.testing.assert_array_equal(imported(x).asnumpy(), expected)


def test_cast_changes_what_comes_out_only():
    """In float16 the differences between neighbouring grey levels would be lost."""
    normalize = Normalize(MEAN, STD)
    normalize.initialize()
    normalize.hybridize()
    x = mx.nd.random.uniform(0, 255, (2, 3, 4, 4))
    full = normalize(x).asnumpy()
    normalize.cast("float16")
    half = normalize(x)
    assert half.dtype == np.float16
    np.testing.assert_array_equal(half.asnumpy(), full.astype("float16"))
    assert normalize.mean.dtype == "float32"
