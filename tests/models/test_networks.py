"""Whole networks: sizes, strides, gradients; names; initialization; export."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest

from gluon_resnet._mxnet import gluon, mx
from gluon_resnet.errors import UsageError
from gluon_resnet.models import get_model, model_names, with_normalization
from gluon_resnet.models.registry import split_variant

NETS = [n for n in model_names() if n.startswith(("resnet", "plain"))]


@pytest.mark.parametrize("name", [n for n in NETS if not n.endswith("1202")])
def test_maps_have_the_sizes_of_the_tables(name):
    net = get_model(name, classes=7)
    imagenet = net.output.weight.shape[1] >= 512
    size, expected = (224, (56, 28, 14, 7)) if imagenet else (32, (32, 16, 8))
    x = mx.sym.var("data")
    stages = [block for block in net.features if isinstance(block, gluon.nn.HybridSequential)]
    sizes = []
    for index in range(len(net.features)):
        x = net.features[index](x)
        if net.features[index] in stages:
            sizes.append(x.infer_shape(data=(2, 3, size, size))[1][0][2:])
    assert sizes == [(s, s) for s in expected]
    assert net.output(x).infer_shape(data=(2, 3, size, size))[1] == [(2, 7)]


@pytest.mark.parametrize(
    ("name", "variant", "strided"),
    [
        *(("resnet50", "v1", 0), ("resnet50", "v1b", 1), ("resnet50", "v2", 1)),
        *(("resnet18", "v1", 0), ("resnet18", "v1b", 0), ("resnet18", "v2", 0)),
    ],
)
def test_which_convolution_carries_the_stride(name, variant, strided):
    attributes = get_model(name, variant=variant)(mx.sym.var("data")).attr_dict()
    with_stride = [node for node, values in attributes.items() if values.get("stride") == "(2, 2)"]
    expected = [f"{name}_conv0_fwd", f"{name}_pool0_fwd"]
    for stage in (2, 3, 4):
        unit = f"{name}_stage{stage}_unit1_"
        expected += [f"{unit}conv{strided}_fwd", f"{unit}shortcut_conv0_fwd"]
    assert sorted(with_stride) == sorted(expected)


@pytest.mark.parametrize("depth", [18, 50])
def test_v2_computes_what_mxnets_model_zoo_does(depth):
    mx.random.seed(2)
    zoo, ours = (
        gluon.model_zoo.vision.get_resnet(2, depth, classes=7),
        get_model(f"resnet{depth}", 7, variant="v2"),
    )
    x = mx.nd.random.normal(shape=(2, 3, 64, 64))
    zoo.initialize(mx.init.Xavier())
    zoo(x)  # it learns its shapes
    normalizes = zoo.features[0].params  # the input, with mean 0 and variance 1
    for name, parameter in zoo.collect_params(".*(gamma|beta|running_mean)").items():
        if name not in normalizes:
            parameter.set_data(mx.nd.random.uniform(0.5, 1.5, parameter.shape))
    ours.initialize()
    layers = [[], []]
    for net, found in zip((zoo, ours), layers):
        kinds = (gluon.nn.Conv2D, gluon.nn.BatchNorm, gluon.nn.Dense)
        net.apply(
            lambda block, found=found, kinds=kinds: found.append(block) if isinstance(block, kinds) else None
        )
    assert [type(block) for block in layers[0][1:]] == [type(block) for block in layers[1]]
    for theirs, own in zip(
        layers[0][1:], layers[1]
    ):  # the first one normalizes the input: mean 0, variance 1
        for name, parameter in own._collect_params_with_prefix().items():
            parameter.set_data(theirs._collect_params_with_prefix()[name].data())
    expected = zoo(x).asnumpy()
    assert np.isfinite(expected).all()
    # It divides the input by sqrt(1 + 1e-5).
    np.testing.assert_allclose(ours(x).asnumpy(), expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("shape", [(1, 3, 1, 1), (3, 3, 37, 50)])
@pytest.mark.parametrize(
    ("name", "variant"),
    [
        *(("resnet18", "v1"), ("resnet8", "v1"), ("plain8", "v1"), ("resnet8", "v2")),
        *(("resnet8", "gluoncv_v1"), ("resnet8", "gluoncv_v2")),
    ],
)
def test_any_size_and_batch(name, variant, shape):
    net = get_model(name, 3, "A" if "res" in name else None, variant)
    net.initialize()
    assert net(mx.nd.random.normal(shape=shape)).shape == (shape[0], 3)


@pytest.mark.parametrize(
    ("name", "shortcut", "variant"),
    [
        *(("resnet20", "A", "v1"), ("resnet20", "C", "v1"), ("plain20", None, "v1"), ("resnet50", "B", "v1")),
        *(("resnet20", "A", "v2"), ("resnet50", "B", "v2")),
        *(("resnet20", "B", "gluoncv_v1"), ("resnet20", "C", "gluoncv_v2")),
    ],
)
def test_the_gradient_reaches_every_parameter(name, shortcut, variant):
    mx.random.seed(0)
    net = get_model(name, 5, shortcut, variant)
    net.initialize()
    net.hybridize(static_alloc=True, static_shape=True)
    x = mx.nd.random.normal(shape=(4, 3, 33, 33))
    with mx.autograd.record():
        loss = gluon.loss.SoftmaxCrossEntropyLoss()(net(x), mx.nd.array([0, 1, 2, 3]))
    loss.backward()
    for parameter in net.collect_params().values():
        if parameter.grad_req != "null":
            gradient = parameter.grad().asnumpy()
            assert np.isfinite(gradient).all(), parameter.name
            assert np.abs(gradient).max() > 0, parameter.name


@pytest.mark.parametrize("variant", ["v1", "v2", "gluoncv_v1", "gluoncv_v2"])
def test_hybridized_equals_imperative(variant):
    net = get_model("resnet20", 10, variant=variant)
    net.initialize()
    x = mx.nd.random.normal(shape=(2, 3, 32, 32))
    imperative = net(x).asnumpy()
    net.hybridize(static_alloc=True, static_shape=True)
    np.testing.assert_allclose(net(x).asnumpy(), imperative, rtol=1e-5, atol=1e-5)


def test_the_last_pooling_of_a_cifar_net_is_global_average_pooling():
    pool = get_model("resnet20", classes=10).features[-1]
    assert isinstance(pool, gluon.nn.GlobalAvgPool2D)  # multi-scale testing looks for it
    x = mx.nd.random.normal(shape=(3, 64, 8, 8))
    results = []
    for layer in (pool, gluon.nn.GlobalAvgPool2D()):
        x.attach_grad()
        with mx.autograd.record():
            y = layer(x)
        y.backward(mx.nd.arange(3 * 64).reshape(y.shape))
        results.append((y.asnumpy(), x.grad.asnumpy()))
    (y, gradient), (expected_y, expected_gradient) = results
    np.testing.assert_allclose(y, expected_y, atol=1e-6)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-6)


@pytest.mark.parametrize("name", ["resnet20", "resnet8_gluoncv_v2", "plain20"])
def test_no_gradient_of_a_cifar_net_is_left_to_onednns_reference_code(name):
    program = """if True:
        import sys
        from gluon_resnet._mxnet import mx
        from gluon_resnet.models import get_model
        from gluon_resnet.models.registry import split_variant
        name, variant = split_variant(sys.argv[1])
        net = get_model(name, classes=10, variant=variant or "v1")
        net.initialize()
        net.hybridize(static_alloc=True, static_shape=True)
        with mx.autograd.record():
            y = net(mx.nd.random.normal(shape=(4, 3, 32, 32)))
        y.backward()
        mx.nd.waitall()
    """
    command = [sys.executable, "-c", program, name]
    environment = {**os.environ, "DNNL_VERBOSE": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    lines = [line.split(",") for line in done.stdout.splitlines() if ",exec," in line]
    slow = [line[4:6] for line in lines if line[3].startswith(("batch", "pool", "conv")) and "ref" in line[4]]
    assert len(lines) >= 50
    assert slow == []


def test_he_initialization():
    """He et al. 2015b, Eq. 10: normal with mean 0 and variance 2 / (k * k * input channels); biases are 0."""
    mx.random.seed(5)
    net = get_model("resnet50")
    net.initialize(mx.init.Zero())  # the layers' own initialization goes first
    for name in ("stage1_unit1_conv1", "stage3_unit2_conv0", "stage4_unit1_shortcut_conv0", "dense0"):
        weight = net.collect_params()[f"resnet50_{name}_weight"].data().asnumpy()
        variance = 2 / math.prod(weight.shape[1:])
        # The standard error of a normal sample's variance is sqrt(2 / n) of it: 5 of them.
        assert weight.var() == pytest.approx(variance, rel=5 * math.sqrt(2 / weight.size))
        assert abs(weight.mean()) < 5 * math.sqrt(variance / weight.size)
        kurtosis = (weight.astype("float64") ** 4).mean() / weight.var() ** 2
        assert kurtosis == pytest.approx(3, rel=0.1)
    assert (net.output.bias.data().asnumpy() == 0).all()


@pytest.mark.parametrize("version", [1, 2])
def test_gluoncvs_variants_have_projections_when_no_option_is_given(version):
    options = [get_model("resnet20", 10, option, f"gluoncv_v{version}") for option in (None, "A", "B")]
    none, a, b = (sum(math.prod(p.shape) for p in net.collect_params().values()) for net in options)
    assert none == b > a


@pytest.mark.parametrize("name", ["resnet20", "resnet50"])
def test_zero_gamma_makes_units_begin_as_their_shortcuts(name):
    net = get_model(name, zero_gamma=True)
    net.initialize()
    x = mx.nd.random.normal(shape=(1, 3, 32, 32))
    for layer in net.features:
        if isinstance(layer, gluon.nn.HybridSequential):  # a stage
            for unit in layer:
                np.testing.assert_array_equal(unit(x).asnumpy(), np.maximum(unit.shortcut(x).asnumpy(), 0))
                x = unit(x)
        else:
            x = layer(x)
    with pytest.raises(UsageError, match="plain20 has no shortcuts"):
        get_model("plain20", zero_gamma=True)


def test_names_as_gluoncv_writes_them():
    assert split_variant("resnet50_v1b") == ("resnet50", "v1b")
    assert split_variant("resnet50_v2") == ("resnet50", "v2")
    assert split_variant("resnet20_gluoncv_v1") == ("resnet20", "gluoncv_v1")
    assert split_variant("vgg16_bn_v1") == ("vgg16_bn", "v1")
    assert split_variant("resnet50") == ("resnet50", None)
    assert split_variant("vgg16_bn") == ("vgg16_bn", None)
    assert split_variant("resnet50_v9") == ("resnet50_v9", None)
    assert split_variant("_v1") == ("_v1", None)


@pytest.mark.parametrize(
    ("name", "shortcut", "variant"),
    [
        *(("resnet20", "A", "v1"), ("resnet20", "B", "v1"), ("plain20", None, "v1")),
        *(("resnet20", "A", "v2"), ("resnet20", "B", "v2")),
        *(("resnet20", None, "gluoncv_v1"), ("resnet20", None, "gluoncv_v2")),
    ],
)
def test_an_exported_network_is_the_same(tmp_path, name, shortcut, variant):
    def export(path):
        mx.random.seed(1)
        net = get_model(name, 10, shortcut, variant)
        net = with_normalization(net, (125.3, 123.0, 113.9), (63.0, 62.1, 66.7))
        net.initialize()
        net.hybridize()
        y = net(x)
        net.export(str(path))
        return y.asnumpy()

    x = mx.nd.array(np.random.default_rng(0).uniform(0, 255, (2, 3, 32, 32)))
    expected = export(tmp_path / "a")
    files = [str(tmp_path / file) for file in ("a-symbol.json", "a-0000.params")]
    imported = gluon.SymbolBlock.imports(files[0], ["data"], files[1])
    np.testing.assert_array_equal(imported(x).asnumpy(), expected)

    export(tmp_path / "b")  # names and bytes do not depend on what else was built in this process
    for suffix in ("-symbol.json", "-0000.params"):
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()
    nodes = json.loads((tmp_path / "a-symbol.json").read_text())["nodes"]
    assert len({node["name"] for node in nodes}) == len(nodes)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            "resnet",
            "vgg11",
            "prelu_net",
            "ResNet18",
            "resnet 18",
            "resnet18\n",
            "resnet018",
            "resnet-8",
        ),
        *("resnet0", "resnet2", "resnet21", "plain19", "resnet20000", "resnet\u0662\u0660"),
    ],
)
def test_unknown_names(name):
    with pytest.raises(UsageError, match=r"resnet101.*plain20.*6n|did you mean|add its depth"):
        get_model(name)


def test_arguments_that_do_not_fit():
    with pytest.raises(UsageError, match="plain18 is a network without shortcuts: omit shortcut 'A'"):
        get_model("plain18", shortcut="A")
    with pytest.raises(UsageError, match=r"'D'.*A, B, C"):
        get_model("resnet18", shortcut="D")
    with pytest.raises(UsageError, match=r"'v3'.*v1, v1b, v2, gluoncv_v1, gluoncv_v2"):
        get_model("resnet18", variant="v3")
    with pytest.raises(UsageError, match="plain20 has no shortcuts, and without them pre-activation changes"):
        get_model("plain20", variant="v2")
    for name in ("resnet18", "resnet50", "plain20", "plain50"):
        for variant in ("gluoncv_v1", "gluoncv_v2"):
            with pytest.raises(
                UsageError, match=rf"'{variant}' is only for residual CIFAR nets .*: omit it for {name}$"
            ):
                get_model(name, variant=variant)
    with pytest.raises(UsageError, match="vgg16 is a network without shortcuts: omit shortcut 'A'"):
        get_model("vgg16", shortcut="A")
    with pytest.raises(UsageError, match=r"'D'.*A, B, C"):
        get_model("vgg16", shortcut="D")
    with pytest.raises(UsageError, match="googlenet is not a residual network: omit variant 'v1b'"):
        get_model("googlenet", variant="v1b")
    with pytest.raises(UsageError, match="prelu_net_a has no shortcuts"):
        get_model("prelu_net_a", zero_gamma=True)
    with pytest.raises(UsageError, match="classes: expected from 1"):
        get_model("resnet18", classes=0)
