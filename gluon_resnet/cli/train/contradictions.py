"""Options of tools/train.py that are right alone and mean nothing together."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from gluon_resnet.errors import UsageError
from gluon_resnet.training.recipes import Recipe


def refuse_contradictions(args: argparse.Namespace, recipe: Recipe) -> None:
    """UsageError for the first option that would be taken and do nothing; `recipe` is what all of them chose."""
    for option, why in _meaningless(args, recipe):
        raise UsageError(f"--{option.replace('_', '-')} {why}: leave it out")
    if args.dtype == "bfloat16" and args.recompute:
        # Its backward pass does not fit its forward pass: "Backward shape inconsistent with the forward shape".
        raise UsageError(
            "MXNet 1.9.1 cannot recompute activations of bfloat16: leave --recompute or --dtype out"
        )


def _meaningless(args: argparse.Namespace, recipe: Recipe) -> Iterator[tuple[str, str]]:
    """The options that were given and change nothing, each with the reason."""
    falls = f"has no meaning where the learning rate falls by --lr-mode {recipe.lr_mode}"
    if recipe.lr_mode == "cosine":
        unused = ["lr_factor", "lr_patience", "lr_threshold"]
    elif recipe.lr_mode == "step":
        unused = ["lr_patience", "lr_threshold", "min_lr"]
    else:
        unused = []
    yield from ((name, falls) for name in unused if getattr(args, name) is not None)
    if args.warmup_lr is not None and not recipe.warmup_epochs and recipe.warmup_error is None:
        yield "warmup_lr", "has no meaning without a warm-up, --warmup-epochs or --warmup-error"
    if args.mixup_alpha is not None and args.mixup == 0:
        yield "mixup_alpha", "has no meaning with --mixup 0"
    if args.mixup == 1 and args.mixup_alpha == 0:
        yield "mixup_alpha 0", "is no mixup, which --mixup asks for"
