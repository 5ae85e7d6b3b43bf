"""The card of a network that has none, as the command line tells it and its files show it."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Optional

import numpy as np

from gluon_resnet.card import ModelCard
from gluon_resnet.cli.told_sizes import add_size_options
from gluon_resnet.data.class_names import read_class_names
from gluon_resnet.deploy.graph import count_classes
from gluon_resnet.deploy.symbol_file import SymbolFile
from gluon_resnet.errors import ModelError, UsageError
from gluon_resnet.models.build import describe_network
from gluon_resnet.models.parameters import read_arrays
from gluon_resnet.models.registry import choose_variant

_HEAD, _MEAN, _STD = "1.output.weight", "0.mean", "0.std"  # in the parameters of every checkpoint


@dataclass(frozen=True)
class ToldCard:
    """What a user says of a network without PREFIX-model.json; what is left out is not known."""

    size: int  # side of its images, in pixels
    resize: Optional[int] = None  # as in a ModelCard
    classes_path: Optional[str] = None  # names, one a line; None: numbers
    network: Optional[str] = None  # perhaps with the variant behind it
    variant: Optional[str] = None
    shortcut: Optional[str] = None

    @staticmethod
    def of(args: argparse.Namespace) -> Optional[ToldCard]:
        """What the options of `add_card_options` say, None without --size; UsageError for others without it."""
        if args.size is not None:
            return ToldCard(args.size, args.resize, args.classes, args.network, None, args.shortcut)
        for name in ("resize", "classes", "network", "shortcut"):
            if getattr(args, name) is not None:
                raise UsageError(f"--{name} is for a network without PREFIX-model.json: give --size, too")
        return None

    def of_graph(self, path: str) -> ModelCard:
        """The card of an exported graph; ModelError where it is none, or has not an output for each name."""
        return ModelCard.of_graph(
            self._names(count_classes(SymbolFile(path), self.size)), self.size, self.resize
        )

    def of_checkpoint(self, path: str) -> ModelCard:
        """The card of a checkpoint, whose parameters at `path` have its mean and standard deviation.

        Raises:
            UsageError: the network is not told, or there is no such one.
            ModelError: the parameters are damaged, or not those of a network of ours, or have other classes.
        """
        if self.network is None:
            raise UsageError(f"{path} does not say which network it is of: give --network, too")
        network, variant = choose_variant(self.network, self.variant)
        arrays = read_arrays(path)
        missing = [name for name in (_HEAD, _MEAN, _STD) if name not in arrays]
        if missing:
            raise ModelError(f"{path}: expected a parameter {missing[0]}, found none", path)
        mean, std = (_three(path, name, arrays[name]) for name in (_MEAN, _STD))
        card = ModelCard(
            network=network,
            classes=self._names(len(arrays[_HEAD])),
            size=self.size,
            mean=mean,
            std=std,
            resize=self.resize,
            decoder=None,
            shortcut=self.shortcut,
            variant=variant or "v1",
            per_pixel_mean=arrays[_MEAN].size > 3,
        )
        describe_network(card)
        return card

    def _names(self, outputs: int) -> tuple[str, ...]:
        path = self.classes_path
        if path is None:
            return tuple(map(str, range(outputs)))
        names = read_class_names(path)
        if len(names) != outputs:
            raise ModelError(
                f"{path}: expected {outputs} names, one for each output, found {len(names)}", path
            )
        return names


def add_card_options(parser: argparse.ArgumentParser) -> None:
    """The options that ToldCard.of takes."""
    group = add_size_options(parser)
    group.add_argument("--network", help="of a checkpoint: resnet50, resnet20_v2, ... as for train.py")
    group.add_argument("--shortcut", help="its shortcut option, A, B or C (default: the network's own)")


def _three(path: str, name: str, array: np.ndarray) -> tuple[float, float, float]:
    """One value for each of R, G and B."""
    if array.ndim != 3 or len(array) != 3 or not np.isfinite(array).all():
        raise ModelError(f"{path}: parameter {name} is not of three colours", path)
    red, green, blue = array.reshape(3, -1).mean(axis=1, dtype=np.float64).tolist()
    return red, green, blue
