"""A model without a card: the card of a network that has no PREFIX-model.json, from its user's words and its files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

import numpy as np

from gluon_resnet.card import UNKNOWN, ModelCard
from gluon_resnet.errors import ModelError, UsageError

_HEAD, _MEAN, _STD = "1.output.weight", "0.mean", "0.std"  # in the parameters of every checkpoint


@dataclass(frozen=True)
class PartialCard:
    """The part of a model card that is in none of the network's files; `of_graph` and `of_checkpoint` add the rest.

    Attributes:
        size: the side of the center crop, in pixels.
        resize: the shorter side before the crop, in pixels; None to leave images as they are.
        classes: the class names, in the order of the outputs; None for numbers.
        interpolation: the interpolation, as in `EvalTransform`.
        network: a checkpoint's network, as for `gluon_resnet.models.get_model`, perhaps with its variant at the end.
        variant: a checkpoint's variant; None for the network's own.
        shortcut: a checkpoint's shortcut option; None for the network's own.
    """

    size: int
    resize: Optional[int] = None
    classes: Optional[tuple[str, ...]] = None
    interpolation: str = "linear"
    network: Optional[str] = None
    variant: Optional[str] = None
    shortcut: Optional[str] = None

    def of_graph(self, outputs: int, path: str) -> ModelCard:
        """The card of an exported graph with `outputs` outputs, which contains its normalization.

        Args:
            outputs: the number of outputs.
            path: the path of its file, for messages.

        Raises:
            ModelError: the number of outputs is not that of the classes.
        """
        return ModelCard(
            network=UNKNOWN,
            classes=self._names(outputs, path),
            size=self.size,
            mean=(0.0, 0.0, 0.0),
            std=(1.0, 1.0, 1.0),
            resize=self.resize,
            interpolation=self.interpolation,
            decoder=None,
        )

    def of_checkpoint(self, path: str) -> ModelCard:
        """The card of a checkpoint, whose parameters at `path` include its mean and standard deviation.

        Raises:
            UsageError: the network is not given, or does not exist.
            ModelError: the parameters are damaged, or do not belong to such a network, or have other classes.
        """
        # These import MXNet, which a predictor with ONNX does without.
        from gluon_resnet.models.build import describe_network
        from gluon_resnet.models.parameters import read_arrays
        from gluon_resnet.models.registry import choose_variant

        if self.network is None:
            raise UsageError(f"{path} does not say which network it belongs to: give --network as well")
        network, variant = choose_variant(self.network, self.variant)
        arrays = read_arrays(path)
        missing = [name for name in (_HEAD, _MEAN, _STD) if name not in arrays]
        if missing:
            raise ModelError(f"{path}: expected a parameter {missing[0]}, found none", path)
        mean, std = (_three(path, name, arrays[name]) for name in (_MEAN, _STD))
        card = ModelCard(
            network=network,
            classes=self._names(len(arrays[_HEAD]), path),
            size=self.size,
            mean=mean,
            std=std,
            resize=self.resize,
            interpolation=self.interpolation,
            decoder=None,
            shortcut=self.shortcut,
            variant=variant or "v1",
            per_pixel_mean=arrays[_MEAN].size > 3,
        )
        describe_network(card)
        return card

    def _names(self, outputs: int, path: str) -> tuple[str, ...]:
        names = self.classes or tuple(map(str, range(outputs)))
        if len(names) != outputs:
            raise ModelError(
                f"{path}: expected {outputs} class names, one for each output, found {len(names)}", path
            )
        return names


def _three(path: str, name: str, array: np.ndarray) -> tuple[float, float, float]:
    """One value each for R, G and B."""
    if array.ndim != 3 or len(array) != 3 or not np.isfinite(array).all():
        raise ModelError(f"{path}: parameter {name} does not have three colors", path)
    red, green, blue = array.reshape(3, -1).mean(axis=1, dtype=np.float64).tolist()
    return red, green, blue
