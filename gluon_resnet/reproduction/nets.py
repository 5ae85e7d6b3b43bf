"""The networks of a study."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Optional

from gluon_resnet.errors import UsageError
from gluon_resnet.models.registry import describe


@dataclass(frozen=True)
class PlannedNet:
    """A network to train."""

    key: str  # the beginning of its files' names
    network: str  # as for get_model
    shortcut: Optional[str]  # None if it has none
    seed: int = 0  # train.py's; nets with other seeds repeat the one with seed 0
    converted: Optional[str] = (
        None  # the prefix of a network that convert.py wrote and that is not trained here
    )

    @property
    def depth(self) -> int:
        """Its number of layers according to its name; 0 for a rival of the paper without a number."""
        match = re.search(r"\d+", self.network)
        return int(match[0]) if match else 0


def planned_nets(names: Sequence[str], own_shortcut: str, seeds: int = 1) -> tuple[PlannedNet, ...]:
    """The networks named 'resnet34-C' or 'plain20', in this order: all with seed 0, then all with seed 1, ...

    A key contains the shortcut option unless that is `own_shortcut`, the default for names without one, and the seed
    unless that is 0. UsageError if there is no such network, or one is named twice.
    """
    nets = []
    for name in names:
        network, option = (name[:-2], name[-1]) if re.search(r"-[A-Z]$", name) else (name, "")
        shortcut = describe(network, option or None).shortcut
        if shortcut and not option:
            shortcut = own_shortcut
        key = network if shortcut in (None, own_shortcut) else f"{network}-{shortcut}"
        nets.append(PlannedNet(key, network, shortcut))
    keys = [net.key for net in nets]
    twice = next((key for key in keys if keys.count(key) > 1), None)
    if twice or not nets:
        raise UsageError(f"--nets: {twice} is named twice" if twice else "--nets: expected names of networks")
    repeated = [
        replace(net, key=f"{net.key}-seed{seed}", seed=seed) for seed in range(1, seeds) for net in nets
    ]
    return (*nets, *repeated)
