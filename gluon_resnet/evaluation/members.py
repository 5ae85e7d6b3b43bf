"""The networks of an evaluation, and the names of their classes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gluon_resnet._mxnet import gluon
from gluon_resnet.card import ModelCard, are_numbers
from gluon_resnet.data.class_names import classes_path, read_class_names
from gluon_resnet.errors import DataError, GluonResnetError, UsageError
from gluon_resnet.terminal import shown


@dataclass(frozen=True)
class Member:
    """A trained network.

    Attributes:
        name: the name of the file with its parameters, for messages.
        card: its classes and preprocessing.
        net: a HybridBlock, initialized on all contexts of the evaluation, that maps float32 RGB images from 0 to 255,
            (n, 3, size, size), to scores before the softmax, (n, classes).
    """

    name: str
    card: ModelCard
    net: Any


def require_layers(member: Member) -> None:
    """UsageError if the network is an exported graph."""
    if isinstance(member.net, gluon.SymbolBlock):
        raise UsageError(
            f"{member.name}: an exported graph does not show its layers: name the checkpoint that it was made from"
        )


def class_names(members: Sequence[Member], records: Sequence[str]) -> tuple[str, ...]:
    """The names of the labels: from the cards, or else NAME.classes beside a NAME.rec, or else their numbers.

    The networks, and the files if there are any, must agree on the number of classes, and on the names if they have
    names; a card that numbers its classes from 0 has none.

    Raises:
        UsageError: two networks differ.
        DataError: a file differs from a network or from another file.
    """
    beside = [classes_path(record) for record in records]
    sources: list[tuple[str, tuple[str, ...], type[GluonResnetError]]] = [
        (member.name, member.card.classes, UsageError) for member in members
    ]
    sources += [(path, read_class_names(path), DataError) for path in beside if os.path.exists(path)]
    known, names, _ = sources[0]
    for source, found, error in sources[1:]:
        if len(found) != len(names):
            raise error(f"{source} has {len(found)} classes, but {known} has {len(names)}")
        if are_numbers(names):
            known, names = source, found
        elif not are_numbers(found) and found != names:
            label = next(label for label, pair in enumerate(zip(found, names)) if pair[0] != pair[1])
            raise error(
                f"class {label} is {shown(found[label])} in {source}, but {shown(names[label])} in {known}"
            )
    return names
