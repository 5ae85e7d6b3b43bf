"""What --pretrained does to the other options of tools/train.py."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from typing import Any, Optional

from gluon_resnet.convert import (
    IMAGENET,
    published_card,
    published_file,
    published_network,
    require_published,
)
from gluon_resnet.deploy.without_card import ToldCard
from gluon_resnet.errors import UsageError
from gluon_resnet.models.registry import choose_variant, describe
from gluon_resnet.models.saved import newest_epoch
from gluon_resnet.terminal import note
from gluon_resnet.training.recipes import Recipe
from gluon_resnet.training.transfer import Pretrained


class _Published(Pretrained):
    """A network with published weights, in a file of another project."""

    @property
    def path(self) -> str:
        """Where its weights are."""
        return f"{self.prefix}.pth"

    def network(self) -> Any:
        """It, built and with its weights, on the CPU."""
        return published_network(self.card)


def fill_in(args: argparse.Namespace) -> Optional[Pretrained]:
    """The network of --pretrained, None without; `args` get its card's values where the command line has none.

    These are the network, and the preprocessing that its weights expect. `args.keeps_mean_image` becomes
    whether its mean image is kept. UsageError for options that contradict each other or the card.
    """
    args.keeps_mean_image, args.interpolation = False, "linear"
    if args.num_layers is not None:
        args.network = f"{args.network or 'resnet'}{args.num_layers}"
    if args.network is not None:
        args.network, args.variant = choose_variant(args.network, args.variant)
    if args.pretrained is None:
        if args.freeze:
            raise UsageError("--freeze keeps the weights of a trained network: give --pretrained, too")
        if args.network is None:
            raise UsageError("give --network, or --pretrained, which has one")
        args.variant = args.variant or "v1"
        describe(args.network, args.shortcut, args.variant)  # there is such a network
        return None
    if args.load_epoch is not None:
        raise UsageError(
            "--load-epoch begins with weights of this run, --pretrained with another's: give one"
        )
    pretrained = _found(args)
    card = pretrained.card
    pretrained.require_same(args.network, args.shortcut, args.variant)
    args.network, args.shortcut, args.variant = card.network, card.shortcut, card.variant
    prefix = args.model_prefix or os.path.join("runs", card.network)
    if os.path.realpath(prefix) == os.path.realpath(pretrained.prefix):
        raise UsageError(f"this run would overwrite {prefix}-model.json: choose another --model-prefix")

    same_size = args.image_shape in (None, card.size)
    own_mean = args.rgb_mean is None and args.mean_image is None
    args.keeps_mean_image = card.per_pixel_mean and same_size and own_mean
    if card.per_pixel_mean and not same_size and own_mean:
        note(f"the mean image is of {card.size}x{card.size}: its average is subtracted")
    args.interpolation = card.interpolation
    args.image_shape = args.image_shape or card.size
    if args.mean_image is None:
        args.rgb_mean = args.rgb_mean or card.mean
    args.rgb_std = args.rgb_std or card.std
    return pretrained


def _found(args: argparse.Namespace) -> Pretrained:
    """The network that --pretrained names: published weights, or a checkpoint."""
    if args.pretrained == IMAGENET:
        if newest_epoch(IMAGENET) is not None:
            raise UsageError(
                f"--pretrained {IMAGENET} are published weights, and a checkpoint here has that name, too: write "
                f"./{IMAGENET} for the checkpoint, or go to another folder"
            )
        network, variant = require_published(args.network, args.variant, args.shortcut)
        path, digest = published_file(network, note)
        card = published_card(network, variant, path, digest, f"--pretrained {IMAGENET}")
        return _Published(path.removesuffix(".pth"), 0, card)
    told = None
    if args.network and args.image_shape:
        told = ToldCard(
            args.image_shape, network=args.network, variant=args.variant, shortcut=args.shortcut
        ).of_checkpoint
    return Pretrained.find(args.pretrained, told)


def with_resize(recipe: Recipe, pretrained: Optional[Pretrained]) -> Recipe:
    """The recipe with the network's own resize before evaluation, in proportion to the recipe's crop."""
    if pretrained is None or not pretrained.resize_known:
        return recipe
    resize, size = pretrained.card.resize, pretrained.card.size
    return replace(recipe, resize=None if resize is None else round(resize * recipe.size / size))
