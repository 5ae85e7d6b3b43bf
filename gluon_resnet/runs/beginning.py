"""Where a run begins: from scratch, with the weights of an epoch, or where an earlier run stopped."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

from gluon_resnet.card import ModelCard, class_difference
from gluon_resnet.errors import ModelError, UsageError
from gluon_resnet.models.parameters import load_parameters, parameter_value, read_arrays
from gluon_resnet.models.saved import chosen_epoch, newest_epoch, parameters_path, saved_epochs
from gluon_resnet.runs.job import Job
from gluon_resnet.terminal import note
from gluon_resnet.training.checkpoints.run_data import data_difference
from gluon_resnet.training.distributed.workers import Workers
from gluon_resnet.training.position import Position
from gluon_resnet.training.schedule import Observed


def find_position(job: Job, workers: Workers) -> Position:
    """Set `job.trainer` to where the run begins, and return that position; it is the same for all workers.

    UsageError if the command line does not say clearly where to continue from.
    """
    settings, checkpoints = job.plan.settings, job.checkpoints
    position = checkpoints.resume(job.trainer) if settings.resume else None
    if position is None:
        if settings.resume:
            saved = saved_epochs(checkpoints.prefix)
            if saved and settings.load_epoch is None:
                newest = newest_epoch(checkpoints.prefix) or saved[-1]
                raise UsageError(
                    f"there is no {checkpoints.resume_path}, but {parameters_path(checkpoints.prefix, newest)}: "
                    f"continue from that with --load-epoch {newest}, or choose another --model-prefix"
                )
            note(f"there is no {checkpoints.resume_path} yet, so a new run begins")
        elif settings.load_epoch is None and checkpoints.unfinished(job.iterations):
            raise UsageError(
                f"{checkpoints.resume_path} belongs to an unfinished run: continue it with --resume, remove that file "
                "to begin from scratch, or choose another --model-prefix"
            )
        position = beginning(job)
    elif settings.load_epoch is not None:  # as when the command that stopped is typed again
        note(f"{checkpoints.resume_path} is resumed; --load-epoch {settings.load_epoch} is ignored")
    _expect_the_same(workers, job, position)
    return position


def beginning(job: Job) -> Position:
    """Where a run without a state begins; loads the weights of --load-epoch into `job.trainer`."""
    epoch = job.plan.settings.load_epoch
    if epoch is None:
        return Position()
    path = parameters_path(job.plan.prefix, chosen_epoch(job.plan.prefix, epoch))
    _require_same_classes(job, path)
    _require_same_normalization(job.trainer.net, path)
    load_parameters(job.trainer.net, path)
    return Position(epoch=epoch, iteration=epoch * len(job.train))


def tell_what_to_expect(job: Job, position: Position) -> None:
    """Print notes about a beginning that a user may not expect."""
    pretrained, schedule = job.plan.pretrained, job.schedule
    if pretrained and not position.iteration:
        classes = job.card.classes
        other = class_difference(pretrained.card.classes, classes)
        note(
            f"the weights are taken from {pretrained.path}; the head, for {len(classes)} classes, is new"
            + (f" ({other})" if other else "")
        )
    if job.recipe.lr_mode == "step" and schedule.steps and schedule.steps[-1] >= job.iterations:
        note(f"the run ends before the learning rate's step at iteration {schedule.steps[-1]}")
    loaded = position.iteration and not position.batch and position.observed == Observed()
    if job.recipe.lr_mode == "plateau" and loaded:
        note(
            f"saved parameters do not record plateaus, so the learning rate begins at {schedule.lr:g}; see --lr"
        )
    if position.iteration and job.recipe.momentum and job.settings["asynchronous"]:
        note("dist_async keeps the momentum on its servers and saves it nowhere, so it begins at 0")
    if schedule.warming(position.observed):
        note(
            f"the learning rate is {schedule.warmup_lr:g} until the training error is below {schedule.warmup_error:g} %"
        )


def _expect_the_same(workers: Workers, job: Job, position: Position) -> None:
    """UsageError if the workers begin at different points, having found different files."""
    crc = zlib.crc32(repr(position).encode())
    if workers.count > 1:
        for array in job.trainer.state().values():
            crc = zlib.crc32(array.tobytes(), crc)
    if not workers.agree(crc):
        raise UsageError(
            f"the workers would begin with different states, worker {workers.rank} with the one after iteration "
            f"{position.iteration}: the files under --model-prefix have to be the same on every machine"
        )


def _require_same_classes(job: Job, path: str) -> None:
    """UsageError if the network in `path` has other classes than this run's labels; a note if the records differ."""
    known = f"{job.plan.prefix}-model.json"
    try:
        card = ModelCard.load(known)
    except (OSError, ModelError):  # then its classes are not known
        return
    other = class_difference(card.classes, job.card.classes)
    if other:
        raise UsageError(
            f"the labels would mean other classes than those of the network in {path}: {other} ({known}); give records "
            "with its classes, or give another --model-prefix and load these weights with --pretrained, for a new head"
        )
    changed = data_difference("training", card.data.training if card.data else None, job.data.training)
    if changed:
        note(f"{changed} ({known})")


def _require_same_normalization(net: Any, path: str) -> None:
    """UsageError if the network in `path` normalizes images otherwise than `net`, whose card would then be wrong."""
    arrays = read_arrays(path)
    for statistic in ("mean", "std"):
        ours, theirs = parameter_value(getattr(net[0], statistic)), arrays.get(f"0.{statistic}")
        if theirs is None or (ours.shape == theirs.shape and np.allclose(ours, theirs, atol=1e-3)):
            continue
        values = ",".join(f"{value:g}" for value in theirs.ravel())
        way_out = f"--rgb-{statistic} {values}" if theirs.size == 3 else "its mean image with --mean-image"
        raise UsageError(f"{path} was trained with another {statistic} than this run uses: give {way_out}")
