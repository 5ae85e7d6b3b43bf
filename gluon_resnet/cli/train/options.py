"""The options of tools/train.py."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, Optional

from gluon_resnet.cli.arguments import gpu_ids, image_size, number, numbers, one_spelling
from gluon_resnet.cli.command import program
from gluon_resnet.cli.parser import Parser
from gluon_resnet.runs.settings import Settings
from gluon_resnet.training.devices import KVSTORES
from gluon_resnet.training.precision import DTYPES
from gluon_resnet.training.recipes import recipe_names
from gluon_resnet.training.schedule import LR_MODES

_FLOAT32_MAX = 3.4e38  # the largest that MXNet's optimizers accept

_EPILOG = """\
Defaults that are not shown come from the recipe, and are fitted to the images if these are few. Ctrl-C and SIGTERM
finish the step and save; the exit status is then 130 or 143, and the same command with --resume continues. A second
one stops at once. Flags of MXNet's fit.py and GluonCV's train_imagenet.py are accepted if they have a meaning here:
docs/coming_from_mxnet.md."""


def parser() -> argparse.ArgumentParser:
    """The flags of MXNet's image-classification examples that have a meaning here, and our own."""
    result = Parser(
        prog=program("train"),
        example="--network resnet20 --recipe cifar10 --data-train data/cifar10_train.rec "
        "--data-val data/cifar10_test.rec",
        description="Train a residual network on RecordIO files.",
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    whole, real, part = number(int, 1), number(float, 0, _FLOAT32_MAX), number(float, 0, 1)

    group = result.add_argument_group("network")
    group.add_argument(
        "--network",
        help="resnet50, plain20, ...; vgg16, vgg19 (also _bn), googlenet, bn_inception, prelu_net_a, _b, _c; "
        "or resnet with --num-layers (default: --pretrained's)",
    )
    group.add_argument("--num-layers", type=whole, help="depth, appended to --network")
    group.add_argument(
        "--shortcut",
        help="shortcut option of the paper, A, B or C, for residual networks "
        "(default: B for those of ImageNet and GluonCV, A for those of CIFAR)",
    )
    group.add_argument(
        "--variant",
        help="v1, the default: as in the paper; v1b: stride in the 3x3 convolution; v2: pre-activation; "
        "gluoncv_v1, gluoncv_v2: GluonCV's CIFAR nets; may also end the network's name, resnet50_v1b",
    )
    group.add_argument(
        "--pretrained",
        metavar="PREFIX",
        help="begin with the weights of PREFIX-NNNN.params (the newest; also PREFIX:N, PREFIX:best) under a new head; "
        "imagenet: with torchvision's published weights of --network",
    )
    group.add_argument("--freeze", action="store_true", help="with --pretrained: train only the new head")
    one_spelling(
        group.add_argument(
            "--num-classes",
            "--classes",
            type=whole,
            help="default: the lines of TRAIN.classes beside TRAIN.rec",
        )
    )

    group = result.add_argument_group("data")
    group.add_argument("--data-train", nargs="+", metavar="REC", help="training records")
    group.add_argument(
        "--data-val",
        nargs="+",
        metavar="REC",
        help="validation records; then all of --data-train is trained on",
    )
    group.add_argument(
        "--holdout",
        type=number(int, 0),
        metavar="N",
        help="without --data-val: validate on N records of --data-train, always the same, and train on the rest",
    )
    group.add_argument(
        "--benchmark",
        action="store_true",
        help="use no data: time --num-iterations (default: 50) on noise, and write nothing",
    )
    group.add_argument("--data-nthreads", type=whole, help="decoding threads (default: one per processor)")
    group.add_argument("--image-shape", type=image_size, metavar="3,N,N", help="shape of a training crop")
    group.add_argument("--random-mirror", type=int, choices=(0, 1), help="whether to flip half of the images")
    means = group.add_mutually_exclusive_group()
    means.add_argument("--rgb-mean", type=numbers(float, 3), metavar="R,G,B", help="for pixels from 0 to 255")
    means.add_argument(
        "--mean-image",
        metavar="NPZ",
        help="mean of each pixel, from tools/mean.py (default with the paper's recipes: measured before training)",
    )
    group.add_argument("--rgb-std", type=numbers(float, 3), metavar="R,G,B", help="for pixels from 0 to 255")

    group = result.add_argument_group("training")
    group.add_argument("--recipe", choices=recipe_names(), help="default: imagenet")
    length = group.add_mutually_exclusive_group()
    length.add_argument("--num-epochs", type=whole)
    length.add_argument(
        "--num-iterations", type=whole, help="number of updates; the last epoch may be partial"
    )
    group.add_argument("--batch-size", type=whole, help="images per update, over all devices of this process")
    group.add_argument("--lr", type=real, help="learning rate")
    group.add_argument("--lr-mode", choices=LR_MODES, help="how the learning rate falls")
    group.add_argument("--lr-factor", type=part, help="factor by which a step or a plateau multiplies it")
    group.add_argument(
        "--lr-step-epochs",
        type=numbers(float),
        metavar="E,E,...",
        help="epochs with a step (--lr-mode step)",
    )
    group.add_argument(
        "--lr-patience",
        type=number(int, 0),
        metavar="EPOCHS",
        help="plateau: this many epochs in a row, and one more, without a lower error",
    )
    group.add_argument(
        "--lr-threshold",
        type=part,
        metavar="PART",
        help="plateau: the fraction of the error by which it must fall",
    )
    group.add_argument("--min-lr", type=real, help="learning rate at which a plateau or the cosine ends")
    group.add_argument("--warmup-epochs", type=real, help="epochs in which the learning rate rises linearly")
    group.add_argument(
        "--warmup-lr", type=real, help="learning rate at which the warm-up begins, or stays until an error"
    )
    group.add_argument(
        "--warmup-error",
        type=number(float, 1, 100),
        metavar="PERCENT",
        help="train with --warmup-lr until the training error is below this",
    )
    group.add_argument("--wd", type=real, help="weight decay")
    group.add_argument("--no-wd", **_switch, help="no weight decay on batch normalization and biases")
    group.add_argument("--mom", type=part, help="momentum")
    group.add_argument(
        "--label-smoothing", type=part, nargs="?", const=0.1, metavar="PART", help="alone: 0.1"
    )
    group.add_argument("--mixup", **_switch, help="mix images and labels in pairs")
    group.add_argument(
        "--mixup-alpha", type=real, metavar="ALPHA", help="parameter of mixup's Beta distribution"
    )
    group.add_argument(
        "--last-gamma",
        **_switch,
        help="start units with a last gamma of 0, so that they equal their shortcuts",
    )
    group.add_argument("--top-k", type=whole, help="the error shown beside top-1 (default: 5)")
    group.add_argument("--dtype", choices=DTYPES, help="float16: for GPUs; bfloat16: for CPUs that have it")
    group.add_argument(
        "--recompute",
        action="store_true",
        help="compute activations again in the backward pass: less memory, more time (resnet1202 at 128)",
    )
    group.add_argument(
        "--recompute-statistics",
        type=number(int, 0),
        metavar="N",
        help="at the end, give batch normalization the statistics of N further batches of each worker in place of "
        "running averages (default: 0, keep these)",
    )
    group.add_argument("--seed", type=number(int, 0, 2**31 - 1))

    group = result.add_argument_group("devices").add_mutually_exclusive_group()
    group.add_argument("--gpus", type=gpu_ids, metavar="ID,ID,...", help="default: the CPU")
    group.add_argument("--cpus", type=whole, help="data-parallel CPU contexts (default: 1)")
    result.add_argument("--kv-store", help=f"{', '.join(KVSTORES)} (default: device)")

    group = result.add_argument_group("files")
    group.add_argument("--model-prefix", help="beginning of the names of all files (default: runs/NETWORK)")
    group.add_argument(
        "--save-period",
        type=whole,
        help="epochs between parameter files (default: 1, or a tenth of epochs that are fitted to few images)",
    )
    group.add_argument(
        "--save-every",
        type=number(int, 0),
        metavar="N",
        help="batches between states to resume from (default: 0, only after each epoch)",
    )
    group.add_argument("--keep", type=whole, metavar="K", help="states to keep (default: 2)")
    group.add_argument(
        "--load-epoch", type=number(int, 0), help="begin with the weights of PREFIX-NNNN.params"
    )
    group.add_argument(
        "--resume", action="store_true", help="continue from the newest state, if there is one"
    )
    group.add_argument(
        "--disp-batches", type=number(int, 0), help="batches between lines without a terminal (default: 20)"
    )

    group = result.add_argument_group("watching")
    group.add_argument(
        "--detect-anomaly",
        action="store_true",
        help="check every number of every step at once, block by block, and stop at the first that is not finite: "
        "slower, and without --recompute",
    )
    group.add_argument(
        "--replay",
        metavar="FILE",
        help="repeat the step of PREFIX-anomaly-IIIIIIII.json with that run's options (others given here override "
        "them), show where numbers go wrong, and write nothing; exit status 1 if they do, otherwise 0",
    )
    group.add_argument(
        "--stall-timeout",
        type=number(float, 0, 1e6),
        metavar="SECONDS",
        help="say what the run waits for when nothing happens for this long (default: 60; 0: never)",
    )
    result.set_defaults(**{field.name: field.default for field in fields(Settings)})
    return result


def replayed_file(argv: Sequence[str]) -> tuple[Optional[str], list[str]]:
    """The file of --replay in `argv`, or None, and the remaining arguments."""
    option = Parser(prog=program("train"), add_help=False, allow_abbrev=False)
    option.add_argument("--replay", metavar="FILE")
    chosen, others = option.parse_known_args(argv)
    return chosen.replay, others


def settings_of(args: argparse.Namespace) -> Settings:
    """The settings asked for by a command line that `parser` has parsed."""
    values = {field.name: getattr(args, field.name) for field in fields(Settings)}
    if args.num_layers is not None:
        values["network"] = f"{args.network or 'resnet'}{args.num_layers}"
    return Settings(**values)


_switch: dict[str, Any] = {
    "type": int,
    "nargs": "?",
    "const": 1,
    "choices": (0, 1),
}  # --mixup means --mixup 1
