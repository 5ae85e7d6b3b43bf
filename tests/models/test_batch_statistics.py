"""Statistics of batch normalization over several batches, against those that MXNet's own layers keep of one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gluon_resnet._mxnet import mx
from gluon_resnet.models import get_model
from gluon_resnet.models.batch_statistics import measure_statistics, normalizations
from tests.support.fakes import tiny_net

SIZES = (5, 3, 8)


def new_net(name: str, devices: int = 1) -> Any:
    net = get_model(name, 10)
    mx.random.seed(3)
    net.initialize(mx.init.Xavier(), ctx=[mx.cpu(device) for device in range(devices)])
    return net


def images(size: int) -> Any:
    """Whose mean and spread depend on their number."""
    random = np.random.default_rng(size)
    return mx.nd.array(random.normal(size, size, (size, 3, 32, 32)))


def batch_statistics(net: Any, batch: Any) -> dict[str, np.ndarray]:
    """What the layers of `net` keep of a training step's forward and backward pass if they forget all before it."""
    net.hybridize(active=False)
    for block in normalizations(net).values():
        block._kwargs["momentum"] = 0.0
    with mx.autograd.record():
        net(batch).backward()
    mx.nd.waitall()
    return {
        name: parameter.data().asnumpy().astype("float64")
        for name, parameter in net._collect_params_with_prefix().items()
        if "running" in name
    }


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("name", ["resnet8", "bn_inception"])
def test_they_are_those_of_all_images_together(name, devices):
    sizes = SIZES[:2] if name == "bn_inception" else SIZES
    batches = [images(size) for size in sizes]
    each = [batch_statistics(new_net(name), batch) for batch in batches]
    net = new_net(name, devices)
    dealt = [[batch.as_in_context(mx.cpu(n % devices))] for n, batch in enumerate(batches)]
    measured = measure_statistics(net, dealt)
    weights = np.array(sizes) / sum(sizes)
    assert {f"{layer}.running_mean" for layer in measured} == {key for key in each[0] if "mean" in key}
    for layer, moments in measured.items():
        means, variances = (
            np.stack([one[f"{layer}.running_{kind}"] for one in each]) for kind in ("mean", "var")
        )
        mean = weights @ means
        np.testing.assert_allclose(moments.mean, mean, rtol=1e-4, atol=1e-4)
        variance = weights @ (variances + means**2) - mean**2
        np.testing.assert_allclose(moments.variance, variance, rtol=1e-3)


def test_the_network_stays_as_it_is():
    net = new_net("resnet8")
    before = {name: parameter.data().asnumpy() for name, parameter in net.collect_params().items()}
    measure_statistics(net, [[images(4)]])
    mx.nd.waitall()
    for name, parameter in net.collect_params().items():
        np.testing.assert_array_equal(parameter.data().asnumpy(), before[name])
    assert not any(block._forward_pre_hooks for block in normalizations(net).values())


def test_a_hybridized_network_and_a_last_batch_of_one_image():
    net = new_net("resnet8")
    net.hybridize(static_alloc=True, static_shape=True)
    net(images(4))
    whole, single = (
        measure_statistics(net, batches) for batches in ([[images(1)]], [[images(1)], [images(1)]])
    )
    for layer, moments in single.items():
        assert moments.size == 2 * whole[layer].size
        np.testing.assert_allclose(moments.variance, whole[layer].variance, rtol=1e-6)


def test_a_large_mean_costs_no_digits_of_the_variance():
    net = tiny_net(norm=True)
    random = np.random.default_rng(0)
    data = random.normal(3000, 1, (6, 3, 8, 8)).astype("float32")
    moments = measure_statistics(net, [[mx.nd.array(data[:2])], [mx.nd.array(data[2:])]])["1"]
    outputs = net[0](mx.nd.array(data)).asnumpy().astype("float64")
    np.testing.assert_allclose(moments.mean, outputs.mean(axis=(0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(moments.variance, outputs.var(axis=(0, 2, 3)), rtol=1e-3)


def test_layers_that_training_leaves_alone_are_not_measured():
    net = new_net("resnet8")
    assert len(normalizations(net)) == 7
    frozen, block = next(iter(normalizations(net).items()))
    block._kwargs["use_global_stats"] = True
    assert frozen not in normalizations(net)
    assert frozen not in measure_statistics(net, [[images(2)]])
    assert normalizations(new_net("vgg16")) == {}
