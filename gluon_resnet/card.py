"""The model card: what has to be known about a trained network besides its weights, as PREFIX-model.json.

{"format": "gluon-resnet model card 1",
 "network": "resnet20", "shortcut": "A" or null, "variant": "v1",
 "classes": ["airplane", ...],                                    names, in the order of the outputs
 "preprocessing": {"resize": 256 or null, "size": 224, "interpolation": "linear", "channels": "RGB",
                   "mean": [123.68, 116.779, 103.939], "std": [...], "per_pixel_mean": false},
 "training": {...}}                                               how it came about; nothing depends on it
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import Any, NoReturn, Optional, Union

import numpy as np

from gluon_resnet.errors import ModelError, UsageError
from gluon_resnet.files import whole_file

Path = Union[str, "os.PathLike[str]"]

_FLOAT32_LIMIT = 3e38
_FORMAT = "gluon-resnet model card 1"
_KEYS = ("format", "network", "shortcut", "variant", "classes", "preprocessing", "training")
_PREPROCESSING_KEYS = ("resize", "size", "interpolation", "channels", "mean", "std", "per_pixel_mean")


@dataclass(frozen=True)
class ModelCard:
    """A network, its classes, and the images that it expects.

    It is read where there is no MXNet, too: whether there is such a network is for `gluon_resnet.models` to say.

    Raises:
        UsageError: a value that cannot be.
    """

    network: str  # as for gluon_resnet.models.get_model
    classes: tuple[str, ...]  # names, in the order of the outputs
    size: int  # side of the centre crop, in pixels
    mean: tuple[float, float, float]  # of R, G and B from 0 to 255
    std: tuple[float, float, float]
    resize: Optional[int] = None  # shorter side before the crop, in pixels; None: as it is
    interpolation: str = "linear"
    shortcut: Optional[str] = None  # None: the network's own
    variant: str = "v1"
    per_pixel_mean: bool = False  # the parameters hold a mean image, and `mean` is only what it averages to
    training: dict[str, Any] = field(default_factory=dict)  # anything that JSON can hold

    def __post_init__(self) -> None:
        for name in ("network", "interpolation", "variant"):
            _require(isinstance(getattr(self, name), str), name, "text", getattr(self, name))
        _require(self.shortcut is None or isinstance(self.shortcut, str), "shortcut", "text", self.shortcut)
        names = isinstance(self.classes, tuple) and all(isinstance(name, str) for name in self.classes)
        _require(names and len(self.classes) > 0, "classes", "at least one name", self.classes)
        _require(_is_length(self.size), "size", "a number of pixels", self.size)
        _require(self.resize is None or _is_length(self.resize), "resize", "a number of pixels", self.resize)
        _require(_are_statistics(self.mean), "mean", "3 finite numbers", self.mean)
        positive = _are_statistics(self.std) and np.float32(min(self.std)).item() > 0
        _require(positive, "std", "3 positive numbers", self.std)
        _require(
            isinstance(self.per_pixel_mean, bool), "per_pixel_mean", "true or false", self.per_pixel_mean
        )
        _require(isinstance(self.training, dict), "training", "an object", self.training)

    def save(self, path: Path) -> None:
        """Write the card as JSON; ValueError when `training` holds what JSON cannot (NaN, too)."""
        content = {
            "format": _FORMAT,
            "network": self.network,
            "shortcut": self.shortcut,
            "variant": self.variant,
            "classes": self.classes,
            "preprocessing": {
                "resize": self.resize,
                "size": self.size,
                "interpolation": self.interpolation,
                "channels": "RGB",
                "mean": [float(value) for value in self.mean],
                "std": [float(value) for value in self.std],
                "per_pixel_mean": self.per_pixel_mean,
            },
            "training": self.training,
        }
        with whole_file(path) as stream:
            stream.write(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")

    @classmethod
    def load(cls, path: Path) -> ModelCard:
        """Read a card; ModelError, naming the path, for anything that `save` would not have written."""
        path = os.fspath(path)
        with open(path, "rb") as stream:
            text = stream.read()
        try:
            content = json.loads(text.decode(), parse_constant=_no_constant)
            _require_keys(content, "the card", _KEYS)
            _require(content["format"] == _FORMAT, "format", repr(_FORMAT), content["format"])
            preprocessing = content["preprocessing"]
            _require_keys(preprocessing, "preprocessing", _PREPROCESSING_KEYS)
            _require(preprocessing["channels"] == "RGB", "channels", "'RGB'", preprocessing["channels"])
            return cls(
                network=content["network"],
                classes=_tuple(content["classes"]),
                size=preprocessing["size"],
                mean=_tuple(preprocessing["mean"]),
                std=_tuple(preprocessing["std"]),
                resize=preprocessing["resize"],
                interpolation=preprocessing["interpolation"],
                shortcut=content["shortcut"],
                variant=content["variant"],
                per_pixel_mean=preprocessing["per_pixel_mean"],
                training=content["training"],
            )
        except UsageError as error:
            raise ModelError(f"{path}: {error}", path=path) from None
        except (ValueError, RecursionError) as error:
            raise ModelError(f"{path}: this is not a model card in JSON: {error}", path=path) from None


def _require(condition: bool, name: str, expected: str, found: Any) -> None:
    if not condition:
        raise UsageError(f"{name}: expected {expected}, found {repr(found)[:80]}")


def _require_keys(value: Any, name: str, keys: tuple[str, ...]) -> None:
    _require(isinstance(value, dict) and set(value) == set(keys), name, f"the keys {', '.join(keys)}", value)


def _is_length(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _are_statistics(values: Any) -> bool:
    if not isinstance(values, tuple) or len(values) != 3:
        return False
    if any(isinstance(v, bool) or not isinstance(v, (int, float, np.floating)) for v in values):
        return False
    return all(abs(v) < _FLOAT32_LIMIT for v in values)  # not converted: an int may be too large for a float


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON")
