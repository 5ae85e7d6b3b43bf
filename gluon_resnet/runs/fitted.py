"""The recipe fitted to the records: settings chosen by their number and size."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from contextlib import suppress
from itertools import accumulate
from statistics import median
from typing import Optional

from gluon_resnet.data import RecordFile, image_size
from gluon_resnet.errors import DataError, UsageError
from gluon_resnet.models.registry import describe
from gluon_resnet.runs.settings import Settings
from gluon_resnet.training.recipes import Recipe
from gluon_resnet.training.small_data import Fitted, fit_recipe

_LOOKED_AT = 32  # images, to learn the usual size

# The values of a recipe, each with the options that choose it; those not chosen may be fitted to few images.
_CHOICES = {
    "batch_size": ("batch_size",),
    "lr": ("lr",),
    "min_lr": ("min_lr",),
    "warmup_lr": ("warmup_lr",),
    "epochs": ("num_epochs", "num_iterations"),
    "lr_mode": ("lr_mode", "lr_step_epochs", "lr_patience", "lr_threshold", "min_lr"),
    "size": ("image_shape", "mean_image"),
}


def usual_size(files: Sequence[RecordFile]) -> Optional[tuple[int, int]]:
    """The medians of width and height of some images, evenly spread over `files`; None if none can be read."""
    ends = list(accumulate(len(file.images) for file in files))
    count, sizes = min(ends[-1], _LOOKED_AT), []
    for number in range(count):
        place = number * ends[-1] // count
        at = bisect_right(ends, place)
        index = files[at].images[place - ends[at]]  # a negative index into its images
        with suppress(DataError):  # reported, with its name, when it is needed
            sizes.append(image_size(files[at][index].payload))
    if not sizes:
        return None
    width, height = (round(median(side)) for side in zip(*sizes))
    return width, height


def fitted(
    settings: Settings,
    recipe: Recipe,
    files: Sequence[RecordFile],
    usual: Optional[tuple[int, int]],
    world_size: int,
    devices: int,
) -> Fitted:
    """The recipe for the images of `files`, of the `usual` size; UsageError if they do not fill a batch."""
    given = {
        name for name, options in _CHOICES.items() if any(getattr(settings, o) is not None for o in options)
    }
    network = describe(settings.network or "", settings.shortcut, settings.variant or "v1")
    if network.size is not None or usual is None:
        given.add("size")
    images = sum(len(file.images) for file in files) // world_size
    result = fit_recipe(recipe, given, images, min(usual or (0, 0)), network.own_size, devices)
    batch = result.recipe.batch_size
    if batch < devices:
        raise UsageError(f"a batch of {batch} cannot be split over {devices} devices")
    if images < batch:
        whose = f" for each of {world_size} workers" if world_size > 1 else ""
        raise UsageError(
            f"{images} records{whose} do not fill one batch of {batch}: give --batch-size {images} or less, "
            "or more records"
        )
    return result
