"""The network of --pretrained, and its effect on the other settings."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any, NamedTuple, Optional

from gluon_resnet.convert import (
    IMAGENET,
    published_card,
    published_file,
    published_network,
    require_published,
)
from gluon_resnet.deploy.without_card import PartialCard
from gluon_resnet.errors import UsageError
from gluon_resnet.models.registry import choose_variant, describe
from gluon_resnet.models.saved import newest_epoch
from gluon_resnet.runs.settings import Settings
from gluon_resnet.terminal import note
from gluon_resnet.training.recipes import Recipe
from gluon_resnet.training.transfer import Pretrained


class _Published(Pretrained):
    """A network with published weights, in a file of another project."""

    @property
    def path(self) -> str:
        """The path of its weights."""
        return f"{self.prefix}.pth"

    def network(self) -> Any:
        """The network, built with its weights on the CPU."""
        return published_network(self.card)


class Filled(NamedTuple):
    """Settings, completed by the network of `pretrained`; see Plan."""

    settings: Settings
    pretrained: Optional[Pretrained] = None
    keeps_mean_image: bool = False
    interpolation: str = "linear"


def fill_in(settings: Settings) -> Filled:
    """`settings` with the network of --pretrained and the preprocessing that its weights expect, unless given.

    UsageError for settings that contradict each other or the card.
    """
    if settings.network is not None:
        network, variant = choose_variant(settings.network, settings.variant)
        settings = replace(settings, network=network, variant=variant)
    if settings.pretrained is None:
        if settings.freeze:
            raise UsageError("--freeze keeps the weights of a trained network: give --pretrained as well")
        if settings.network is None:
            raise UsageError("give --network, or --pretrained, which implies one")
        variant = settings.variant or "v1"
        describe(settings.network, settings.shortcut, variant)  # fails if there is no such network
        return Filled(replace(settings, variant=variant))
    if settings.load_epoch is not None:
        raise UsageError(
            "--load-epoch begins with weights of this run, --pretrained with those of another: give only one of them"
        )
    pretrained = _found(settings)
    card = pretrained.card
    pretrained.require_same(settings.network, settings.shortcut, settings.variant)
    prefix = settings.model_prefix or os.path.join("runs", card.network)
    if os.path.realpath(prefix) == os.path.realpath(pretrained.prefix):
        raise UsageError(f"this run would overwrite {prefix}-model.json: choose another --model-prefix")

    same_size = settings.image_shape in (None, card.size)
    own_mean = settings.rgb_mean is None and settings.mean_image is None
    if card.per_pixel_mean and not same_size and own_mean:
        note(f"the mean image has {card.size}x{card.size} pixels, so its average is subtracted instead")
    rgb_mean = settings.rgb_mean if settings.mean_image else settings.rgb_mean or card.mean
    filled = replace(
        settings,
        network=card.network,
        shortcut=card.shortcut,
        variant=card.variant,
        image_shape=settings.image_shape or card.size,
        rgb_mean=rgb_mean,
        rgb_std=settings.rgb_std or card.std,
    )
    keeps_mean_image = card.per_pixel_mean and same_size and own_mean
    return Filled(filled, pretrained, keeps_mean_image, card.interpolation)


def _found(settings: Settings) -> Pretrained:
    """The network that --pretrained names: published weights, or a checkpoint."""
    assert settings.pretrained is not None
    if settings.pretrained == IMAGENET:
        if newest_epoch(IMAGENET) is not None:
            raise UsageError(
                f"--pretrained {IMAGENET} means published weights, but a checkpoint here has that name, too: write "
                f"./{IMAGENET} for the checkpoint, or run in another folder"
            )
        network, variant = require_published(settings.network, settings.variant, settings.shortcut)
        path, digest = published_file(network, note)
        card = published_card(network, variant, path, digest, f"--pretrained {IMAGENET}")
        return _Published(path.removesuffix(".pth"), 0, card)
    told = None
    if settings.network and settings.image_shape:
        told = PartialCard(
            settings.image_shape,
            network=settings.network,
            variant=settings.variant,
            shortcut=settings.shortcut,
        ).of_checkpoint
    return Pretrained.find(settings.pretrained, told)


def with_resize(recipe: Recipe, pretrained: Optional[Pretrained]) -> Recipe:
    """The recipe with the network's own resizing before evaluation, in proportion to the recipe's crop."""
    if pretrained is None or not pretrained.resize_known:
        return recipe
    resize, size = pretrained.card.resize, pretrained.card.size
    return replace(recipe, resize=None if resize is None else round(resize * recipe.size / size))
