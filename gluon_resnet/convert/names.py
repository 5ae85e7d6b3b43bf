"""How each project names the tensors of a residual network: one table per naming scheme, beside our names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Optional

CONVOLUTION, NORM, DENSE = "convolution", "normalization", "dense"

_NORM_PLACES = {"stem.1", "activation.0", "body.1", "body.4", "body.7", "shortcut.1", "tail"}
_NORM_WORDS = ("gamma", "beta", "running_mean", "running_var")
_TORCH_WORDS = {"gamma": "weight", "beta": "bias"}  # PyTorch's names for these parameters of a normalization


class Layer(NamedTuple):
    """A layer of our network that has parameters.

    Attributes:
        kind: CONVOLUTION, NORM or DENSE.
        place: 'stem.0', 'stem.1'; in a unit 'body.0', 'shortcut.1', 'activation.0', ...; 'tail', 'output'.
        stage, unit: their numbers, from 0; 0 outside of units.
        tensors: our names of its parameters, by Gluon's words (weight, gamma, ...).
        shapes: the shapes of these.
    """

    kind: str
    place: str
    stage: int
    unit: int
    tensors: dict[str, str]
    shapes: dict[str, tuple[int, ...]]


# GluonCV's v2 nets begin with a normalization of the image, which ours have before the network.
_INPUT = Layer(NORM, "input", 0, 0, {}, dict.fromkeys(_NORM_WORDS, (3,)))


def our_layers(net: Any) -> list[Layer]:
    """The layers of a network of get_model, in the order of computation."""
    parameters: dict[str, dict[str, Any]] = {}
    for name, parameter in net._collect_params_with_prefix().items():
        path, _, word = name.rpartition(".")
        parameters.setdefault(path, {})[word] = (f"1.{name}", parameter.shape)  # 0 is the normalization
    in_units = [re.fullmatch(r"features\.(\d+)\.(\d+)\.(.+)", path) for path in parameters]
    first = min(int(match[1]) for match in in_units if match)
    layers = []
    for (path, words), match in zip(parameters.items(), in_units):
        kind = NORM if "gamma" in words else DENSE if path == "output" else CONVOLUTION
        stage, unit, place = (int(match[1]) - first, int(match[2]), match[3]) if match else (0, 0, path)
        if match is None and path != "output":
            number = path.split(".")[1]
            place = f"stem.{number}" if int(number) < first else "tail"
        tensors = {word: name for word, (name, _) in words.items()}
        layers.append(Layer(kind, place, stage, unit, tensors, {w: shape for w, (_, shape) in words.items()}))
    return layers


@dataclass(frozen=True)
class Names:
    """A naming scheme: a path for each place that a layer of ours can have.

    In a path, {stage} and {unit} are numbers, and # is the number of earlier layers with this path.
    """

    places: Mapping[str, str]
    torch_words: bool = False
    separator: str = "."
    first_stage: int = 1
    biased: bool = False  # the 1x1 convolutions in bodies have a bias
    input_norm: Optional[str] = None  # the path of a normalization of the image

    def tensors(self, layers: Sequence[Layer]) -> list[tuple[Layer, dict[str, str]]]:
        """The layers, each with its tensors' names here by Gluon's words, including biases that ours lack."""
        counter: Counter[str] = Counter()
        return [
            (layer, self._tensors(layer, counter))
            for layer in ([_INPUT] if self.input_norm else []) + [*layers]
        ]

    def _tensors(self, layer: Layer, counter: Counter[str]) -> dict[str, str]:
        path = self.input_norm if layer is _INPUT else self.places[layer.place]
        assert path is not None
        path = path.format(stage=self.first_stage + layer.stage, unit=layer.unit)
        number = counter[path]
        counter[path] += 1
        path = path.replace("#", str(number)) + self.separator
        words = [*layer.shapes]
        if self.biased and layer.place.startswith("body") and layer.shapes.get("weight", ())[2:] == (1, 1):
            words.append("bias")
        translation = _TORCH_WORDS if self.torch_words and layer.kind == NORM else {}
        return {word: path + translation.get(word, word) for word in words}


def _in_unit(places: Mapping[str, str], unit: str = "layer{stage}.{unit}.") -> dict[str, str]:
    return {place: unit + path for place, path in places.items()}


# torchvision/models/resnet.py
TORCHVISION = Names(
    {
        **{"stem.0": "conv1", "stem.1": "bn1"},
        **_in_unit({"body.0": "conv1", "body.3": "conv2", "body.6": "conv3"}),
        **_in_unit({"body.1": "bn1", "body.4": "bn2", "body.7": "bn3"}),
        **_in_unit({"shortcut.0": "downsample.0", "shortcut.1": "downsample.1"}),
        **{"output": "fc"},
    },
    torch_words=True,
)

# github.com/akamaster/pytorch_resnet_cifar10, resnet.py
AKAMASTER = replace(
    TORCHVISION,
    places={
        **TORCHVISION.places,
        **_in_unit({"shortcut.0": "shortcut.0", "shortcut.1": "shortcut.1"}),
        **{"output": "linear"},
    },
)

# gluoncv/model_zoo/resnet.py, and MXNet's own mxnet/gluon/model_zoo/vision/resnet.py
_FEATURES = "features.{stage}.{unit}."
GLUONCV_V1 = Names(
    {
        **{"stem.0": "features.0", "stem.1": "features.1"},
        **_in_unit({f"body.{number}": f"body.{number}" for number in (0, 1, 3, 4, 6, 7)}, _FEATURES),
        **_in_unit({"shortcut.0": "downsample.0", "shortcut.1": "downsample.1"}, _FEATURES),
        **{"output": "output"},
    },
    first_stage=4,
    biased=True,
)
GLUONCV_V2 = Names(
    {
        **{"stem.0": "features.1", "stem.1": "features.2"},
        **_in_unit({"activation.0": "bn1", "body.1": "bn2", "body.4": "bn3"}, _FEATURES),
        **_in_unit({"body.0": "conv1", "body.3": "conv2", "body.6": "conv3"}, _FEATURES),
        **_in_unit({"shortcut.0": "downsample"}, _FEATURES),
        **{"tail": "features.9", "output": "output"},
    },
    first_stage=5,
    input_norm="features.0",
)

# gluoncv/model_zoo/resnetv1b.py
GLUONCV_V1B = replace(TORCHVISION, torch_words=False)

# gluoncv/model_zoo/cifarresnet.py
GLUONCV_CIFAR_V1 = replace(GLUONCV_V1, first_stage=2)
GLUONCV_CIFAR_V2 = replace(GLUONCV_V2, first_stage=2, places={**GLUONCV_V2.places, "tail": "features.5"})


def _exported(names: Names, stage: str = "stage{stage}_", down: str = "stage{stage}_") -> Names:
    """The tensors' names in the same net after HybridBlock.export, without the net's own name in front."""
    places = {}
    for place in names.places:
        scope = {"body": stage, "activation": stage, "shortcut": down}.get(place.split(".")[0], "")
        layer = "dense#" if place == "output" else "batchnorm#" if place in _NORM_PLACES else "conv#"
        places[place] = scope + layer
    return replace(
        names,
        places=places,
        separator="_",
        first_stage=1,
        input_norm="batchnorm#" if names.input_norm else None,
    )


GLUONCV_V1_EXPORTED = _exported(GLUONCV_V1)
GLUONCV_V1B_EXPORTED = _exported(GLUONCV_V1B, stage="layers{stage}_", down="down{stage}_")
GLUONCV_V2_EXPORTED = _exported(GLUONCV_V2)
GLUONCV_CIFAR_V1_EXPORTED = _exported(GLUONCV_CIFAR_V1)
GLUONCV_CIFAR_V2_EXPORTED = _exported(GLUONCV_CIFAR_V2)
