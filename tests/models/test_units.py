"""One unit at a time: against slow NumPy, hybridized against imperative, and where the stride is."""

from __future__ import annotations

import numpy as np
import pytest

from gluon_resnet._mxnet import mx
from gluon_resnet.models.units import BASIC, BOTTLENECK, VARIANTS, PreactivatedUnit, Unit
from tests.support import oracle_nn


def make_unit(kind, in_channels, channels, stride, shortcut, variant="v1", **arguments):
    """A unit with random weights and random batch normalization, and its parameters by name."""
    mx.random.seed(3)
    make = PreactivatedUnit if VARIANTS[variant].preactivated else Unit
    unit = make(kind, in_channels, channels, stride, VARIANTS[variant], shortcut, prefix="unit_", **arguments)
    unit.initialize()
    for name, parameter in unit.collect_params(".*gamma|.*beta").items():
        parameter.set_data(mx.nd.random.uniform(0.5 if "gamma" in name else -0.5, 1.5, parameter.shape))
    return unit, {k: p.data().asnumpy() for k, p in unit._collect_params_with_prefix().items()}


def layer(values, prefix, convolution, stride):
    norm = f"{prefix}.{convolution + 1}"
    return values[f"{prefix}.{convolution}.weight"], values[f"{norm}.gamma"], values[f"{norm}.beta"], stride


@pytest.mark.parametrize("shortcut", ["A", "B", "C", None])
@pytest.mark.parametrize(
    ("kind", "variant", "in_channels", "channels", "stride"),
    [
        (BASIC, "v1", 4, 8, 2),
        (BASIC, "v1", 8, 8, 1),
        (BOTTLENECK, "v1", 8, 16, 2),
        (BOTTLENECK, "v1b", 8, 16, 2),
        (BOTTLENECK, "v1", 4, 16, 1),
    ],
)
def test_a_unit_is_the_papers(kind, variant, in_channels, channels, stride, shortcut):
    unit, values = make_unit(kind, in_channels, channels, stride, shortcut, variant)
    x = np.random.default_rng(0).normal(size=(3, in_channels, 7, 6)).astype("float32")
    with mx.autograd.train_mode():
        ours = unit(mx.nd.array(x)).asnumpy()

    strides = [
        stride if index == VARIANTS[variant].strided[kind] else 1 for index in range(len(kind.kernels))
    ]
    body = [layer(values, "body", 3 * index, s) for index, s in enumerate(strides)]
    changes = in_channels != channels or stride > 1
    branch = None
    if shortcut == "C" or (shortcut == "B" and changes):
        weight, gamma, beta, _ = layer(values, "shortcut", 0, stride)
        assert weight.shape == (channels, in_channels, 1, 1)
        branch = oracle_nn.batch_norm(oracle_nn.convolution(x, weight, stride), gamma, beta)
    elif shortcut:
        assert not any(name.startswith("shortcut") for name in values)
        branch = oracle_nn.padded_identity(x, channels, stride)
    # float32 sums of up to 72 products, normalized: a few units in the last place of values around 1.
    np.testing.assert_allclose(ours, oracle_nn.unit(x, body, branch), rtol=0, atol=2e-5)


