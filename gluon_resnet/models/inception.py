"""GoogLeNet and BN-Inception, from the tables of their papers: rivals in Tables 3, 4 and 5 of the paper.

GluonCV's `googlenet` is neither: it has GoogLeNet's table, but batch normalization, 3x3 instead of 5x5, and no biases.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Optional

from gluon_resnet._mxnet import gluon
from gluon_resnet.models.classifier import Classifier, biased_convolution, dense
from gluon_resnet.models.units import convolution, normalization


class Module(NamedTuple):
    """Parallel branches whose channels are concatenated, followed by those of a 3x3 pooling branch."""

    branches: tuple[tuple[tuple[int, int], ...], ...]  # for each, the (kernel, channels) of its convolutions
    pool: str  # 'max' or 'avg'
    projection: Optional[int]  # channels of the 1x1 convolution after the pooling; None: pass through
    stride: int = 1  # of the last convolution of each branch, and of the pooling

    def channels(self, entering: int) -> int:
        """The number of output channels for `entering` input channels."""
        return sum(branch[-1][1] for branch in self.branches) + (self.projection or entering)


def _module(one: int, three: tuple[int, int], five: tuple[int, int], projection: int) -> Module:
    """A row of GoogLeNet's table: #1x1, #3x3 reduce and #3x3, #5x5 reduce and #5x5, pool proj."""
    branches = (((1, one),), ((1, three[0]), (3, three[1])), ((1, five[0]), (5, five[1])))
    return Module(branches, "max", projection)


def _bn_module(
    one: int, three: tuple[int, int], double: tuple[int, int], pool: str, projection: Optional[int]
) -> Module:
    """A row of BN-Inception's table: #1x1, #3x3 reduce and #3x3, double #3x3 reduce and double #3x3, pool + proj.

    Without a projection, the module halves the size.
    """
    branches = (
        *((((1, one),),) if one else ()),
        ((1, three[0]), (3, three[1])),
        ((1, double[0]), (3, double[1]), (3, double[1])),
    )
    return Module(branches, pool, projection, stride=1 if projection else 2)


# Szegedy et al. 2014 (arXiv:1409.4842), Table 1: inception 3a to 5b; None: max pooling, 3x3, stride 2.
GOOGLENET = (
    _module(64, (96, 128), (16, 32), 32),
    _module(128, (128, 192), (32, 96), 64),
    None,
    _module(192, (96, 208), (16, 48), 64),
    _module(160, (112, 224), (24, 64), 64),
    _module(128, (128, 256), (24, 64), 64),
    _module(112, (144, 288), (32, 64), 64),
    _module(256, (160, 320), (32, 128), 128),
    None,
    _module(256, (160, 320), (32, 128), 128),
    _module(384, (192, 384), (48, 128), 128),
)

# Ioffe and Szegedy 2015 (arXiv:1502.03167), Fig. 5. Its column of output sizes has 576 channels for 4c and 4d,
# and 1024 for 4e, where its branches add up to 608, 608 and 1056: the branches count, as in the known weights.
BN_INCEPTION = (
    _bn_module(64, (64, 64), (64, 96), "avg", 32),
    _bn_module(64, (64, 96), (64, 96), "avg", 64),
    _bn_module(0, (128, 160), (64, 96), "max", None),
    _bn_module(224, (64, 96), (96, 128), "avg", 128),
    _bn_module(192, (96, 128), (96, 128), "avg", 128),
    _bn_module(160, (128, 160), (128, 160), "avg", 128),
    _bn_module(96, (128, 192), (160, 192), "avg", 128),
    _bn_module(0, (128, 192), (192, 256), "max", None),
    _bn_module(352, (192, 320), (160, 224), "avg", 128),
    _bn_module(352, (192, 320), (192, 224), "max", 128),
)


class InceptionNet(Classifier):
    """An Inception net for inputs (N, 3, H, W) of any size from 32 on; both papers use 224.

    Both tables begin alike: 7x7 convolution with 64 channels and stride 2, pooling, 1x1 with 64 and 3x3 with 192,
    pooling. Differences from the papers: there are no auxiliary classifiers (the paper's FLOPs and ours exclude them);
    the first convolution of BN-Inception is a plain one, not separable; He initialization is used.

    Args:
        modules: GOOGLENET or BN_INCEPTION.
        normalized: whether batch normalization follows each convolution, without local response normalization and
            dropout (Ioffe and Szegedy, §4.2.1); otherwise there are biases and both of these, with a dropout of 40 %.
        classes: the number of outputs.
    """

    def __init__(
        self, modules: tuple[Optional[Module], ...], normalized: bool, classes: int, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        with self.name_scope():
            self.features = gluon.nn.HybridSequential(prefix="")
            self.features.add(*_layer(3, 64, 7, 2, normalized), _pooling())
            if not normalized:
                self.features.add(LocalResponseNorm())
            self.features.add(*_layer(64, 64, 1, 1, normalized), *_layer(64, 192, 3, 1, normalized))
            if not normalized:
                self.features.add(LocalResponseNorm())
            self.features.add(_pooling())
            channels = 192
            for module in modules:
                if module is None:
                    self.features.add(_pooling())
                else:
                    self.features.add(_inception(module, channels, normalized))
                    channels = module.channels(channels)
            self.features.add(gluon.nn.GlobalAvgPool2D(), gluon.nn.Flatten())
            if not normalized:
                self.features.add(gluon.nn.Dropout(0.4))
            self.output = dense(channels, classes)


class LocalResponseNorm(gluon.HybridBlock):
    """Local response normalization over 5 channels (Krizhevsky et al. 2012, §3.3), with Caffe's constants."""

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return F.LRN(x, nsize=5, alpha=1e-4, beta=0.75, knorm=1)


def _layer(in_channels: int, channels: int, kernel: int, stride: int, normalized: bool) -> list[Any]:
    """A convolution with its ReLU."""
    relu = gluon.nn.Activation("relu")
    if normalized:
        return [convolution(in_channels, channels, kernel, stride), normalization(channels), relu]
    return [biased_convolution(in_channels, channels, kernel, stride), relu]


def _pooling() -> Any:
    return gluon.nn.MaxPool2D(3, 2, ceil_mode=True)  # 112 to 56 to 28 to 14 to 7


def _inception(module: Module, in_channels: int, normalized: bool) -> Any:
    block = gluon.contrib.nn.HybridConcurrent(axis=1)
    with block.name_scope():
        for branch in module.branches:
            layers = gluon.nn.HybridSequential(prefix="")
            width = in_channels
            for index, (kernel, channels) in enumerate(branch):
                stride = module.stride if index == len(branch) - 1 else 1
                layers.add(*_layer(width, channels, kernel, stride, normalized))
                width = channels
            block.add(layers)
        layers = gluon.nn.HybridSequential(prefix="")
        pooling = gluon.nn.MaxPool2D if module.pool == "max" else gluon.nn.AvgPool2D
        layers.add(pooling(3, module.stride, padding=1))
        if module.projection:
            layers.add(*_layer(in_channels, module.projection, 1, 1, normalized))
        block.add(layers)
    return block
