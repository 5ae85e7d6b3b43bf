"""The options that describe a model without a card."""

from __future__ import annotations

import argparse
import os
from typing import Optional

from gluon_resnet.cli.arguments import MAX_SIDE, image_size, number, one_spelling
from gluon_resnet.data.class_names import read_class_names
from gluon_resnet.deploy.without_card import PartialCard
from gluon_resnet.errors import ModelError, UsageError


def add_card_options(parser: argparse.ArgumentParser, checkpoint: bool = False) -> None:
    """Add the options that `partial_card` reads; with `checkpoint` also those of a network that is not exported."""
    group = parser.add_argument_group("a model without PREFIX-model.json")
    one_spelling(
        group.add_argument(
            "--image-shape", "--size", type=image_size, metavar="3,N,N", help="shape of the center crop"
        )
    )
    group.add_argument(
        "--resize",
        type=number(int, 1, MAX_SIDE),
        metavar="N",
        help="shorter side before the crop, in pixels (default: not resized)",
    )
    one_spelling(
        group.add_argument(
            "--class-names",
            "--classes",
            metavar="FILE",
            help="file of class names, one per line (default: numbers)",
        )
    )
    if checkpoint:
        group.add_argument(
            "--network", help="a checkpoint's network: resnet50, resnet20_v2, ... as for train.py"
        )
        group.add_argument("--shortcut", help="its shortcut option, A, B or C (default: the network's own)")


def partial_card(args: argparse.Namespace) -> Optional[PartialCard]:
    """The card from the options of `add_card_options`, None without --image-shape; UsageError for others without it."""
    if args.image_shape is None:
        for name in ("resize", "class_names", "network", "shortcut"):
            if getattr(args, name, None) is not None:
                option = name.replace("_", "-")
                raise UsageError(
                    f"--{option} is for a model without PREFIX-model.json: give --image-shape as well"
                )
        return None
    return PartialCard(
        args.image_shape,
        args.resize,
        read_class_names(args.class_names) if args.class_names else None,
        network=getattr(args, "network", None),
        shortcut=getattr(args, "shortcut", None),
    )


def card_of_export(args: argparse.Namespace) -> Optional[PartialCard]:
    """`partial_card` for the export `args.model_prefix`; ModelError if it has no card and none is described."""
    told = partial_card(args)
    path = f"{args.model_prefix}-model.json"
    if told is None and not os.path.exists(path):
        message = "No such file or directory: name what tools/export.py wrote, or give --image-shape"
        raise ModelError(f"{path}: {message}", path)
    return told
