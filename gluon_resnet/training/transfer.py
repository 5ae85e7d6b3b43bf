"""Transfer: a new network that starts with the weights of a trained one, below a new head."""

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
    resize_known: bool = True  # whether the card's `resize` is the network's own

    @classmethod
    def find(cls, name: str, told: Optional[Callable[[str], ModelCard]] = None) -> Pretrained:
        """The network that `name` refers to.

        Args:
            name: PREFIX, which means its newest parameters, PREFIX:EPOCH, or PREFIX:best.
            told: a function that makes the card, given the path of the parameters, if there is no PREFIX-model.json.

        Raises:
            UsageError: there are no parameters under this prefix, or there is no card and `told` is None.
            ModelError: the card is damaged, or names an unknown network.
            OSError: the card cannot be read.
        """
        match = re.fullmatch(r"(.+):(\d+|best)", name)
        prefix, epoch = (match[1], match[2]) if match else (name, None)
        chosen = chosen_epoch(prefix, epoch)
        if os.path.exists(f"{prefix}-model.json"):
            return cls(prefix, chosen, load_card(prefix))
        if told is None:
            raise UsageError(f"there is no {prefix}-model.json: give --network and --image-shape instead")
        return cls(prefix, chosen, told(parameters_path(prefix, chosen)), resize_known=False)

    @property
    def path(self) -> str:
        """The path of its parameters."""
        return parameters_path(self.prefix, self.epoch)

    def network(self) -> Any:
        """The network with its weights, on the CPU."""
        return load_network(self.prefix, self.epoch, card=self.card)[1]

    def require_same(self, network: Optional[str], shortcut: Optional[str], variant: Optional[str]) -> None:
        """Raise UsageError if an argument that is not None differs from the card's value."""
        card = self.card
        own_shortcut = describe(card.network, card.shortcut, card.variant).shortcut
        for option, given, own in (
            ("network", network, card.network),
            ("shortcut", shortcut, own_shortcut),
            ("variant", variant, card.variant),
        ):
            if given not in (None, own):
                raise UsageError(
                    f"--{option} is {given}, but the network of {self.prefix}-model.json has {own}: omit it"
                )

    def give_to(self, net: Any, mean_image: bool) -> None:
        """Set all weights and running statistics of `net`, except those of its head, to the trained ones.

        Args:
            net: an initialized network whose card differs from this one at most in classes and preprocessing.
            mean_image: whether `net` has a mean image, like this network, which is then copied, too.

        Raises:
            ModelError: the parameters are damaged, or the network has no head to replace.
        """
        trained = self.network()
        head = set(head_of(net).collect_params())
        source = trained._collect_params_with_prefix()
        for name, parameter in net._collect_params_with_prefix().items():
            constant = name in (
                "0.mean",
                "0.std",
            )  # of Normalize: they are in the card, except for a mean image
            if parameter.name in head or (constant and not (mean_image and name == "0.mean")):
                continue
            parameter.set_data(source[name].data())


def head_of(net: Any) -> Any:
    """The last layer of a network made by build_network; ModelError if it has none."""
    network = net[1]
    if not hasattr(network, "features") or not hasattr(network, "output"):
        raise ModelError(f"{network.name} has no layer `output` after `features` that could be replaced")
    return network.output


def freeze(net: Any) -> None:
    """Make training change nothing in `net` except its head; to be called before a Trainer gets it.

    Parameters without a gradient get no weight decay either. Batch normalization would still measure each batch,
    normalize with the result, and update its running statistics: it is set to use these as they are, as an exported
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
