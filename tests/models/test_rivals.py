"""The paper's rivals: their tables, their parameters, and what the registry promises of every network."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from gluon_resnet._mxnet import gluon, mx
from gluon_resnet.card import ModelCard
from gluon_resnet.models import build_network, get_model, model_names
from gluon_resnet.models.prelu_net import SpatialPyramid
from gluon_resnet.models.saved import load_network, save_network

RIVALS = [name for name in model_names() if not name.startswith(("resnet", "plain"))]


def trained(net):
    return sum(math.prod(p.shape) for p in net.collect_params().values() if p.grad_req != "null")


def maps(net, size=224):
    """(channels, side) of what each layer of the features puts out, without repetitions."""
    shapes, x = [], mx.sym.var("data")
    for layer in net.features:
        x = layer(x)
        shapes.append(x.infer_shape(data=(1, 3, size, size))[1][0][1:])
    return [s[:2] for s, following in zip(shapes, [*shapes[1:], None]) if s != following]


def multiply_adds(net):
    """Of convolutions and fully connected layers, for one image of 224x224."""
    graph = net(mx.sym.var("data"))
    outputs = graph.get_internals()
    shapes = dict(zip(outputs.list_outputs(), outputs.infer_shape(data=(1, 3, 224, 224))[1]))
    total = 0
    for name, shape in shapes.items():
        weight = name.replace("_fwd_output", "_weight")
        if weight != name and weight in shapes:
            total += math.prod(shapes[weight]) * math.prod(shape[2:])
    return total


def test_every_rival_is_listed():
    expected = [
        *("vgg16", "vgg19", "vgg16_bn", "vgg19_bn", "googlenet", "bn_inception"),
        *("prelu_net_a", "prelu_net_b", "prelu_net_c"),
    ]
    assert expected == RIVALS


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("vgg16", 138_357_544),  # Simonyan and Zisserman's; torchvision's and MXNet's, too
        ("vgg19", 143_667_240),
        ("vgg16_bn", 138_365_992),  # torchvision's
        ("vgg19_bn", 143_678_248),
        ("googlenet", 6_998_552),  # bvlc_googlenet of Caffe, without its auxiliary classifiers
    ],
)
def test_parameters_are_the_published_ones(name, parameters):
    assert trained(get_model(name)) == parameters


def test_parameters_of_bn_inception_by_hand():
    """Ioffe and Szegedy 2015, Fig. 5, row by row: (channels that enter, kernel, channels that leave)."""
    rows = [[(3, 7, 64), (64, 1, 64), (64, 3, 192)]]
    modules = [
        *((192, 64, 64, 64, 64, 96, 32), (256, 64, 64, 96, 64, 96, 64), (320, 0, 128, 160, 64, 96, 0)),
        *((576, 224, 64, 96, 96, 128, 128), (576, 192, 96, 128, 96, 128, 128)),
        *((576, 160, 128, 160, 128, 160, 128), (608, 96, 128, 192, 160, 192, 128)),
        (608, 0, 128, 192, 192, 256, 0),
        *((1056, 352, 192, 320, 160, 224, 128), (1024, 352, 192, 320, 192, 224, 128)),
    ]
    for enter, one, reduce, three, double_reduce, double, projection in modules:
        rows.append([(enter, 1, one), (enter, 1, reduce), (reduce, 3, three), (enter, 1, double_reduce)])
        rows.append([(double_reduce, 3, double), (double, 3, double), (enter, 1, projection)])
    convolutions = [convolution for row in rows for convolution in row]
    by_hand = sum(enter * kernel**2 * leave + 2 * leave for enter, kernel, leave in convolutions)
    assert trained(get_model("bn_inception")) == by_hand + 1024 * 1000 + 1000


@pytest.mark.parametrize(("name", "stages"), [("a", (5, 256, 512, 512)), ("c", (6, 384, 768, 896))])
def test_parameters_of_prelu_nets_by_hand(name, stages):
    repeats, *channels = stages
    width = 96
    by_hand = 3 * 49 * 96 + 96 + 96
    for leave in channels:
        for _ in range(repeats):
            by_hand += 9 * width * leave + leave + leave  # bias and slopes
            width = leave
    by_hand += 63 * width * 4096 + 4096 * 4096 + 2 * (4096 + 4096) + 4096 * 1000 + 1000
    assert trained(get_model(f"prelu_net_{name}")) == by_hand


@pytest.mark.parametrize(
    ("name", "operations"),
    [
        ("prelu_net_a", 1.90e10),  # He et al. 2015b, Table 3, the last row
        ("prelu_net_b", 2.32e10),
        ("prelu_net_c", 5.30e10),
        ("vgg19", 1.96e10),
    ],
)
def test_operations_are_those_of_the_table(name, operations):
    """Ours are 1.906, 2.322, 5.346 and 1.963: one is rounded down, and one to a digit less."""
    assert multiply_adds(get_model(name)) == pytest.approx(operations, rel=0.01)


def test_maps_have_the_sizes_of_the_tables():
    vgg = [(64, 224), (64, 112), (128, 112), (128, 56), (256, 56), (256, 28), (512, 28), (512, 14), (512, 7)]
    assert maps(get_model("vgg16"))[:-1] == vgg
    assert maps(get_model("vgg19_bn"))[:-1] == vgg
    begin = [(64, 112), (64, 56), (192, 56), (192, 28)]
    assert maps(get_model("googlenet")) == [
        *(*begin, (256, 28), (480, 28), (480, 14), (512, 14), (528, 14), (832, 14), (832, 7), (1024, 7)),
        *((1024, 1), (1024,)),
    ]
    assert maps(get_model("bn_inception")) == [
        *(*begin, (256, 28), (320, 28), (576, 14), (608, 14), (1056, 7), (1024, 7), (1024, 1), (1024,)),
    ]
    assert maps(get_model("prelu_net_c")) == [
        *((96, 112), (96, 56), (384, 56), (384, 28), (768, 28), (768, 14), (896, 14)),
        *((63 * 896,), (4096,)),
    ]


@pytest.mark.parametrize(("depth", "normalized"), [(16, False), (19, False), (16, True), (19, True)])
def test_vgg_is_the_graph_of_mxnets_model_zoo(depth, normalized):
    def operations(net):
        nodes = json.loads(net(mx.sym.var("data")).tojson())["nodes"]
        return [(node["op"], node.get("attrs")) for node in nodes if node["op"] != "null"]

    zoo = gluon.model_zoo.vision.get_vgg(depth, batch_norm=normalized)
    assert operations(get_model(f"vgg{depth}{'_bn' * normalized}")) == operations(zoo)


def test_spatial_pyramid_pooling_covers_the_map():
    x = np.random.default_rng(0).normal(size=(2, 3, 14, 14)).astype("float32")
    found = SpatialPyramid(14, (7, 3, 2, 1))(mx.nd.array(x)).asnumpy()
    expected = []
    for bins, window, step in ((7, 2, 2), (3, 5, 4), (2, 7, 7), (1, 14, 14)):
        level = np.empty((2, 3, bins, bins))
        for row in range(bins):
            for column in range(bins):
                top, left = row * step, column * step
                level[:, :, row, column] = x[:, :, top : top + window, left : left + window].max(axis=(2, 3))
        expected.append(level.reshape(2, -1))
    np.testing.assert_array_equal(found, np.concatenate(expected, axis=1))


def test_slopes_begin_at_a_quarter_and_do_not_decay():
    net = get_model("prelu_net_a", 10)
    slopes = net.collect_params(".*alpha")
    assert len(list(slopes)) == 1 + 15 + 2
    assert all(p.wd_mult == 0 and p.init.value == 0.25 for p in slopes.values())
    layer = net.features[3]
    layer.initialize()
    weight = layer.weight.data().asnumpy()
    variance = 2 / (1 + 0.25**2) / math.prod(weight.shape[1:])  # Eq. 15
    assert weight.var() == pytest.approx(variance, rel=5 * math.sqrt(2 / weight.size))


@pytest.mark.parametrize("name", RIVALS)
def test_initialization_is_hes(name):
    expected = json.dumps(["msraprelu", {"factor_type": "in", "slope": 0.25 if "prelu" in name else 0}])
    weights = get_model(name).collect_params(".*weight")
    found = {n: json.loads(p.init.dumps()) for n, p in weights.items()}
    for values in found.values():
        values[1] = {key: values[1][key] for key in ("factor_type", "slope")}
    last = list(found)[-1]
    assert found.pop(last)[1]["slope"] == 0  # no slopes follow the last layer
    assert {json.dumps(values) for values in found.values()} == {expected}


@pytest.mark.parametrize("name", RIVALS)
def test_names_do_not_depend_on_what_else_was_built(name):
    first, second = (get_model(name, 10)(mx.sym.var("data")).tojson() for _ in range(2))
    assert first == second
    names = [node["name"] for node in json.loads(first)["nodes"]]
    assert len(set(names)) == len(names)
    assert all(node.startswith(f"{name}_") for node in names if node != "data")


@pytest.mark.parametrize("name", ["googlenet", "bn_inception"])
def test_a_card_a_checkpoint_and_an_export(tmp_path, name):
    card = ModelCard(name, tuple("abc"), 96, (120.0, 110.0, 100.0), (60.0, 60.0, 60.0))
    net = build_network(card)
    net.initialize()
    x = mx.nd.random.uniform(0, 255, (2, 3, 96, 96))
    expected = net(x).asnumpy()
    assert expected.shape == (2, 3)
    save_network(tmp_path / "net", 1, card, net)
    _, loaded = load_network(tmp_path / "net")
    np.testing.assert_array_equal(loaded(x).asnumpy(), expected)
    net.hybridize()
    net(x)
    net.export(str(tmp_path / "graph"))
    files = [str(tmp_path / f"graph{suffix}") for suffix in ("-symbol.json", "-0000.params")]
    imported = gluon.SymbolBlock.imports(files[0], ["data"], files[1])
    np.testing.assert_allclose(imported(x).asnumpy(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["googlenet", "bn_inception"])
def test_the_gradient_reaches_every_parameter(name):
    mx.random.seed(0)
    net = get_model(name, 5)
    net.initialize()
    net.hybridize(static_alloc=True, static_shape=True)
    with mx.autograd.record():
        scores = net(mx.nd.random.normal(shape=(4, 3, 75, 75)))
        loss = gluon.loss.SoftmaxCrossEntropyLoss()(scores, mx.nd.array([0, 1, 2, 3]))
    loss.backward()
    for parameter in net.collect_params().values():
        if parameter.grad_req != "null":
            gradient = parameter.grad().asnumpy()
            assert np.isfinite(gradient).all(), parameter.name
            assert np.abs(gradient).max() > 0, parameter.name
