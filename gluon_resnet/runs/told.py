"""Notes about a run's records before it begins, on what a user may not expect."""

from __future__ import annotations

from gluon_resnet.card import note_of_fractions
from gluon_resnet.data.twins import same_names, same_records
from gluon_resnet.runs.job import Job
from gluon_resnet.terminal import note, warn


def tell_of_records(job: Job) -> None:
    """What was chosen for few images; holes for crops, fractions for a mean, files and names that are there twice."""
    settings, recipe, usual = job.plan.settings, job.recipe, job.usual_size
    if job.fitted.changes:
        note(
            f"for {job.train.num_records:,} images, which are few, what was not given is fitted to them: "
            f"{'; '.join(job.fitted.changes)} (docs/training.md, Few images)"
        )
    fractions = note_of_fractions(("--rgb-mean", "--rgb-std"), settings.rgb_mean, settings.rgb_std)
    if fractions:
        note(fractions)
    if usual and recipe.resize is None and min(usual) >= 2 * recipe.size:
        width, height = usual
        part = recipe.size**2 / (width * height)
        note(
            f"the recipe {recipe.name} cuts {recipe.size}x{recipe.size} pixels out of images as they are, and these "
            f"have {width}x{height}: the network sees {100 * part:.2g} % of each; pack them by im2rec.py --resize "
            f"{recipe.size}, or leave --recipe {recipe.name} out"
        )
    twins = same_records(job.records)
    if twins:
        warn(f"{twins[0]} and {twins[1]} hold the same records, which train twice in an epoch")
    if job.validation_records:
        twins = same_records(job.records, job.validation_records)
        if twins:
            warn(
                f"{twins[1]} of the validation holds the same records as {twins[0]}, which trains: the validation "
                "error is one of images that the network has seen"
            )
    names = same_names(job.card.classes)
    if names:
        warn(names)
