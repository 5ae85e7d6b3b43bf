"""Whole networks against the same ones in PyTorch, with the same random weights."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is the second opinion")

import torch
from torch import nn

from gluon_resnet._mxnet import mx
from gluon_resnet.models import get_model
from tests.support.torch_nets import Branches, convolution, copy_weights, residual_network


def compare(ours, twin, size):
    """Logits of two images within 1e-4 of the largest."""
    mx.random.seed(7)
    torch.manual_seed(7)
    ours.initialize()
    copy_weights(ours, twin)
    x = np.random.default_rng(1).normal(size=(2, 3, size, size)).astype("float32")
    with torch.no_grad():
        expected = twin(torch.from_numpy(x)).numpy()
    assert np.isfinite(expected).all()
    found = ours(mx.nd.array(x)).asnumpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
    assert np.abs(found[0] - found[1]).max() > 1e-2 * np.abs(found).max()  # the images matter


@pytest.mark.parametrize(
    ("depth", "option", "variant"),
    [
        *(
            (depth, option, variant)
            for depth in (18, 50)
            for option in "AB"
            for variant in ("v1", "v1b", "v2")
        ),
        *((20, option, variant) for option in "ABC" for variant in ("v1", "v2", "gluoncv_v1", "gluoncv_v2")),
        *((50, "C", variant) for variant in ("v1", "v2")),
    ],
)
def test_a_residual_network_is_its_twin(depth, option, variant):
    ours = get_model(f"resnet{depth}", 11, option, variant)
    compare(ours, residual_network(depth, option, variant, 11), 32 if depth == 20 else 75)


def googlenet():
    """Szegedy et al. 2014, Table 1: #1x1, #3x3 reduce, #3x3, #5x5 reduce, #5x5, pool proj."""
    rows = [
        *((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64), "pool"),
        *((192, 96, 208, 16, 48, 64), (160, 112, 224, 24, 64, 64), (128, 128, 256, 24, 64, 64)),
        *((112, 144, 288, 32, 64, 64), (256, 160, 320, 32, 128, 128), "pool"),
        *((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
    ]
    layers = [*convolution(3, 64, 7, 2, False), nn.MaxPool2d(3, 2, ceil_mode=True)]
    layers += [nn.LocalResponseNorm(5), *convolution(64, 64, 1, 1, False), *convolution(64, 192, 3, 1, False)]
    layers += [nn.LocalResponseNorm(5), nn.MaxPool2d(3, 2, ceil_mode=True)]
    width = 192
    for row in rows:
        if row == "pool":
            layers.append(nn.MaxPool2d(3, 2, ceil_mode=True))
            continue
        a, b, c, d, e, f = row
        branches = [[(1, a, 1)], [(1, b, 1), (3, c, 1)], [(1, d, 1), (5, e, 1)]]
        layers.append(Branches(width, branches, "max", f, False))
        width = layers[-1].leaving
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1024, 11))


def bn_inception():
    """Ioffe and Szegedy 2015, Fig. 5: #1x1, #3x3 reduce, #3x3, double reduce, double, pooling, projection."""
    rows = [
        *((64, 64, 64, 64, 96, "avg", 32), (64, 64, 96, 64, 96, "avg", 64), (0, 128, 160, 64, 96, "max", 0)),
        *((224, 64, 96, 96, 128, "avg", 128), (192, 96, 128, 96, 128, "avg", 128)),
        *((160, 128, 160, 128, 160, "avg", 128), (96, 128, 192, 160, 192, "avg", 128)),
        (0, 128, 192, 192, 256, "max", 0),
        *((352, 192, 320, 160, 224, "avg", 128), (352, 192, 320, 192, 224, "max", 128)),
    ]
    layers = [*convolution(3, 64, 7, 2, True), nn.MaxPool2d(3, 2, ceil_mode=True)]
    layers += [*convolution(64, 64, 1, 1, True), *convolution(64, 192, 3, 1, True)]
    layers.append(nn.MaxPool2d(3, 2, ceil_mode=True))
    width = 192
    for a, b, c, d, e, pool, projection in rows:
        stride = 1 if projection else 2
        branches = [[(1, b, 1), (3, c, stride)], [(1, d, 1), (3, e, 1), (3, e, stride)]]
        branches = ([[(1, a, 1)]] if a else []) + branches
        layers.append(Branches(width, branches, pool, projection, True, stride))
        width = layers[-1].leaving
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 11))


class Pyramid(nn.Module):
    """Maps of 14x14 in 7x7, 3x3, 2x2 and 1x1 bins."""

    def forward(self, x):
        levels = [nn.functional.max_pool2d(x, *window) for window in ((2, 2), (5, 4), (7, 7), (14, 14))]
        return torch.cat([level.flatten(1) for level in levels], 1)


def prelu_net_a():
    """He et al. 2015b, Table 3, model A."""
    layers, width = [nn.Conv2d(3, 96, 7, 2, 3), nn.PReLU(96)], 96
    for channels in (256, 512, 512):
        layers.append(nn.MaxPool2d(2))
        for _ in range(5):
            layers += [nn.Conv2d(width, channels, 3, 1, 1), nn.PReLU(channels)]
            width = channels
    layers += [Pyramid(), nn.Linear(63 * 512, 4096), nn.PReLU(4096), nn.Linear(4096, 4096), nn.PReLU(4096)]
    return nn.Sequential(*layers, nn.Linear(4096, 11))


@pytest.mark.parametrize(
    ("twin", "size"),
    [(googlenet, 75), (bn_inception, 75), pytest.param(prelu_net_a, 224, marks=pytest.mark.slow)],
)
def test_a_rival_is_its_twin(twin, size):
    compare(get_model(twin.__name__, 11), twin(), size)
