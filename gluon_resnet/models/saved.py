"""A trained network on disk: PREFIX-model.json, its card, and PREFIX-NNNN.params, its parameters."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from typing import Any, Optional, Union

from gluon_resnet.card import ModelCard
from gluon_resnet.errors import ModelError, UsageError
from gluon_resnet.models.build import build_network, describe_network
from gluon_resnet.models.parameters import load_parameters, save_parameters

Path = Union[str, "os.PathLike[str]"]


def parameters_path(prefix: Path, epoch: int) -> str:
    """The parameters of the network after so many epochs, by MXNet's convention."""
    return f"{os.fspath(prefix)}-{epoch:04d}.params"


def newest_epoch(prefix: Path) -> Optional[int]:
    """The highest N of PREFIX-NNNN.params; None where there is none."""
    prefix = os.fspath(prefix)
    files = glob.glob(glob.escape(prefix) + "-*.params")
    epochs = [re.fullmatch(r"(\d{4,})\.params", path[len(prefix) + 1 :]) for path in files]
    return max((int(match[1]) for match in epochs if match), default=None)


def chosen_epoch(prefix: Path, epoch: Union[int, str, None] = None) -> int:
    """`epoch` as a number: None is the newest, 'best' that of the lowest validation error, which training has marked.

    UsageError where there are no parameters under this prefix, or none are marked.
    """
    prefix = os.fspath(prefix)
    if epoch == "best":
        match = re.search(r"-(\d{4,})\.params$", os.path.realpath(f"{prefix}-best.params"))
        if not match:
            raise UsageError(f"there is no link {prefix}-best.params, which training with validation makes")
        return int(match[1])
    if epoch is None:
        epoch = newest_epoch(prefix)
    if epoch is None:
        raise UsageError(f"there is no {prefix}-NNNN.params: train first, or name another prefix")
    return int(epoch)


def load_card(prefix: Path) -> ModelCard:
    """The card of PREFIX, of a network that `build_network` builds.

    ModelError, naming the path, for a damaged card or an unknown network; OSError where it cannot be read.
    """
    path = f"{os.fspath(prefix)}-model.json"
    card = ModelCard.load(path)
    try:
        describe_network(card)
    except UsageError as error:
        raise ModelError(f"{path}: {error}", path=path) from None
    return card


def load_network(
    prefix: Path,
    epoch: Optional[int] = None,
    contexts: Optional[Sequence[Any]] = None,
    card: Optional[ModelCard] = None,
) -> tuple[ModelCard, Any]:
    """The card and the network of PREFIX, initialized, with its normalization in front.

    Args:
        prefix: as for tools/train.py.
        epoch: NNNN; None: the newest.
        contexts: where its parameters are to be (default: the CPU).
        card: instead of the one of PREFIX, which need not be there.

    Raises:
        UsageError: there are no parameters under this prefix.
        ModelError: the card or the parameters are damaged, or do not belong together.
        OSError: a file cannot be read.
    """
    epoch = chosen_epoch(prefix, epoch)
    card = load_card(prefix) if card is None else card
    net = build_network(card)
    net.initialize(ctx=contexts)
    load_parameters(net, parameters_path(prefix, epoch))
    return card, net


def save_network(prefix: Path, epoch: int, card: ModelCard, net: Any) -> None:
    """Write the two files, each whole; the folder is made when it does not exist."""
    prefix = os.fspath(prefix)
    os.makedirs(os.path.dirname(prefix) or ".", exist_ok=True)
    save_parameters(net, parameters_path(prefix, epoch))
    card.save(f"{prefix}-model.json")
