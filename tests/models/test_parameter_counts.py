"""How many parameters the networks have: the paper's tables counted by hand, and what others published."""

from __future__ import annotations

import math

import pytest

from gluon_resnet._mxnet import gluon, mx
from gluon_resnet.models import get_model
from tests.support.gluoncv_cifar import CifarNet

# He et al. 2015, Table 1, as printed: for each stage (kernel, channels) of a unit's layers, and repeats.
TABLE_1 = {
    18: [([(3, 64), (3, 64)], 2), ([(3, 128)] * 2, 2), ([(3, 256)] * 2, 2), ([(3, 512)] * 2, 2)],
    34: [([(3, 64), (3, 64)], 3), ([(3, 128)] * 2, 4), ([(3, 256)] * 2, 6), ([(3, 512)] * 2, 3)],
    50: [
        ([(1, 64), (3, 64), (1, 256)], 3),
        ([(1, 128), (3, 128), (1, 512)], 4),
        ([(1, 256), (3, 256), (1, 1024)], 6),
        ([(1, 512), (3, 512), (1, 2048)], 3),
    ],
    101: [
        ([(1, 64), (3, 64), (1, 256)], 3),
        ([(1, 128), (3, 128), (1, 512)], 4),
        ([(1, 256), (3, 256), (1, 1024)], 23),
        ([(1, 512), (3, 512), (1, 2048)], 3),
    ],
    152: [
        ([(1, 64), (3, 64), (1, 256)], 3),
        ([(1, 128), (3, 128), (1, 512)], 8),
        ([(1, 256), (3, 256), (1, 1024)], 36),
        ([(1, 512), (3, 512), (1, 2048)], 3),
    ],
}
CIFAR_DEPTHS = [20, 32, 44, 56, 110, 1202]


def count_by_hand(stem, stages, option, classes):
    """Trained numbers, layer by layer: each convolution's weights and its normalization's gamma and beta."""
    kernel, channels = stem
    total = kernel * kernel * 3 * channels + 2 * channels
    for convolutions, repeats in stages:
        for _ in range(repeats):
            entering = channels
            for kernel, width in convolutions:
                total += kernel * kernel * channels * width + 2 * width
                channels = width
            if option == "C" or (option == "B" and entering != channels):
                total += entering * channels + 2 * channels
    return total + channels * classes + classes


def stages_of(depth):
    """§4.2: 2n layers of 3x3 for each of the map sizes 32, 16, 8, with 16, 32, 64 filters."""
    if depth in TABLE_1:
        return (7, 64), TABLE_1[depth]
    n = (depth - 2) // 6
    return (3, 16), [([(3, width)] * 2, n) for width in (16, 32, 64)]


def trained(net):
    return sum(math.prod(p.shape) for p in net.collect_params().values() if p.grad_req != "null")


# Every one but the larger 1202-layer nets, which would take seconds to build.
COUNTED = [(depth, option) for depth in (*TABLE_1, *CIFAR_DEPTHS[:-1]) for option in (None, "A", "B", "C")]


@pytest.mark.parametrize(("depth", "option"), [*COUNTED, (1202, "A"), (1202, None)])
def test_parameters_are_those_of_the_tables(depth, option):
    classes = 1000 if depth in TABLE_1 else 10
    net = get_model(f"{'resnet' if option else 'plain'}{depth}", classes, option)
    stem, stages = stages_of(depth)
    assert trained(net) == count_by_hand(stem, stages, option, classes)
    moving = [p for p in net.collect_params().values() if p.grad_req == "null"]
    assert all(p.name.endswith(("running_mean", "running_var")) for p in moving)
    # "Depth" is the number of weighted layers on the way through, without projections.
    weights = [n for n in net.collect_params() if n.endswith("weight") and "shortcut" not in n]
    assert len(weights) == depth


@pytest.mark.parametrize(
    ("name", "classes", "parameters"),
    [
        ("resnet18", 1000, 11_689_512),
        ("resnet34", 1000, 21_797_672),
        ("resnet50", 1000, 25_557_032),
        ("resnet101", 1000, 44_549_160),
        ("resnet152", 1000, 60_192_808),
        ("resnet20", 10, 269_722),
        ("resnet56", 10, 853_018),
        ("resnet110", 10, 1_727_962),
    ],
)
def test_parameters_with_the_default_shortcut_are_the_published_ones(name, classes, parameters):
    """Those of torchvision (option B) and of akamaster/pytorch_resnet_cifar10 (option A)."""
    assert trained(get_model(name, classes)) == parameters


@pytest.mark.parametrize("depth", [*TABLE_1, *CIFAR_DEPTHS])
def test_option_a_adds_no_parameter(depth):
    plain, residual = get_model(f"plain{depth}"), get_model(f"resnet{depth}", shortcut="A")
    shapes = [
        {name.split("_", 1)[1]: p.shape for name, p in net.collect_params().items()}
        for net in (plain, residual)
    ]
    assert shapes[0] == shapes[1]
    for stage in residual.features:
        if isinstance(stage, gluon.nn.HybridSequential):
            assert not any(list(unit.shortcut.collect_params()) for unit in stage)


@pytest.mark.parametrize("depth", TABLE_1)
def test_v2_has_the_parameters_of_mxnets_model_zoo(depth):
    zoo = gluon.model_zoo.vision.get_resnet(2, depth)
    zoo.infer_shape(mx.nd.zeros((1, 3, 224, 224)))
    ours = get_model(f"resnet{depth}", variant="v2")
    shapes = [
        [(p.name.rsplit("_", 1)[1], p.shape) for p in net.collect_params().values() if p.grad_req != "null"]
        for net in (ours, zoo)
    ]
    # Another order, and theirs normalizes the input without a scale.
    assert sorted(shapes[0]) == sorted(shapes[1])


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("depth", [20, 56, 110])
def test_gluoncvs_cifar_nets_have_their_parameters(depth, version):
    theirs, ours = CifarNet(depth, version), get_model(f"resnet{depth}", 10, variant=f"gluoncv_v{version}")
    theirs.infer_shape(mx.nd.zeros((1, 3, 32, 32)))
    assert trained(ours) == trained(theirs)


@pytest.mark.parametrize("option", ["A", "B", "C"])
@pytest.mark.parametrize("depth", CIFAR_DEPTHS[:4])
def test_v2_of_cifar_has_the_parameters_counted_by_hand(depth, option):
    """Those of v1 without the normalization of projections: the others moved to before the next convolution."""
    stem, stages = stages_of(depth)
    projections = {"A": 0, "B": 2 * (32 + 64), "C": 2 * (16 + 32 + 64) * (depth // 6)}[option]
    expected = count_by_hand(stem, stages, option, 10) - projections
    assert trained(get_model(f"resnet{depth}", 10, option, "v2")) == expected
