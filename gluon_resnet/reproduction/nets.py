"""Which networks a study is of."""

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

    key: str  # what its files' names begin with
    network: str  # as for get_model
    shortcut: Optional[str]  # None: it has none
    seed: int = 0  # of train.py; nets of other seeds than 0 repeat one of seed 0
    converted: Optional[str] = (
        None  # prefix of the files of a network that convert.py wrote: it is not trained here
    )

    @property
    def depth(self) -> int:
        """Its layers, by its name; 0 for one of the paper's rivals without a number."""
        match = re.search(r"\d+", self.network)
        return int(match[0]) if match else 0


def planned_nets(names: Sequence[str], own_shortcut: str, seeds: int = 1) -> tuple[PlannedNet, ...]:
    """From 'resnet34-C' or 'plain20' to networks, in this order: all with seed 0, then all with seed 1, ...

    A key has the shortcut option only where that is not `own_shortcut`, which a name without one has, and the seed only
    where that is not 0. UsageError where there is no such network, or where one stands twice.
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
        raise UsageError(f"--nets: {twice} is there twice" if twice else "--nets: expected names of networks")
    repeated = [
        replace(net, key=f"{net.key}-seed{seed}", seed=seed) for seed in range(1, seeds) for net in nets
    ]
    return (*nets, *repeated)
