"""A trained network on disk: PREFIX-model.json, its card, and PREFIX-NNNN.params, its parameters."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from typing import Any, Optional, Union

from gluon_resnet.card import ModelCard
from gluon_resnet.errors import ModelError, UsageError
from gluon_resnet.files import Path, sha256, temporary_names
from gluon_resnet.models.build import build_network, describe_network
from gluon_resnet.models.parameters import load_parameters, save_parameters
from gluon_resnet.terminal import note


def parameters_path(prefix: Path, epoch: int) -> str:
    """The path of the network's parameters after `epoch` epochs, by MXNet's convention."""
    return f"{os.fspath(prefix)}-{epoch:04d}.params"


def saved_epochs(prefix: Path) -> list[int]:
    """The numbers of all PREFIX-NNNN.params, in ascending order, whatever they belong to."""
    prefix = os.fspath(prefix)
    files = glob.glob(glob.escape(prefix) + "-*.params")
    epochs = [re.fullmatch(r"(\d{4,})\.params", path[len(prefix) + 1 :]) for path in files]
    return sorted(int(match[1]) for match in epochs if match)


def own_epochs(prefix: Path) -> tuple[list[int], list[int]]:
    """Those of `saved_epochs` that belong to PREFIX-model.json, and the others, from another run or copied there.

    A card says how many epochs were trained. Without a card, or if it does not say, all belong to it.
    """
    found, last = saved_epochs(prefix), _last_epoch(os.fspath(prefix))
    if last is None:
        return found, []
    return [epoch for epoch in found if epoch <= last], [epoch for epoch in found if epoch > last]


def newest_epoch(prefix: Path) -> Optional[int]:
    """The last epoch of the run, or the single network, under PREFIX (see `own_epochs`); None if none is saved."""
    return max(own_epochs(prefix)[0], default=None)


def chosen_epoch(prefix: Path, epoch: Union[int, str, None] = None) -> int:
    """`epoch` as a number: None means the newest, and 'best' the one that training has marked as the best.

    Parameters that do not belong to PREFIX-model.json are left out, and named on standard error; if given by number,
    they are used, and also named. UsageError if there are no parameters under this prefix, or none are marked.
    """
    prefix = os.fspath(prefix)
    own, others = own_epochs(prefix)
    if epoch == "best":
        match = re.search(r"-(\d{4,})\.params$", os.path.realpath(f"{prefix}-best.params"))
        if not match:
            raise UsageError(f"there is no link {prefix}-best.params, which training with validation creates")
        if int(match[1]) in others:
            raise UsageError(
                f"{prefix}-best.params does not belong to this run: {_named(prefix, [int(match[1])])}"
            )
        return int(match[1])
    if epoch is not None:
        if int(epoch) in others:
            note(_named(prefix, [int(epoch)]))
        return int(epoch)
    if own:
        if others:
            note(f"{_named(prefix, others)}: left out")
        return own[-1]
    if others:
        raise UsageError(f"{_named(prefix, others)}: give --epoch {others[-1]} if that is the one you mean")
    raise UsageError(f"there is no {prefix}-NNNN.params: train first, or give another prefix")


def _last_epoch(prefix: str) -> Optional[int]:
    """The last epoch that PREFIX-model.json can describe; None if it does not say."""
    try:
        card = ModelCard.load(f"{prefix}-model.json")
    except (OSError, ModelError):  # whoever needs it will be told
        return None
    if card.exported and os.path.exists(parameters_path(prefix, 0)):  # unless the checkpoint is there, too
        checkpoint = parameters_path(prefix, card.epoch or 0)
        beside = os.path.exists(checkpoint) and sha256(checkpoint) == card.exported.sha256
        return card.epoch if beside else 0
    if card.epoch is None and card.source and not card.recipe:
        return 0  # as converted
    return card.epoch


def _named(prefix: str, epochs: Sequence[int]) -> str:
    """A sentence saying that the parameters of these epochs do not belong to the card of `prefix`."""
    first, last = (parameters_path(prefix, epoch) for epoch in (epochs[0], epochs[-1]))
    files = f"{first} is" if first == last else f"{first} to {last} ({len(epochs)} files) are"
    known = _last_epoch(prefix)
    return f"{files} not of the network of {prefix}-model.json, which has been trained for {known} epochs"


def load_card(prefix: Path) -> ModelCard:
    """The card of PREFIX, which must describe a network that `build_network` can build.

    ModelError, naming the path, for a damaged card or an unknown network; OSError if it cannot be read.
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
    """The card and the network of PREFIX, with its parameters, and preceded by its normalization.

    Args:
        prefix: the prefix of its files, as for tools/train.py.
        epoch: the number NNNN of its parameters; None for the newest.
        contexts: the contexts for its parameters (by default the CPU).
        card: a card to use instead of that of PREFIX, which then need not exist.

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
    """Write the two files, each whole; the folder is created if it does not exist."""
    prefix = os.fspath(prefix)
    os.makedirs(os.path.dirname(prefix) or ".", exist_ok=True)
    with temporary_names(f"{prefix}-model.json", parameters_path(prefix, epoch)) as (card_path, arrays_path):
        card.save(card_path)
        save_parameters(net, arrays_path)
