"""What networks cost: against layers of ones that count for themselves, hooks, and the figures of the paper."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gluon_resnet._mxnet import gluon, mx
from gluon_resnet.analysis.cost import Total, layers_of, stages_of
from gluon_resnet.analysis.paper import FLOPS_IN_TEXT, TABLE_1_FLOPS, TABLE_6, rounds_to
from gluon_resnet.card import ModelCard
from gluon_resnet.errors import UsageError
from gluon_resnet.models import build_network, get_model

nn = gluon.nn


def total(network, *image_shape):
    return Total.of(layers_of(network, image_shape))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"strides": 2, "padding": 1},
        {"groups": 4},
        {"groups": 8, "padding": (2, 0), "strides": (1, 3)},
        {"dilation": 2, "use_bias": False},
    ],
)
@pytest.mark.parametrize("kernel", [1, 3, (5, 2)])
def test_a_convolution_of_ones_sums_to_its_multiply_adds(options, kernel):
    layer = nn.Conv2D(16, kernel, in_channels=8, **options)
    counted = total(layer, 8, 15, 18)
    high, wide = np.broadcast_to(options.get("padding", 0), 2)
    padded = np.ones((1, 8, 15 + 2 * high, 18 + 2 * wide))
    unpadded = nn.Conv2D(16, kernel, in_channels=8, **{**options, "padding": 0})
    unpadded.initialize(mx.init.One())  # biases begin at 0
    assert counted.multiply_adds == unpadded(mx.nd.array(padded)).asnumpy().sum()


@pytest.mark.parametrize(("flatten", "shape"), [(True, (5, 6, 7)), (False, (5, 6, 7)), (True, (9,))])
def test_a_dense_layer_of_ones_sums_to_its_multiply_adds(flatten, shape):
    layer = nn.Dense(12, flatten=flatten)
    layer.initialize(mx.init.One())
    assert total(layer, *shape).multiply_adds == layer(mx.nd.ones((1, *shape))).asnumpy().sum()


def count_with_hooks(network, size):
    """Multiply-adds of a real forward pass, layer by layer."""
    counts = []

    def hook(block, inputs, output):
        if isinstance(block, nn.Conv2D):
            per_output = math.prod(block._kwargs["kernel"]) * inputs[0].shape[1] // block._kwargs["num_group"]
            counts.append(output[0].size * per_output)
        elif isinstance(block, nn.Dense):
            counts.append(inputs[0][0].size * output[0].size)

    network.initialize()
    network.apply(lambda block: block.register_forward_hook(hook))
    network(mx.nd.zeros((1, 3, size, size)))
    return sum(counts)


@pytest.mark.parametrize(
    ("name", "shortcut", "variant", "size"),
    [
        ("resnet18", "A", "v1", 64),
        ("resnet34", "C", "v1", 33),
        ("resnet50", "B", "v1", 64),
        ("resnet50", "B", "v1b", 65),
        ("plain20", None, "v1", 32),
        ("resnet20", "A", "v1", 31),
        ("resnet8", "B", "v1", 17),
        ("resnet8", None, "gluoncv_v2", 32),
    ],
)
def test_registry_networks_cost_what_a_forward_pass_does(name, shortcut, variant, size):
    network = get_model(name, 7, shortcut, variant)
    counted = total(network, 3, size, size)
    parameters = network.collect_params().values()
    assert counted.parameters == sum(math.prod(p.shape) for p in parameters if p.grad_req != "null")
    assert counted.fixed == sum(math.prod(p.shape) for p in parameters if p.grad_req == "null")
    assert counted.output == (7,)
    assert counted.multiply_adds == count_with_hooks(network, size)


@pytest.mark.parametrize(
    ("depth", "shortcut", "printed"),
    list(zip((18, 34, 50, 101, 152), "AABBB", TABLE_1_FLOPS)),
)
def test_the_flops_of_table_1(depth, shortcut, printed):
    flops = total(get_model(f"resnet{depth}", shortcut=shortcut), 3, 224, 224).multiply_adds / 1e9
    assert rounds_to(flops, printed)
    if depth == 50:
        assert f"{flops:.2f}" == "3.86"  # the paper cuts this one off
    else:
        assert f"{flops:.1f}" == printed


def test_plain_34_has_18_per_cent_of_the_flops_of_vgg_19():
    plain = total(get_model("plain34"), 3, 224, 224).multiply_adds
    vgg = total(gluon.model_zoo.vision.vgg19(), 3, 224, 224).multiply_adds
    assert f"{plain / 1e9:.1f}" == FLOPS_IN_TEXT["plain34"]
    assert f"{vgg / 1e9:.1f}" == FLOPS_IN_TEXT["vgg19"]
    assert 0.18 <= plain / vgg < 0.19


@pytest.mark.parametrize("row", [row for row in TABLE_6 if row.network], ids=lambda row: row.network)
def test_the_parameters_of_table_6(row):
    millions = total(get_model(row.network, 10), 3, 32, 32).parameters / 1e6
    assert f"{millions:.{len(row.parameters.partition('.')[2]) - 1}f}M" == row.parameters


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152, 20, 32, 44, 56, 110])
def test_plain_networks_cost_what_residual_ones_with_option_a_do(depth):
    plain = total(get_model(f"plain{depth}"), 3, 64, 64)
    residual = total(get_model(f"resnet{depth}", shortcut="A"), 3, 64, 64)
    assert (plain.parameters, plain.multiply_adds) == (residual.parameters, residual.multiply_adds)


@pytest.mark.parametrize("pixels", [False, True])
def test_an_exported_graph_costs_what_the_network_does(pixels, tmp_path):
    card = ModelCard("resnet20", ("a", "b"), 32, (1.0,) * 3, (2.0,) * 3, per_pixel_mean=pixels)
    network = build_network(card)
    path = str(tmp_path / "graph.json")
    network(mx.sym.var("data")).save(path)
    layers = layers_of(mx.sym.load(path), (3, 32, 32))
    assert layers == layers_of(network, (3, 32, 32))
    bare = total(get_model("resnet20", 2), 3, 32, 32)
    whole = Total.of(layers)
    assert (whole.parameters, whole.multiply_adds) == (bare.parameters, bare.multiply_adds)
    assert whole.fixed == bare.fixed + 3 + (3 * 32 * 32 if pixels else 3)


def test_weights_that_two_layers_share_count_once():
    first = nn.Conv2D(8, 3, padding=1, in_channels=8, use_bias=False)
    both = nn.HybridSequential()
    both.add(first, nn.Conv2D(8, 3, padding=1, in_channels=8, use_bias=False, params=first.params))
    counted = total(both, 8, 4, 4)
    assert counted.parameters == 8 * 8 * 9
    assert counted.multiply_adds == 2 * 16 * 8 * 8 * 9


def test_frozen_parameters_are_fixed():
    network = get_model("resnet8", 10)
    before = total(network, 3, 32, 32)
    network.features.collect_params().setattr("grad_req", "null")
    after = total(network, 3, 32, 32)
    assert after.parameters == 64 * 10 + 10
    assert after.fixed + after.parameters == before.fixed + before.parameters


def test_stages():
    layers = layers_of(get_model("resnet50"), (3, 224, 224))
    stages = stages_of(layers)
    assert [stage.name for stage in stages] == ["stem", "stage1", "stage2", "stage3", "stage4", "head"]
    assert [stage.output[-1] for stage in stages[:-1]] == [56, 56, 28, 14, 7]
    assert [stage.weighted for stage in stages] == [1, 10, 13, 19, 10, 1]
    for field in ("parameters", "fixed", "multiply_adds"):
        assert sum(getattr(stage, field) for stage in stages) == getattr(Total.of(layers), field)
    names = [stage.name for stage in stages_of(layers_of(gluon.model_zoo.vision.vgg16(), (3, 224, 224)))]
    assert names == ["224x224", "112x112", "56x56", "28x28", "14x14", "7x7", "1x1"]


def test_layers_say_what_they_are():
    kinds = [layer.kind for layer in layers_of(get_model("resnet18"), (3, 224, 224))]
    assert kinds[:4] == [
        "7x7 convolution, stride 2",
        "batch normalization",
        "relu",
        "3x3 max pooling, stride 2",
    ]
    assert kinds[-3:] == ["global avg pooling", "flatten", "fully connected"]
    assert layers_of(nn.Conv2D(8, (1, 3), (1, 2), groups=4), (8, 9, 9))[0].kind == (
        "1x3 convolution, stride 1x2, 4 groups"
    )


@pytest.mark.parametrize("shape", [(4, 32, 32), (3, 2, 2), (3,)])
def test_images_that_do_not_fit_are_told_in_one_sentence(shape, capsys):
    with pytest.raises(UsageError, match=r"this network cannot process images of \S+: \S+") as error:
        layers_of(gluon.model_zoo.vision.vgg11() if shape == (3, 2, 2) else get_model("resnet8"), shape)
    assert "\n" not in str(error.value)
    assert capsys.readouterr().out == ""