@pytest.mark.parametrize("activated", [False, True])
@pytest.mark.parametrize("shortcut", ["A", "B", "C"])
@pytest.mark.parametrize(
    ("kind", "in_channels", "channels", "stride", "variant"),
    [
        *((BASIC, 4, 8, 2, "v2"), (BASIC, 8, 8, 1, "v2")),
        *((BOTTLENECK, 8, 16, 2, "v2"), (BOTTLENECK, 16, 16, 1, "v2")),
        *((BASIC, 4, 8, 2, "gluoncv_v2"), (BASIC, 8, 8, 1, "gluoncv_v2")),
    ],
)
def test_a_preactivated_unit_is_the_papers(kind, in_channels, channels, stride, variant, shortcut, activated):
    unit, values = make_unit(kind, in_channels, channels, stride, shortcut, variant, activated=activated)
    x = np.random.default_rng(0).normal(size=(3, in_channels, 7, 6)).astype("float32")
    with mx.autograd.train_mode():
        ours = unit(mx.nd.array(x)).asnumpy()

    norms = [("activation.0.gamma", "activation.0.beta")]
    norms += [(f"body.{3 * i + 1}.gamma", f"body.{3 * i + 1}.beta") for i in range(len(kind.kernels) - 1)]
    strided = {BASIC: 0, BOTTLENECK: 1}[kind]
    body = [
        (values[f"body.{3 * i}.weight"], values.get(gamma), values.get(beta), stride if i == strided else 1)
        for i, (gamma, beta) in enumerate(norms)
    ]
    assert (body[0][1] is None) == activated
    changes = in_channels != channels or stride > 1

    def branch(x, activated):
        activated = x if variant == "gluoncv_v2" else activated
        if shortcut == "C" or (shortcut == "B" and changes):
            return oracle_nn.convolution(activated, values["shortcut.0.weight"], stride)
        return oracle_nn.padded_identity(activated if changes else x, channels, stride)

    used = 2 * len(body) + len(body) - 2 * activated + ("shortcut.0.weight" in values)
    assert used == sum("running" not in name for name in values)
    expected = oracle_nn.preactivated_unit(x, body, branch)
    # Not normalized: float32 sums of up to 72 products, of values up to 30.
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", [BASIC, BOTTLENECK])
@pytest.mark.parametrize("variant", ["v1", "v2"])
def test_a_unit_that_begins_as_its_shortcut_learns_at_once(kind, variant):
    unit, _ = make_unit(kind, 8, 8, 1, "A", variant, zero_gamma=True)
    unit.initialize(force_reinit=True)  # make_unit has set the scales
    x = mx.nd.random.normal(shape=(2, 8, 5, 5))
    with mx.autograd.record():
        y = unit(x)
    y.backward(mx.nd.random.normal(shape=y.shape))
    shortcut = x if variant == "v2" else mx.nd.relu(x)
    np.testing.assert_array_equal(y.asnumpy(), shortcut.asnumpy())
    last = unit.body[-1].weight if variant == "v2" else unit.body[-1].gamma
    assert np.abs(last.data().asnumpy()).max() == 0
    assert np.abs(last.grad().asnumpy()).min() > 0


@pytest.mark.parametrize(
    ("shortcut", "variant"), [*(("ABC"[i], v) for i in range(3) for v in ("v1", "v2")), (None, "v1")]
)
@pytest.mark.parametrize("kind", [BASIC, BOTTLENECK])
def test_hybridized_equals_imperative(kind, shortcut, variant):
    unit, _ = make_unit(kind, 8, 16, 2, shortcut, variant)
    x = mx.nd.random.normal(shape=(2, 8, 9, 9))
    results = []
    for hybrid in (False, True):
        unit.hybridize(hybrid, static_alloc=hybrid, static_shape=hybrid)
        x.attach_grad()
        with mx.autograd.record():
            y = unit(x)
        y.backward(mx.nd.sin(mx.nd.arange(y.size)).reshape(y.shape))
        trained = [p for p in unit.collect_params().values() if p.grad_req != "null"]
        results.append([y.asnumpy(), x.grad.asnumpy(), *(p.grad().asnumpy() for p in trained)])
    for imperative, hybridized in zip(*results):
        np.testing.assert_allclose(imperative, hybridized, rtol=1e-5, atol=1e-5)


def test_option_a_passes_the_gradient_to_every_other_pixel():
    unit, _ = make_unit(BASIC, 2, 4, 2, "A")
    x = mx.nd.ones((1, 2, 4, 4))
    x.attach_grad()
    with mx.autograd.record():
        y = unit.shortcut(x)
    y.backward()
    expected = np.zeros((1, 2, 4, 4))
    expected[:, :, ::2, ::2] = 1
    np.testing.assert_array_equal(x.grad.asnumpy(), expected)


def test_batch_normalization_follows_the_batch_and_then_stands_still():
    unit, _ = make_unit(BASIC, 4, 4, 1, None)
    x = mx.nd.random.normal(shape=(8, 4, 5, 5))
    batch = unit.body[0](x)
    with mx.autograd.record():
        y = unit(x)
    y.backward()  # MXNet updates the running statistics here, not in the forward pass
    running = unit.body[1].running_mean.data().asnumpy()
    np.testing.assert_allclose(running, 0.1 * batch.mean(axis=(0, 2, 3)).asnumpy(), atol=1e-6)  # momentum 0.9
    unit(x)
    np.testing.assert_array_equal(unit.body[1].running_mean.data().asnumpy(), running)
