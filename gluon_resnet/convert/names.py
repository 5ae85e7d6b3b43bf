"""What each project calls the tensors of a residual network: one table per way of naming.

Two tables for the same network list its layers in the same order, so that the tensors of one are those of the other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple, Optional

from gluon_resnet.models.resnet import Architecture

CONVOLUTION, NORM, DENSE = "convolution", "normalization", "fully connected layer"

# Gluon's own words for the tensors of a layer, and PyTorch's.
_GLUON = {
    CONVOLUTION: {"weight": "weight", "bias": "bias"},
    NORM: {name: name for name in ("gamma", "beta", "running_mean", "running_var")},
    DENSE: {"weight": "weight", "bias": "bias"},
}
_TORCH = {**_GLUON, NORM: {**_GLUON[NORM], "gamma": "weight", "beta": "bias"}}

Place = tuple[str, str]  # kind of layer, its path


class Layer(NamedTuple):
    kind: str
    path: str
    tensors: dict[str, str]  # by Gluon's words


@dataclass(frozen=True)
class Names:
    """A way of naming.

    In a path, {stage} and {unit} are numbers and # is how many such layers came before. A unit with fewer
    convolutions has the beginning of `body`.
    """

    stem: tuple[Place, ...]
    body: tuple[Place, ...]
    shortcut: tuple[Place, ...]
    head: Place
    tail: tuple[Place, ...] = ()  # between the last stage and the head
    words: str = "gluon"  # or 'torch'
    separator: str = "."
    first_stage: int = 1
    biased: tuple[int, ...] = ()  # convolutions of a bottleneck that have a bias

    def layers(self, architecture: Architecture, shortcut: Optional[str]) -> list[Layer]:
        """All layers with parameters, in the order of the computation, each shortcut behind the body of its unit.

        `shortcut` is 'A' or 'B'.
        """
        counter: Counter[str] = Counter()
        return [self._layer(place, counter, biased) for place, biased in self._places(architecture, shortcut)]

    def _places(self, architecture: Architecture, shortcut: Optional[str]) -> Iterator[tuple[Place, bool]]:
        yield from ((place, False) for place in self.stem)
        channels = architecture.stem_channels
        convolutions = len(architecture.kind.kernels)
        for stage, (units, width) in enumerate(zip(architecture.units, architecture.channels)):
            for unit in range(units):
                numbers = {"stage": self.first_stage + stage, "unit": unit}
                # Two layers, a convolution and a normalization, for each.
                for index, (kind, path) in enumerate(self.body[: 2 * convolutions]):
                    biased = kind == CONVOLUTION and convolutions == 3 and index // 2 in self.biased
                    yield (kind, path.format(**numbers)), biased
                if shortcut == "B" and unit == 0 and (stage > 0 or channels != width):
                    yield from (((kind, path.format(**numbers)), False) for kind, path in self.shortcut)
        yield from ((place, False) for place in self.tail)
        yield self.head, False

    def _layer(self, place: Place, counter: Counter[str], biased: bool) -> Layer:
        kind, path = place
        number = counter[path]
        counter[path] += 1
        path = path.replace("#", str(number))
        words = (_TORCH if self.words == "torch" else _GLUON)[kind]
        if kind == CONVOLUTION and not biased:
            words = {"weight": words["weight"]}
        return Layer(kind, path, {ours: path + self.separator + theirs for ours, theirs in words.items()})


def _pair(convolution: str, norm: str) -> tuple[Place, Place]:
    return (CONVOLUTION, convolution), (NORM, norm)


# A HybridSequential numbers its layers: ReLU has a number, too.
OURS = Names(
    stem=_pair("1.features.0", "1.features.1"),
    body=(
        *_pair("1.features.{stage}.{unit}.body.0", "1.features.{stage}.{unit}.body.1"),
        *_pair("1.features.{stage}.{unit}.body.3", "1.features.{stage}.{unit}.body.4"),
        *_pair("1.features.{stage}.{unit}.body.6", "1.features.{stage}.{unit}.body.7"),
    ),
    shortcut=_pair("1.features.{stage}.{unit}.shortcut.0", "1.features.{stage}.{unit}.shortcut.1"),
    head=(DENSE, "1.output"),
    first_stage=4,
)
OURS_CIFAR = replace(OURS, first_stage=3)  # no pooling in front

# torchvision/models/resnet.py
TORCHVISION = Names(
    stem=_pair("conv1", "bn1"),
    body=(
        *_pair("layer{stage}.{unit}.conv1", "layer{stage}.{unit}.bn1"),
        *_pair("layer{stage}.{unit}.conv2", "layer{stage}.{unit}.bn2"),
        *_pair("layer{stage}.{unit}.conv3", "layer{stage}.{unit}.bn3"),
    ),
    shortcut=_pair("layer{stage}.{unit}.downsample.0", "layer{stage}.{unit}.downsample.1"),
    head=(DENSE, "fc"),
    words="torch",
)

# github.com/akamaster/pytorch_resnet_cifar10, resnet.py
AKAMASTER = replace(
    TORCHVISION,
    shortcut=_pair("layer{stage}.{unit}.shortcut.0", "layer{stage}.{unit}.shortcut.1"),
    head=(DENSE, "linear"),
)

# gluoncv/model_zoo/resnet.py, and MXNet's own mxnet/gluon/model_zoo/vision/resnet.py
GLUONCV_V1 = Names(
    stem=_pair("features.0", "features.1"),
    body=(
        *_pair("features.{stage}.{unit}.body.0", "features.{stage}.{unit}.body.1"),
        *_pair("features.{stage}.{unit}.body.3", "features.{stage}.{unit}.body.4"),
        *_pair("features.{stage}.{unit}.body.6", "features.{stage}.{unit}.body.7"),
    ),
    shortcut=_pair("features.{stage}.{unit}.downsample.0", "features.{stage}.{unit}.downsample.1"),
    head=(DENSE, "output"),
    first_stage=4,
    biased=(0, 2),
)
GLUONCV_CIFAR_V1 = replace(GLUONCV_V1, first_stage=2)  # gluoncv/model_zoo/cifarresnet.py

# gluoncv/model_zoo/resnetv1b.py
GLUONCV_V1B = replace(TORCHVISION, words="gluon")

# As HybridBlock.export names the tensors of the same nets, without the name of the net in front.
GLUONCV_V1_EXPORTED = Names(
    stem=_pair("conv#", "batchnorm#"),
    body=3 * _pair("stage{stage}_conv#", "stage{stage}_batchnorm#"),
    shortcut=_pair("stage{stage}_conv#", "stage{stage}_batchnorm#"),
    head=(DENSE, "dense#"),
    separator="_",
    biased=(0, 2),
)
GLUONCV_V1B_EXPORTED = replace(
    GLUONCV_V1_EXPORTED,
    body=3 * _pair("layers{stage}_conv#", "layers{stage}_batchnorm#"),
    shortcut=_pair("down{stage}_conv#", "down{stage}_batchnorm#"),
    biased=(),
)
