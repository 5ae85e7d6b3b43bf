"""What a recipe for a million images becomes for few: its batch, rate, length and crop fitted to the data."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, Optional

from gluon_resnet.training.recipes import Recipe, get_recipe

FEW_BATCHES = (
    100  # of the recipe's size: an epoch with fewer has few images, and the recipe is fitted to them
)
_BATCHES = 10  # an epoch should have at least so many, ...
_LEAST_BATCH = 16  # ... but batch normalization needs some images in each
_EPOCHS = 60
_UPDATES = 150  # at least: running averages, of momentum 0.9, forget the first weights in some 50
_STEPS = (0.5, 0.75)  # parts of the run; §4.2: at 32k and 48k of 64k iterations
_SAVED = 10  # parameter files, about, of a fitted run
_LEAST_SIDE = 32  # of a crop


@dataclass(frozen=True)
class Fitted:
    """A recipe fitted to few images.

    Attributes:
        recipe: what to train by.
        save_period: epochs between parameter files where none is given; None: as always.
        changes: what was chosen and why, a phrase each; none where the recipe is as it was.
    """

    recipe: Recipe
    save_period: Optional[int] = None
    changes: tuple[str, ...] = ()


def fit_recipe(
    recipe: Recipe, given: Collection[str], images: int, side: int, own_size: int, devices: int = 1
) -> Fitted:
    """`recipe` as it is for many images; for few of them with what was not given fitted to them.

    Few are fewer than fill FEW_BATCHES batches of the recipe's own size. Then a batch is the largest power of two of
    which an epoch has 10, but has 16 images; the learning rate is in proportion to the batch (Goyal et al. 2017,
    arXiv:1706.02677, §2.1); a run has 60 epochs, and at least 150 updates, and the rate falls at the half and at
    three quarters of them; a crop has the recipe's part of the images where these are smaller than the recipe's.

    Args:
        given: fields of `recipe` that the user chose, which stay as they are ('epochs' for either length).
        images: of one worker in an epoch.
        side: shorter side of a usual image, in pixels.
        own_size: side of the images that the network is made for.
        devices: that share a batch.
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
    """The side of a crop: that of the network's own images, but no more of smaller ones than the recipe has."""
    if recipe.resize is None:  # it takes images as they are
        return recipe.size
    part = round(side * recipe.size / recipe.resize / 8) * 8
    return min(max(part, _LEAST_SIDE), own_size, recipe.size)
