"""The mean image of a run: read from a file, or measured on the training records."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Optional

from gluon_resnet.data import (
    Batch,
    EvalTransform,
    Loader,
    PixelStatistics,
    RecordFile,
    pixel_statistics,
)
from gluon_resnet.errors import UsageError
from gluon_resnet.runs.plan import Plan
from gluon_resnet.training.progress import Progress
from gluon_resnet.training.recipes import Recipe


def mean_image(
    plan: Plan, recipe: Recipe, records: Sequence[RecordFile], kept: Optional[str]
) -> Optional[PixelStatistics]:
    """The mean image that the recipe subtracts; None for a recipe with one mean per channel.

    It is read from --mean-image, or else from `kept`, the file of a run being resumed, or else measured on `records`.
    UsageError for a mean image of another size.
    """
    if plan.keeps_mean_image or recipe.mean == "channel":
        return None
    path = plan.settings.mean_image or (kept if kept and os.path.exists(kept) else None)
    if path is None:
        transform = EvalTransform(recipe.resize, recipe.size, plan.interpolation)
        return pixel_statistics(records, transform, plan.settings.data_nthreads, _followed)
    statistics = PixelStatistics.load(path)
    side = statistics.mean_image.shape[-1]
    if side != recipe.size:
        raise UsageError(
            f"{path} is the mean of images of {side}x{side}, but the network sees {recipe.size}x{recipe.size}: "
            f"measure it with tools/mean.py --image-shape 3,{recipe.size},{recipe.size}"
        )
    return statistics


def _followed(loader: Loader) -> Iterator[Batch]:
    with closing(Progress(every=0).follow(loader, "mean image", len(loader))) as batches:
        yield from batches
