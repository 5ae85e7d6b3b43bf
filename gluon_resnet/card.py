"""The model card, PREFIX-model.json: everything to know about a trained network besides its weights.

docs/model_card.md describes the file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Optional

import numpy as np

from gluon_resnet.errors import DataError, ModelError, UsageError
from gluon_resnet.files import Path, whole_file
from gluon_resnet.json_values import (
    from_json,
    is_integer,
    is_json,
    is_number,
    is_text,
    read_json,
    require,
    require_keys,
)
from gluon_resnet.provenance import Exported, MeasuredError, Source, TrainedBy, TrainedOn, require_named_texts
from gluon_resnet.terminal import printable_name, shown

UNKNOWN = "unknown"  # the network of a graph that nobody has described
OUR_DECODER = "libjpeg-turbo"  # full decode, smooth chroma: see Loader

_FLOAT32_LIMIT = 3e38
_MOST_PIXELS = 1 << 14  # as in csrc/predictor/card.h
_FORMAT = "gluon-resnet model card 2"
_KEYS = ("format", "network", "shortcut", "variant", "classes", "preprocessing")
_PREPROCESSING = ("decoder", "resize", "interpolation", "crop", "size", "channels")
_NORMALIZATION = ("mean", "std", "per_pixel_mean")
_PROVENANCE = ("epoch", "data", "recipe", "errors", "versions", "source", "exported", "quantization")
_FIXED = {"crop": "center", "channels": "RGB"}  # the only values so far


@dataclass(frozen=True)
class ModelCard:
    """A network, its classes, the images that it expects, and how it came about.

    Cards are also read without MXNet, so only `gluon_resnet.models` checks whether the network exists.

    Raises:
        UsageError: a value is impossible.
    """

    network: str  # as for gluon_resnet.models.get_model, or UNKNOWN
    classes: tuple[str, ...]  # their names, in the order of the outputs
    size: int  # the side of the centre crop, in pixels
    mean: tuple[float, float, float]  # of R, G and B, on a scale from 0 to 255
    std: tuple[float, float, float]
    resize: Optional[int] = (
        None  # the shorter side before the crop, in pixels; None to leave images as they are
    )
    interpolation: str = "linear"
    decoder: Optional[str] = OUR_DECODER  # the decoder used in training; None if not known
    shortcut: Optional[str] = None  # None for the network's own
    variant: str = "v1"
    per_pixel_mean: bool = False  # the parameters contain a mean image, of which `mean` is the average
    epoch: Optional[int] = None  # epochs trained, by an export or so far by a run; None if not known
    data: Optional[TrainedOn] = None
    recipe: Optional[TrainedBy] = None
    errors: tuple[MeasuredError, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)  # those of the software that computed it
    source: Optional[Source] = None  # None if the weights were trained here
    exported: Optional[Exported] = None  # the origin of the files that predictors read
    quantization: Optional[dict[str, Any]] = None  # how it was quantized to INT8; for people to read

    def __post_init__(self) -> None:
        for name in ("network", "interpolation", "variant"):
            require(is_text(getattr(self, name)), name, "text", getattr(self, name))
        for name in ("shortcut", "decoder"):
            value = getattr(self, name)
            require(value is None or is_text(value), name, "text", value)
        names = isinstance(self.classes, tuple) and all(map(is_text, self.classes))
        require(names and len(self.classes) > 0, "classes", "at least one name", self.classes)
        require(_is_length(self.size), "size", "a number of pixels", self.size)
        require(self.resize is None or _is_length(self.resize), "resize", "a number of pixels", self.resize)
        require(_are_statistics(self.mean), "mean", "3 finite numbers", self.mean)
        positive = _are_statistics(self.std) and np.float32(min(self.std)).item() > 0
        require(positive, "std", "3 positive numbers", self.std)
        pixels = self.per_pixel_mean
        require(isinstance(pixels, bool), "per_pixel_mean", "true or false", pixels)
        epoch = self.epoch
        require(epoch is None or is_integer(epoch, 0, 1 << 62), "epoch", "a number from 0", epoch)
        for name, kind in (
            ("data", TrainedOn),
            ("recipe", TrainedBy),
            ("source", Source),
            ("exported", Exported),
        ):
            value = getattr(self, name)
            require(value is None or isinstance(value, kind), name, "an object or null", value)
        measured = isinstance(self.errors, tuple) and all(isinstance(e, MeasuredError) for e in self.errors)
        require(measured, "errors", "a list of errors", self.errors)
        require_named_texts(self.versions, "versions")
        how = self.quantization
        known = how is None or (isinstance(how, dict) and is_json(how))
        require(known, "quantization", "an object that JSON can hold, or null", how)

    def at_epoch(self, epoch: int) -> ModelCard:
        """The card of one network of a run, as it was after `epoch` epochs, with its own errors.

        The training of converted weights is of unknown length: theirs are the parameters of epoch 0.
        """
        known = None if self.source and epoch == 0 else epoch
        return replace(self, epoch=known, errors=tuple(e for e in self.errors if e.epoch == epoch))

    def require_format(self, name: str, path: str) -> None:
        """ModelError if the card, read from `path`, belongs to an export without the files of this format.

        Such files may exist all the same, from an earlier export of another network.
        """
        if self.exported is not None and name not in self.exported.formats:
            found = printable_name(", ".join(self.exported.formats) or "none")
            raise ModelError(f"{path}: exported: expected the format {name}, found {found}", path=path)

    def with_error(self, error: MeasuredError) -> ModelCard:
        """The card with one more error, which replaces that of the same test."""
        others = tuple(e for e in self.errors if not e.same_test(error))
        return replace(self, errors=(*others, error))

    def content(self) -> dict[str, Any]:
        """The content of the file."""
        values = {**asdict(self), **_FIXED, "format": _FORMAT}
        for name in ("mean", "std"):
            values[name] = [float(value) for value in values[name]]  # they may be NumPy's
        content = {key: values.get(key) for key in (*_KEYS, *_PROVENANCE)}
        content["preprocessing"] = {key: values[key] for key in (*_PREPROCESSING, *_NORMALIZATION)}
        return content

    def text(self) -> str:
        """The text that `save` writes."""
        return json.dumps(self.content(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def save(self, path: Path) -> None:
        """Write the card as JSON."""
        with whole_file(path) as stream:
            stream.write(self.text())

    @classmethod
    def load(cls, path: Path) -> ModelCard:
        """Read a card; ModelError, naming the path, for anything that `save` could not have written."""
        path = os.fspath(path)
        try:
            content: Any = read_json(path)
            require_keys(content, "the card", (*_KEYS, *_PROVENANCE))
            preprocessing = content.pop("preprocessing")
            require_keys(preprocessing, "preprocessing", (*_PREPROCESSING, *_NORMALIZATION))
            values = {**content, **preprocessing}
            for name, only in (("format", _FORMAT), *_FIXED.items()):
                found = values.pop(name)
                require(found == only, name, repr(only), found)
            return from_json(cls, values, "the card")
        except UsageError as error:
            raise ModelError(f"{path}: {error}", path=path) from None
        except DataError as error:
            raise ModelError(str(error), path=path) from None
        except ValueError as error:
            raise ModelError(f"{path}: this is not a model card in JSON: {error}", path=path) from None


def class_difference(then: Sequence[str], now: Sequence[str]) -> Optional[str]:
    """How the classes of equal labels differ, as a clause; None if they do not.

    Classes that are numbered from 0 have no names: only their number can differ from that of others.
    """
    if len(then) != len(now):
        return f"there were {len(then)} classes, and there are {len(now)} now"
    if are_numbers(then) or are_numbers(now):
        return None
    for label, (name, other) in enumerate(zip(then, now)):
        if name != other:
            return f"class {label} was {shown(name)}, and is {shown(other)} now"
    return None


def note_of_fractions(
    options: Sequence[str], mean: Optional[Sequence[float]], std: Optional[Sequence[float]]
) -> Optional[str]:
    """A note if a mean and deviation look like torchvision's 0.485,... and 0.229,..., for pixels from 0 to 1.

    `options` are the names of the two; each may be None if it was not given.
    """
    of_one = [
        option
        for option, values in zip(options, (mean, std))
        if values is not None and 0 < max(values) < 1  # a mean of 0,0,0 subtracts nothing, as intended
    ]
    if not of_one:
        return None
    verb = "is" if len(of_one) == 1 else "are"
    return f"{' and '.join(of_one)} {verb} taken to be for pixels from 0 to 255; if meant for 0 to 1, multiply by 255"


def are_numbers(classes: Sequence[str]) -> bool:
    """Whether the classes have no names besides their labels."""
    return tuple(classes) == tuple(map(str, range(len(classes))))


def _is_length(value: Any) -> bool:
    return is_integer(value, 1, _MOST_PIXELS)


def _are_statistics(values: Any) -> bool:
    triple = isinstance(values, tuple) and len(values) == 3
    return triple and all(is_number(v, -_FLOAT32_LIMIT, _FLOAT32_LIMIT) for v in values)
