"""The options that describe a model without a card."""

from __future__ import annotations

import argparse
import os
from typing import Optional

from gluon_resnet.cli.arguments import MAX_SIDE, number
from gluon_resnet.data.class_names import read_class_names
from gluon_resnet.deploy.without_card import PartialCard
from gluon_resnet.errors import ModelError, UsageError


def add_card_options(parser: argparse.ArgumentParser, checkpoint: bool = False) -> None:
    """The options that `partial_card` takes; with `checkpoint` those of a network that is not exported, too."""
    side = number(int, 1, MAX_SIDE)
    group = parser.add_argument_group("a model without PREFIX-model.json")
    group.add_argument("--size", type=side, metavar="N", help="side of the center crop, in pixels")
    group.add_argument(
        "--resize", type=side, metavar="N", help="shorter side before the crop (default: as it is)"
    )
    group.add_argument("--classes", metavar="FILE", help="names, one a line (default: numbers)")
    if checkpoint:
        group.add_argument("--network", help="of a checkpoint: resnet50, resnet20_v2, ... as for train.py")
        group.add_argument("--shortcut", help="its shortcut option, A, B or C (default: the network's own)")


def partial_card(args: argparse.Namespace) -> Optional[PartialCard]:
    """What the options of `add_card_options` say, None without --size; UsageError for others without it."""
    if args.size is None:
        for name in ("resize", "classes", "network", "shortcut"):
            if getattr(args, name, None) is not None:
                raise UsageError(f"--{name} is for a model without PREFIX-model.json: give --size, too")
        return None
    return PartialCard(
        args.size,
        args.resize,
        read_class_names(args.classes) if args.classes else None,
        network=getattr(args, "network", None),
        shortcut=getattr(args, "shortcut", None),
    )


def card_of_export(args: argparse.Namespace) -> Optional[PartialCard]:
    """`partial_card` for the exported network `args.model`; ModelError where it has no card, and none is told."""
    told = partial_card(args)
    path = f"{args.model}-model.json"
    if told is None and not os.path.exists(path):
        message = "No such file or directory: name what tools/export.py wrote, or give --size"
        raise ModelError(f"{path}: {message}", path)
    return told
