"""Transfer: a new network that begins with the weights of a trained one, under a new head."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any, Callable, Optional

from gluon_resnet._mxnet import gluon
from gluon_resnet.card import ModelCard
from gluon_resnet.errors import ModelError, UsageError
from gluon_resnet.models.registry import describe
from gluon_resnet.models.saved import chosen_epoch, load_card, load_network, parameters_path


@dataclass(frozen=True)
class Pretrained:
    """A trained network on disk, and its card."""

    prefix: str
    epoch: int
    card: ModelCard
    resize_known: bool = True  # the card's `resize` is the network's own

    @classmethod
    def find(cls, name: str, told: Optional[Callable[[str], ModelCard]] = None) -> Pretrained:
        """The network of `name`: PREFIX, whose newest parameters are meant, PREFIX:EPOCH, or PREFIX:best.

        Args:
            name: see above.
            told: gives the card for the path of the parameters, where there is no PREFIX-model.json.

        Raises:
            UsageError: there are no parameters under this prefix, or no card, and nothing is told.
            ModelError: the card is damaged, or of an unknown network.
            OSError: the card cannot be read.
        """
        match = re.fullmatch(r"(.+):(\d+|best)", name)
        prefix, epoch = (match[1], match[2]) if match else (name, None)
        chosen = chosen_epoch(prefix, epoch)
        if os.path.exists(f"{prefix}-model.json"):
            return cls(prefix, chosen, load_card(prefix))
        if told is None:
            raise UsageError(
                f"there is no {prefix}-model.json: give --network and --image-shape, which it would say"
            )
        return cls(prefix, chosen, told(parameters_path(prefix, chosen)), resize_known=False)

    @property
    def path(self) -> str:
        """Where its parameters are."""
        return parameters_path(self.prefix, self.epoch)

    def network(self) -> Any:
        """It, built and with its weights, on the CPU."""
        return load_network(self.prefix, self.epoch, card=self.card)[1]

    def require_same(self, network: Optional[str], shortcut: Optional[str], variant: Optional[str]) -> None:
        """Raise UsageError when one that is not None differs from the card's."""
        card = self.card
        own_shortcut = describe(card.network, card.shortcut, card.variant).shortcut
        for option, given, own in (
            ("network", network, card.network),
            ("shortcut", shortcut, own_shortcut),
            ("variant", variant, card.variant),
        ):
            if given not in (None, own):
                raise UsageError(
                    f"--{option} is {given}, and the network of {self.prefix}-model.json has {own}: leave it out"
                )

    def give_to(self, net: Any, mean_image: bool) -> None:
        """Set all weights and running statistics of `net` but those of its head to the trained ones.

        Args:
            net: initialized, of a card that differs from this one in classes and preprocessing at most.
            mean_image: `net` has a mean image, as this network has, and gets it, too.

        Raises:
            ModelError: the parameters are damaged, or the network has no head to replace.
        """
        trained = self.network()
        head = set(head_of(net).collect_params())
        source = trained._collect_params_with_prefix()
        for name, parameter in net._collect_params_with_prefix().items():
            constant = name in ("0.mean", "0.std")  # of Normalize: the card has them, but for a mean image
            if parameter.name in head or (constant and not (mean_image and name == "0.mean")):
                continue
            parameter.set_data(source[name].data())


def head_of(net: Any) -> Any:
    """The last layer of a network behind its normalization (build_network); ModelError when it has none."""
    network = net[1]
    if not hasattr(network, "features") or not hasattr(network, "output"):
        raise ModelError(f"{network.name} has no layer `output` after `features` that could be replaced")
    return network.output


def freeze(net: Any) -> None:
    """Let training change nothing of `net` but its head; before a Trainer takes it.

    Parameters without a gradient get no weight decay either. Batch normalization would still measure each batch,
    normalize with that, and move its running statistics: it is told to use these as they are, which an exported
    network does anyway.
    """
    head = set(head_of(net).collect_params())
    for name, parameter in net.collect_params().items():
        if name not in head:
            parameter.grad_req = "null"
    net[1].features.apply(_use_running_statistics)


def _use_running_statistics(block: Any) -> None:
    if isinstance(block, gluon.nn.BatchNorm):
        block._kwargs["use_global_stats"] = True
