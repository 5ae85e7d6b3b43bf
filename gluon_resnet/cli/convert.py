"""tools/convert.py: turns the weights of other projects into a checkpoint of ours, and back."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from typing import Optional

import numpy as np

from gluon_resnet.card import ModelCard, note_of_fractions
from gluon_resnet.cli.arguments import colors, epoch, image_size, number, one_spelling
from gluon_resnet.cli.command import program
from gluon_resnet.cli.parser import Parser
from gluon_resnet.convert import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    SOURCES,
    Weights,
    build,
    export_weights,
    import_weights,
    published_file,
    require_published,
    write_weights,
)
from gluon_resnet.data import EvalTransform
from gluon_resnet.data.class_names import read_class_names
from gluon_resnet.deploy.without_card import PartialCard
from gluon_resnet.errors import ModelError, UsageError
from gluon_resnet.evaluation.card_entries import card_versions
from gluon_resnet.files import sha256
from gluon_resnet.models.earlier import move_aside
from gluon_resnet.models.saved import chosen_epoch, load_network, parameters_path, save_network, saved_epochs
from gluon_resnet.models.units import VARIANTS
from gluon_resnet.provenance import Source
from gluon_resnet.terminal import note, say

# The values that trained their CIFAR nets. GluonCV's: scripts/classification/cifar/train_cifar10.py, 0.4914, ...
_CIFAR_STATISTICS = {
    "akamaster": "--rgb-mean 123.675,116.28,103.53 --rgb-std 58.395,57.12,57.375",
    "gluoncv": "--rgb-mean 125.307,122.961,113.8575 --rgb-std 51.5865,50.847,51.255",
}

_READING = (  # options for reading only
    *("network", "variant", "shortcut", "source", "weights", "class_names"),
    *("rgb_mean", "rgb_std", "image_shape", "resize", "interpolation"),
)

_TELLING = ("network", "variant", "shortcut")  # and for --to, if a checkpoint has no card


def main(argv: Optional[Sequence[str]] = None) -> Optional[int]:
    """Convert as `argv` says (default: the command line); return the exit status, None for success."""
    argv = sys.argv[1:] if argv is None else argv
    args = _parser().parse_args(argv)
    if args.file is None:
        args.file = _published(args)
    if args.to is None:
        _read(args, shlex.join(["tools/convert.py", *argv]))
    else:
        _write(args)
    return None


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog=program("convert"),
        example="resnet20-12fca82f.th --network resnet20 --model-prefix runs/akamaster\n"
        "resnet50.safetensors --to torchvision --model-prefix runs/resnet50",
        usage="%(prog)s FILE --network NET --model-prefix OUT [--rgb-mean R,G,B --rgb-std R,G,B] [options]\n"
        "       %(prog)s --from torchvision --network NET --model-prefix OUT [options]\n"
        "       %(prog)s FILE --to SOURCE --model-prefix IN [--epoch N] [--force] [--network NET]",
        description="Read FILE, the weights of another project, and write OUT-0000.params and OUT-model.json; "
        "or, with --to, write FILE from a checkpoint of ours. FILE always belongs to the other project.",
        epilog="Nothing in a file is run, and PyTorch is needed only to write .pth. Each tensor is used once.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "file",
        metavar="FILE",
        nargs="?",
        help=".pth, .pt, .th, .safetensors or .params (default with --from torchvision: its ImageNet weights, "
        "downloaded to GLUON_RESNET_HOME, ~/.cache/gluon_resnet)",
    )
    parser.add_argument(
        "--model-prefix", required=True, metavar="PREFIX", help="beginning of the names of our files"
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="replace existing files (those of an earlier conversion are replaced without it, and those of a run "
        "are moved)",
    )

    group = parser.add_argument_group("reading")
    group.add_argument("--network", help="resnet50, resnet44, ...; or with the variant, resnet50_v1b")
    group.add_argument("--variant", help=f"{', '.join(VARIANTS)}, as for train.py (default: as in FILE)")
    group.add_argument("--shortcut", help="shortcut option, A or B (default: as in FILE)")
    group.add_argument(
        "--from",
        dest="source",
        choices=SOURCES,
        help="the other project (default: recognized by the tensors' names)",
    )
    group.add_argument(
        "--weights",
        metavar="ENTRY",
        help="the entry of a .pth with several: model_ema, ... (default: the network itself, not its average)",
    )
    for new, old in (("--rgb-mean", "--mean"), ("--rgb-std", "--std")):
        one_spelling(
            group.add_argument(new, old, type=colors, metavar="R,G,B", help="for pixels from 0 to 255")
        )
    one_spelling(
        group.add_argument(
            "--class-names",
            "--classes-file",
            metavar="FILE",
            help="file of class names, one per line (default: numbers)",
        )
    )
    group.add_argument(
        "--image-shape", type=image_size, metavar="3,N,N", help="shape of the crop (default: 224, CIFAR: 32)"
    )
    group.add_argument(
        "--resize",
        type=number(int, 0),
        metavar="N",
        help="shorter side before the crop; 0: not resized (default: 8/7 of N, CIFAR: 0)",
    )
    group.add_argument("--interpolation", help="interpolation of resizing (default: linear)")

    group = parser.add_argument_group("writing")
    group.add_argument("--to", choices=SOURCES, help="the project whose names the tensors in FILE get")
    group.add_argument(
        "--epoch",
        type=epoch,
        metavar="N",
        help="the epoch of PREFIX-NNNN.params, or best (default: the newest)",
    )
    return parser


def _published(args: argparse.Namespace) -> str:
    """The file that torchvision publishes for --network."""
    if args.to is not None or args.source != "torchvision":
        raise UsageError("FILE is needed: only --from torchvision names one that can be downloaded")
    network, _ = require_published(args.network, args.variant, args.shortcut)
    return published_file(network, note)[0]


def _read(args: argparse.Namespace, command: str) -> None:
    if args.network is None:
        raise UsageError("--network is needed: which network's weights are in the file? (--to writes one)")
    if args.epoch is not None:
        raise UsageError("--epoch requires --to: weights that are read become epoch 0")
    if not args.force:
        _keep_other_networks(args.model_prefix)
    weights = import_weights(
        args.file, args.network, args.variant, args.shortcut, args.source, args.weights, note
    )
    mean, std = _statistics(args, weights)
    classes = _class_names(args.class_names, weights.classes)
    imagenet = weights.layout.imagenet
    size = args.image_shape or (224 if imagenet else 32)
    resize = args.resize if args.resize is not None else (round(size * 256 / 224) if imagenet else 0)
    card = ModelCard(
        network=weights.network,
        classes=classes,
        size=size,
        mean=_tuple(mean + np.multiply(std, weights.mean)),
        std=_tuple(np.multiply(std, weights.std)),
        resize=resize or None,
        interpolation=args.interpolation or "linear",
        shortcut=weights.shortcut,
        variant=weights.variant,
        decoder=None,
        versions=card_versions(),
        source=Source(weights.layout.title, os.path.abspath(args.file), sha256(args.file), command),
    )
    EvalTransform(
        card.resize, card.size, card.interpolation
    )  # fails unless the options for images fit together
    # Beside these weights, which count as epoch 0, a run's would be taken for later ones.
    moved = move_aside(args.model_prefix) if max(saved_epochs(args.model_prefix), default=0) else None
    if moved:
        note(moved)
    save_network(args.model_prefix, 0, card, build(card, weights.arrays))
    option = f", shortcut option {weights.shortcut}" if weights.shortcut else ""
    note(f"{args.file}: {weights.network}_{weights.variant}{option} of {weights.layout.title}")
    say(f"wrote {parameters_path(args.model_prefix, 0)} and {args.model_prefix}-model.json")


def _write(args: argparse.Namespace) -> None:
    has_card = os.path.exists(f"{args.model_prefix}-model.json")
    given = [
        name for name in _READING if getattr(args, name) is not None and (has_card or name not in _TELLING)
    ]
    if given:
        option = {"source": "from"}.get(given[0], given[0].replace("_", "-"))
        raise UsageError(f"--{option} cannot be used with --to: the checkpoint says what it is")
    if os.path.exists(args.file) and not args.force:
        raise UsageError(f"{args.file} exists: give --force to replace it")
    chosen = chosen_epoch(args.model_prefix, args.epoch)
    told = None
    if not has_card:
        # No other project's file depends on the size of images.
        named = PartialCard(224, network=args.network, variant=args.variant, shortcut=args.shortcut)
        told = named.of_checkpoint(parameters_path(args.model_prefix, chosen))
    card, net = load_network(args.model_prefix, chosen, card=told)
    layout, arrays = export_weights(card, net, args.to, args.file)
    os.makedirs(os.path.dirname(args.file) or ".", exist_ok=True)
    write_weights(args.file, arrays)
    say(f"wrote epoch {chosen} as {args.file}, with the names of {layout.title}")
    say("the file cannot hold the normalization of the input:")
    for scale in (255, 1):
        mean, std = (
            ",".join(f"{value * scale / 255:.6g}" for value in values) for values in (card.mean, card.std)
        )
        say(f"  pixels from 0 to {scale}: mean {mean} std {std}")


def _statistics(
    args: argparse.Namespace, weights: Weights
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    if (args.rgb_mean is None) != (args.rgb_std is None):
        raise UsageError("give both --rgb-mean and --rgb-std, or neither")
    if args.rgb_mean is not None:
        told = note_of_fractions(("--rgb-mean", "--rgb-std"), args.rgb_mean, args.rgb_std)
        if told:
            note(told)
        return args.rgb_mean, args.rgb_std
    if not weights.layout.imagenet:
        raise UsageError(
            "--rgb-mean and --rgb-std are needed: the file does not say which ones the network was trained with "
            f"({weights.layout.source}'s own: {_CIFAR_STATISTICS[weights.layout.source]})"
        )
    note(
        "--rgb-mean 123.675,116.28,103.53 --rgb-std 58.395,57.12,57.375 are assumed, as its project trained with these"
    )
    return IMAGENET_MEAN, IMAGENET_STD


def _tuple(values: np.ndarray) -> tuple[float, float, float]:
    red, green, blue = map(float, values)
    return red, green, blue


def _class_names(path: Optional[str], count: int) -> tuple[str, ...]:
    if path is None:
        return tuple(map(str, range(count)))
    names = read_class_names(path)
    if len(names) != count:
        raise ModelError(
            f"{path}: expected {count} class names, one for each output, found {len(names)}", path=path
        )
    return names


def _keep_other_networks(prefix: str) -> None:
    """UsageError unless there is nothing under `prefix`, or only the files of an earlier conversion."""
    card, saved = f"{prefix}-model.json", saved_epochs(prefix)
    before = ModelCard.load(card) if os.path.exists(card) else None
    converted = before and before.source and not before.recipe and saved in ([], [0])
    if not converted and (before or saved):
        raise UsageError(f"there is already a network under {prefix}: name another prefix, or give --force")
