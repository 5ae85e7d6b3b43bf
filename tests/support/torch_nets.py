"""Whole networks written again in PyTorch, and the weights of ours put into them: a second opinion on outputs.

Layers are registered in the order of ours, so that weights are copied one by one without names.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from gluon_resnet._mxnet import gluon, mx

IMAGENET = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}


class Residual(nn.Module):
    """A unit of v1 or v1b (torchvision's)."""

    def __init__(self, entering, leaving, stride, option, bottleneck, variant):
        super().__init__()
        if bottleneck:
            inner = leaving // 4
            first, second = (1, stride) if variant == "v1b" else (stride, 1)
            self.convolutions = [
                nn.Conv2d(entering, inner, 1, first, bias=False),
                nn.Conv2d(inner, inner, 3, second, 1, bias=False),
                nn.Conv2d(inner, leaving, 1, bias=False),
            ]
        else:
            self.convolutions = [
                nn.Conv2d(entering, leaving, 3, stride, 1, bias=False),
                nn.Conv2d(leaving, leaving, 3, 1, 1, bias=False),
            ]
        self.norms = [nn.BatchNorm2d(c.out_channels) for c in self.convolutions]
        for number, pair in enumerate(zip(self.convolutions, self.norms)):
            self.add_module(f"layer{number}", nn.Sequential(*pair))
        self.changes = (stride, entering) != (1, leaving)
        self.projection = None
        if option == "C" or (option == "B" and self.changes):
            projection = nn.Conv2d(entering, leaving, 1, stride, bias=False)
            self.projection = nn.Sequential(projection, nn.BatchNorm2d(leaving))
        self.stride, self.extra = stride, leaving - entering

    def shortcut(self, x):
        if self.projection is not None:
            return self.projection(x)
        x = x[:, :, :: self.stride, :: self.stride]
        return functional.pad(x, (0, 0, 0, 0, self.extra // 2, self.extra - self.extra // 2))

    def forward(self, x):
        y = x
        for convolution, norm in zip(self.convolutions, self.norms):
            y = norm(convolution(functional.relu(y) if y is not x else y))
        return functional.relu(y + self.shortcut(x))


class PreactivatedResidual(Residual):
    """A unit of v2; `first`: of a net whose stem ends with normalization and ReLU; `raw`: GluonCV's CIFAR nets'."""

    def __init__(self, entering, leaving, stride, option, bottleneck, first, raw):
        super().__init__(entering, leaving, stride, option, bottleneck, "v1b")
        convolutions, layers = self.convolutions, []
        del self.norms
        for number, convolution in enumerate(convolutions):
            norm = None if first and number == 0 else nn.BatchNorm2d(convolution.in_channels)
            layers.append(nn.Sequential(*([norm, nn.ReLU()] if norm else []), convolution))
            setattr(self, f"layer{number}", layers[-1])
        self.layers = layers
        self.raw = raw
        if self.projection is not None:
            self.projection = self.projection[0]

    def forward(self, x):
        activated = self.layers[0][:-1](x)
        y = self.layers[0][-1](activated)
        for layer in self.layers[1:]:
            y = layer(y)
        changes = self.changes or self.projection is not None
        return y + self.shortcut(activated if changes and not self.raw else x)


def residual_network(depth, option, variant, classes):
    bottleneck = depth == 50
    if depth in IMAGENET:
        repeats, widths, width = IMAGENET[depth], (64, 128, 256, 512), 64
        widths = tuple(4 * w for w in widths) if bottleneck else widths
        stem = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    else:
        repeats, widths, width = (depth // 6,) * 3, (16, 32, 64), 16
        stem = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
        stem = stem[: {"gluoncv_v1": 2, "gluoncv_v2": 1}.get(variant, 3)]
    layers = list(stem)
    for stage, (units, leaving) in enumerate(zip(repeats, widths)):
        for index in range(units):
            stride = 2 if stage and not index else 1
            if variant in ("v2", "gluoncv_v2"):
                raw = variant == "gluoncv_v2"
                first = depth not in IMAGENET and not stage and not index and not raw
                layers.append(PreactivatedResidual(width, leaving, stride, option, bottleneck, first, raw))
            else:
                layers.append(Residual(width, leaving, stride, option, bottleneck, variant))
            width = leaving
    if variant in ("v2", "gluoncv_v2"):
        layers += [nn.BatchNorm2d(width), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))


class Branches(nn.Module):
    """An inception module: convolutions are (kernel, channels, stride); pooling 'max' or 'avg'."""

    def __init__(self, entering, branches, pool, projection, normalized, stride=1):
        super().__init__()
        self.branches = nn.ModuleList()
        self.leaving = 0
        for branch in branches:
            width, layers = entering, []
            for kernel, channels, step in branch:
                layers += convolution(width, channels, kernel, step, normalized)
                width = channels
            self.branches.append(nn.Sequential(*layers))
            self.leaving += width
        kind = nn.MaxPool2d if pool == "max" else nn.AvgPool2d
        last = convolution(entering, projection, 1, 1, normalized) if projection else []
        self.branches.append(nn.Sequential(kind(3, stride, 1), *last))
        self.leaving += projection or entering

    def forward(self, x):
        return torch.cat([branch(x) for branch in self.branches], 1)


def convolution(entering, leaving, kernel, stride, normalized):
    layer = nn.Conv2d(entering, leaving, kernel, stride, kernel // 2, bias=not normalized)
    return [layer, *([nn.BatchNorm2d(leaving)] if normalized else []), nn.ReLU()]


def copy_weights(ours, twin):
    """Put random weights and statistics into `ours`, and the same into `twin`, layer by layer."""
    random = np.random.default_rng(0)
    ranges = {"gamma": (0.5, 1.5), "beta": (-0.5, 0.5), "bias": (-0.5, 0.5), "alpha": (0.1, 0.5)}
    ranges.update(running_mean=(-0.5, 0.5), running_var=(0.5, 1.5))
    for name, parameter in ours.collect_params().items():
        for suffix, (low, high) in ranges.items():
            if name.endswith(suffix):
                parameter.set_data(mx.nd.array(random.uniform(low, high, parameter.shape)))
    kinds = {nn.Conv2d: gluon.nn.Conv2D, nn.BatchNorm2d: gluon.nn.BatchNorm, nn.Linear: gluon.nn.Dense}
    kinds[nn.PReLU] = gluon.nn.PReLU
    theirs = [layer for layer in twin.modules() if type(layer) in kinds]
    own = []
    ours.apply(lambda block: own.append(block) if type(block) in kinds.values() else None)
    assert [kinds[type(layer)] for layer in theirs] == [type(layer) for layer in own]
    renamed = {"gamma": "weight", "beta": "bias", "alpha": "weight"}
    for layer, block in zip(theirs, own):
        values = {name: p.data().asnumpy() for name, p in block._collect_params_with_prefix().items()}
        state = {renamed.get(name, name): torch.from_numpy(value) for name, value in values.items()}
        if isinstance(layer, nn.BatchNorm2d):
            state["num_batches_tracked"] = torch.tensor(0)
        layer.load_state_dict(state)
    twin.eval()
