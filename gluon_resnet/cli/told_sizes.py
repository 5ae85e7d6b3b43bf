"""What the command line tells of an exported network without a card."""

from __future__ import annotations

import argparse
import os
from typing import Optional

from gluon_resnet.cli.arguments import MAX_SIDE, number
from gluon_resnet.data.class_names import read_class_names
from gluon_resnet.deploy import Sizes
from gluon_resnet.errors import ModelError, UsageError


def add_size_options(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """The options that `told_sizes` takes; their group in the help."""
    side = number(int, 1, MAX_SIDE)
    group = parser.add_argument_group("a model without PREFIX-model.json")
    group.add_argument("--size", type=side, metavar="N", help="side of the centre crop, in pixels")
    group.add_argument(
        "--resize", type=side, metavar="N", help="shorter side before the crop (default: as it is)"
    )
    group.add_argument("--classes", metavar="FILE", help="names, one a line (default: numbers)")
    return group


def told_sizes(args: argparse.Namespace) -> Optional[Sizes]:
    """What the options of `add_size_options` say, None without --size.

    UsageError for others without it; ModelError where the model `args.model` has no card either.
    """
    if args.size is None:
        if args.resize is not None or args.classes is not None:
            raise UsageError("--resize and --classes are for a model without card: give --size, too")
        path = f"{args.model}-model.json"
        if not os.path.exists(path):
            message = "No such file or directory: name what tools/export.py wrote, or give --size"
            raise ModelError(f"{path}: {message}", path)
        return None
    return Sizes(args.size, args.resize, read_class_names(args.classes) if args.classes else None)
