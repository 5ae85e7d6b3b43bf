"""Notes about a run's records before it begins, on things that a user may not expect."""

from __future__ import annotations

from gluon_resnet.card import note_of_fractions
from gluon_resnet.data.twins import same_names, same_records
from gluon_resnet.runs.job import Job
from gluon_resnet.terminal import note, warn


def tell_of_records(job: Job) -> None:
    """Print notes about what was fitted to few images, crops that miss most of an image, and fractions as a mean.

    It also warns of files with the same records and classes with the same name.
    """
    settings, recipe, usual = job.plan.settings, job.recipe, job.usual_size
    if job.fitted.changes:
        note(
            f"settings that were not given are fitted to {job.train.num_records:,} images, which are few: "
            f"{'; '.join(job.fitted.changes)} (docs/training.md, Few images)"
        )
    fractions = note_of_fractions(("--rgb-mean", "--rgb-std"), settings.rgb_mean, settings.rgb_std)
    if fractions:
        note(fractions)
    if usual and recipe.resize is None and min(usual) >= 2 * recipe.size:
        width, height = usual
        part = recipe.size**2 / (width * height)
        note(
            f"the recipe {recipe.name} cuts {recipe.size}x{recipe.size} pixels out of unscaled images, and these "
            f"have {width}x{height}: the network sees {100 * part:.2g} % of each; pack them with im2rec.py --resize "
            f"{recipe.size}, or omit --recipe {recipe.name}"
        )
    twins = same_records(job.records)
    if twins:
        warn(f"{twins[0]} and {twins[1]} contain the same records, which are trained on twice per epoch")
    if job.validation_records:
        twins = same_records(job.records, job.validation_records)
        if twins:
            warn(
                f"{twins[1]} for validation contains the same records as {twins[0]} for training: the validation "
                "error is that of images that the network has seen"
            )
    names = same_names(job.card.classes)
    if names:
        warn(names)
