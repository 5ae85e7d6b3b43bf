"""Fits recipes made for a million images to few images: batch, learning rate, length and crop."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, Optional

from gluon_resnet.training.recipes import Recipe, get_recipe

FEW_BATCHES = 100  # of the recipe's size: if an epoch has fewer, the recipe is fitted to the data
_BATCHES = 10  # the least that an epoch should have, ...
_LEAST_BATCH = 16  # ... but batch normalization needs some images in each
_EPOCHS = 60
_UPDATES = 150  # at least: running averages with momentum 0.9 forget the first weights in about 50
_STEPS = (0.5, 0.75)  # as fractions of the run; §4.2: at 32k and 48k of 64k iterations
_SAVED = 10  # approximate number of parameter files of a fitted run
_LEAST_SIDE = 32  # of a crop


@dataclass(frozen=True)
class Fitted:
    """A recipe fitted to few images.

    Attributes:
        recipe: the recipe to train with.
        save_period: the number of epochs between parameter files if none is given; None for the usual number.
        changes: what was chosen and why, one phrase each; empty if the recipe is unchanged.
    """

    recipe: Recipe
    save_period: Optional[int] = None
    changes: tuple[str, ...] = ()


def fit_recipe(
    recipe: Recipe, given: Collection[str], images: int, side: int, own_size: int, devices: int = 1
) -> Fitted:
    """`recipe` unchanged for many images; for few images, with the fields that the user did not choose fitted to them.

    Images are few if they do not fill FEW_BATCHES batches of the recipe's own size. Then the batch size is the largest
    power of two with 10 batches per epoch, but at least 16; the learning rate is proportional to it (Goyal et al. 2017,
    arXiv:1706.02677, §2.1); a run has 60 epochs, but at least 150 updates, and the rate falls after one half and three
    quarters of them; and if images are smaller than the recipe's, crops take the same fraction of them.

    Args:
        recipe: the recipe to fit.
        given: the fields of `recipe` that the user chose, which are kept ('epochs' for either kind of length).
        images: the number of images of one worker in an epoch.
        side: the shorter side of a typical image, in pixels.
        own_size: the side, in pixels, of the images that the network is made for.
        devices: the number of devices that share a batch.
    """
    preset = get_recipe(recipe.name).batch_size
    if images >= FEW_BATCHES * preset:
        return Fitted(recipe)
    new: dict[str, Any] = {}
    changes = []
    if "batch_size" not in given:
        batch = min(preset, 1 << max(images // _BATCHES, 1).bit_length() - 1)
        new["batch_size"] = min(max(batch, _LEAST_BATCH, devices), images)
    batch = new.get("batch_size", recipe.batch_size)
    if new:
        changes.append(f"batches of {batch}")
    if "lr" not in given and batch != preset:
        new["lr"] = recipe.lr * batch / preset
        new["min_lr"] = recipe.min_lr if "min_lr" in given else recipe.min_lr * batch / preset
        new["warmup_lr"] = recipe.warmup_lr if "warmup_lr" in given else recipe.warmup_lr * batch / preset
        changes.append(f"learning rate {new['lr']:g} ({recipe.lr:g} x {batch}/{preset})")
    save_period = None
    if "epochs" not in given and images >= batch:
        updates = images // batch
        epochs = max(_EPOCHS, -(-_UPDATES // updates))
        new.update(epochs=epochs, iterations=None)
        save_period = -(-epochs // _SAVED)
        text = f"{epochs} epochs ({epochs * updates:,} updates)"
        if "lr_mode" not in given and recipe.lr_mode != "cosine":
            steps = tuple(round(part * epochs) for part in _STEPS)
            new.update(lr_mode="step", lr_step_epochs=steps, lr_step_iterations=())
            text += f", the rate falling after {steps[0]} and {steps[1]}"
        changes.append(text)
    size = _size(recipe, side, own_size)
    if "size" not in given and size < recipe.size:
        recipe = recipe.with_size(size)
        changes.append(f"crops of {size}x{size}")
    return Fitted(replace(recipe, **new), save_period, tuple(changes))


def _size(recipe: Recipe, side: int, own_size: int) -> int:
    """The side of a crop: that of the network's own images, but at most the recipe's fraction of smaller images."""
    if recipe.resize is None:  # images are used at their own size
        return recipe.size
    part = round(side * recipe.size / recipe.resize / 8) * 8
    return min(max(part, _LEAST_SIDE), own_size, recipe.size)
