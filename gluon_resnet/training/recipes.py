"""Recipes: the values that the paper trained with, one frozen dataclass each, a citation per field."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Optional

from gluon_resnet.errors import UsageError
from gluon_resnet.training.schedule import Schedule


@dataclass(frozen=True)
class Recipe:
    """How a network is trained. Plain values: a command line turns them into transforms and a Trainer.

    Sections are those of He et al. 2015 (arXiv:1512.03385v1).
    """

    name: str
    batch_size: int  # over all devices; §3.4: 256, §4.2: 128
    lr: float  # §3.4, §4.2: "we start with a learning rate of 0.1"
    lr_factor: float  # §3.4, §4.2: "divided by 10"
    lr_step_epochs: tuple[float, ...]  # where to multiply by lr_factor, in epochs ...
    lr_step_iterations: tuple[int, ...]  # ... or in iterations (§4.2: "at 32k and 48k iterations")
    warmup_epochs: float  # linear from 0 to lr; §3.4, §4.2: none (0.01 at first for ResNet-110 only)
    iterations: int  # §3.4: "up to 60e4 iterations", §4.2: "terminate training at 64k iterations"
    weight_decay: float  # §3.4, §4.2: 0.0001
    momentum: float  # §3.4, §4.2: 0.9
    decay_bn_and_bias: bool  # the paper excepts nothing from weight decay, nor did its Caffe
    size: int  # side of the crop; §3.4: 224, §4.2: 32
    crop: str  # training crop: 'scale-jitter' (§3.4) or 'pad' (§4.2)
    shorter_side: tuple[int, int]  # 'scale-jitter': the shorter side is drawn from it; §3.4: [256, 480]
    padding: int  # 'pad': pixels on each side; §4.2: 4
    flip: bool  # half of the images mirrored; §3.4, §4.2
    pca_noise: float  # §3.4: "standard colour augmentation in [21]": Krizhevsky et al. 2012, §4.1: 0.1
    resize: Optional[int]  # evaluation: shorter side, then the centre crop; §3.4 and [21]: 256
    rgb_mean: tuple[float, float, float]  # of pixels 0 to 255. Deviation: §3.4, §4.2 have a per-pixel mean
    rgb_std: tuple[float, float, float]  # Deviation: the paper does not divide

    def with_size(self, size: int) -> Recipe:
        """The recipe for another side of the crop; images are scaled in the same proportion."""

        def scaled(side: int) -> int:
            return round(side * size / self.size)

        low, high = self.shorter_side
        resize = None if self.resize is None else scaled(self.resize)
        return replace(self, size=size, shorter_side=(scaled(low), scaled(high)), resize=resize)

    def epochs(self, batches_per_epoch: int) -> int:
        """The whole number of epochs nearest to `iterations` (deviation: the paper counts iterations)."""
        return max(1, round(self.iterations / batches_per_epoch))

    def schedule(self, batches_per_epoch: int) -> Schedule:
        """The learning rate over iterations when an epoch has `batches_per_epoch` of them."""
        steps = self.lr_step_iterations + tuple(round(s * batches_per_epoch) for s in self.lr_step_epochs)
        warmup = round(self.warmup_epochs * batches_per_epoch)
        return Schedule(self.lr, self.lr_factor, tuple(sorted(steps)), warmup)


_RECIPES = (
    Recipe(
        name="imagenet",
        batch_size=256,
        lr=0.1,
        lr_factor=0.1,
        lr_step_epochs=(30, 60, 90),  # fixed form of "divided by 10 when the error plateaus" (deviation)
        lr_step_iterations=(),
        warmup_epochs=0,
        iterations=600_000,
        weight_decay=1e-4,
        momentum=0.9,
        decay_bn_and_bias=True,
        size=224,
        crop="scale-jitter",
        shorter_side=(256, 480),
        padding=0,
        flip=True,
        pca_noise=0.1,
        resize=256,
        rgb_mean=(123.68, 116.779, 103.939),
        rgb_std=(58.393, 57.12, 57.375),
    ),
    Recipe(
        name="cifar10",
        batch_size=128,
        lr=0.1,
        lr_factor=0.1,
        lr_step_epochs=(),
        lr_step_iterations=(32_000, 48_000),
        warmup_epochs=0,
        iterations=64_000,
        weight_decay=1e-4,
        momentum=0.9,
        decay_bn_and_bias=True,
        size=32,
        crop="pad",
        shorter_side=(32, 32),
        padding=4,
        flip=True,
        pca_noise=0.0,
        resize=None,
        rgb_mean=(125.3, 123.0, 113.9),
        rgb_std=(63.0, 62.1, 66.7),
    ),
)


def recipe_names() -> list[str]:
    """The names that `get_recipe` knows."""
    return [recipe.name for recipe in _RECIPES]


def get_recipe(name: str) -> Recipe:
    """The preset called `name`; an unknown name raises UsageError that lists what exists."""
    for recipe in _RECIPES:
        if recipe.name == name:
            return recipe
    raise UsageError(f"there is no recipe {name!r}: choose one of {', '.join(recipe_names())}")
