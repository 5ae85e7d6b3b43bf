"""The options of tools/train.py, and the recipe that they choose."""

from __future__ import annotations

import argparse
from dataclasses import replace

from gluon_resnet.cli.arguments import gpu_ids as _gpu_ids
from gluon_resnet.cli.arguments import number as _number
from gluon_resnet.cli.arguments import numbers as _numbers
from gluon_resnet.training.devices import KVSTORES
from gluon_resnet.training.recipes import Recipe, get_recipe, recipe_names

_EPILOG = """\
Defaults that are not shown come from the recipe. Ctrl-C and SIGTERM finish the step and save; the exit status
is then 130 or 143, and the same command with --resume goes on. A second one stops at once."""


def parser() -> argparse.ArgumentParser:
    """The flags of MXNet's image-classification examples that have a meaning here, and ours."""
    result = argparse.ArgumentParser(
        prog="train.py",
        description="Train a residual network on RecordIO files.",
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    whole, real = _number(int, 1), _number(float, 0)

    group = result.add_argument_group("network")
    group.add_argument(
        "--network", help="resnet101, plain20, ...; or resnet with --num-layers (default: --pretrained's)"
    )
    group.add_argument("--num-layers", type=whole, help="depth, put behind --network")
    group.add_argument("--shortcut", help="shortcut option of the paper, A, B or C (default: the paper's)")
    group.add_argument(
        "--variant", help="v1, the default: as in the paper; v1b: stride in the 3x3 convolution"
    )
    group.add_argument(
        "--pretrained",
        metavar="PREFIX",
        help="begin with the weights of PREFIX-NNNN.params (the newest, or PREFIX:NNNN) under a new head",
    )
    group.add_argument("--freeze", action="store_true", help="with --pretrained: train the new head only")
    group.add_argument(
        "--num-classes", "--classes", type=whole, help="default: the lines of TRAIN.classes beside TRAIN.rec"
    )

    group = result.add_argument_group("data")
    group.add_argument("--data-train", nargs="+", required=True, metavar="REC", help="training records")
    group.add_argument("--data-val", nargs="+", metavar="REC", help="validation records")
    group.add_argument("--data-nthreads", type=whole, help="decoding threads (default: one per processor)")
    group.add_argument("--image-shape", type=_image_size, metavar="3,N,N", help="shape of a training crop")
    group.add_argument("--random-mirror", type=int, choices=(0, 1), help="whether to flip half of the images")
    group.add_argument("--rgb-mean", type=_numbers(float, 3), metavar="R,G,B", help="of pixels from 0 to 255")
    group.add_argument("--rgb-std", type=_numbers(float, 3), metavar="R,G,B", help="of pixels from 0 to 255")

    group = result.add_argument_group("training")
    group.add_argument("--recipe", default="imagenet", choices=recipe_names(), help="default: imagenet")
    group.add_argument("--num-epochs", type=whole)
    group.add_argument("--batch-size", type=whole, help="images per update, over all devices of this process")
    group.add_argument("--lr", type=real, help="learning rate")
    group.add_argument("--lr-factor", type=_number(float, 0, 1), help="what a step multiplies it by")
    group.add_argument("--lr-step-epochs", type=_numbers(float), metavar="E,E,...", help="epochs with a step")
    group.add_argument("--warmup-epochs", type=real, help="epochs in which it rises from 0")
    group.add_argument("--wd", type=real, help="weight decay")
    group.add_argument("--mom", type=_number(float, 0, 1), help="momentum")
    group.add_argument("--top-k", type=whole, default=5, help="the error shown beside top-1 (default: 5)")
    group.add_argument("--dtype", default="float32", choices=("float32", "float16"), help="float16: GPU only")
    group.add_argument("--seed", type=_number(int, 0, 2**31 - 1), default=0)

    group = result.add_argument_group("devices").add_mutually_exclusive_group()
    group.add_argument("--gpus", type=_gpu_ids, metavar="ID,ID,...", help="default: the CPU")
    group.add_argument("--cpus", type=whole, default=1, help="data-parallel CPU contexts (default: 1)")
    result.add_argument("--kv-store", default="device", help=f"{', '.join(KVSTORES)} (default: device)")

    group = result.add_argument_group("files")
    group.add_argument("--model-prefix", help="beginning of all files written (default: runs/NETWORK)")
    group.add_argument(
        "--save-period", type=whole, default=1, help="epochs between parameter files (default: 1)"
    )
    group.add_argument(
        "--load-epoch", type=_number(int, 0), help="begin with the weights of PREFIX-NNNN.params"
    )
    group.add_argument("--resume", action="store_true", help="go on from the newest state, if there is one")
    group.add_argument(
        "--disp-batches", type=_number(int, 0), default=20, help="without a terminal: lines (default: 20)"
    )
    return result


def chosen_recipe(args: argparse.Namespace) -> Recipe:
    """The preset, and what was given on the command line in its place."""
    recipe = get_recipe(args.recipe)
    if args.image_shape is not None:
        recipe = recipe.with_size(args.image_shape)
    if args.lr_step_epochs is not None:
        recipe = replace(recipe, lr_step_epochs=args.lr_step_epochs, lr_step_iterations=())
    given = {
        "batch_size": args.batch_size,
        "lr": args.lr,
        "lr_factor": args.lr_factor,
        "warmup_epochs": args.warmup_epochs,
        "weight_decay": args.wd,
        "momentum": args.mom,
        "flip": None if args.random_mirror is None else bool(args.random_mirror),
        "rgb_mean": args.rgb_mean,
        "rgb_std": args.rgb_std,
    }
    return replace(recipe, **{name: value for name, value in given.items() if value is not None})


def _image_size(text: str) -> int:
    channels, height, width = _numbers(int, 3)(text)
    if channels != 3 or height != width or height < 1:
        raise argparse.ArgumentTypeError(f"expected 3,N,N, found {text!r}: crops are square and RGB")
    return height
