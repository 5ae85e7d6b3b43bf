"""Errors of a study's networks, each with the file and line where it stands."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Optional

from gluon_resnet.evaluation.intervals import PairedDifference, interval, paired_difference
from gluon_resnet.evaluation.predictions import Predictions
from gluon_resnet.reproduction.study import Evaluation, StudiedNet
from gluon_resnet.runs.files.run_card import described_images


@dataclass(frozen=True)
class Measured:
    """An error in per cent."""

    error: float
    interval: Optional[tuple[float, float]]  # 95 %; None: of how many images is not known
    images: Optional[int]
    source: str  # 'resnet20-log.jsonl:8', or the file that evaluate.py wrote
    protocol: Optional[str]  # of evaluate.py; None: from the log


def evaluated(evaluation: Evaluation) -> Measured:
    """The top-1 error of an evaluation."""
    return Measured(
        evaluation.top1_error,
        evaluation.top1_interval,
        evaluation.images,
        os.path.basename(evaluation.path),
        evaluation.protocol,
    )


def logged_training(net: StudiedNet) -> Optional[Measured]:
    """Of the last epoch that is over, its mean: of augmented images, while the weights changed. None: none is over."""
    if net.run is None or not net.run.epochs:
        return None
    return Measured(net.run.epochs[-1].train_top1_error, None, None, log_line(net, len(net.run.epochs)), None)


def logged_validation(net: StudiedNet) -> Optional[Measured]:
    """Behind the last epoch that is over; None: none is, or it was not validated."""
    record = net.run.epochs[-1] if net.run and net.run.epochs else None
    if net.run is None or record is None or record.val_top1_error is None:
        return None
    images = described_images(net.run.card.data.get("validation data", "")) if net.run.card else None
    error = record.val_top1_error
    ends = interval(round(error * images / 100), images) if images else None
    return Measured(error, ends, images, log_line(net, len(net.run.epochs)), None)


def tested(net: StudiedNet, protocol: str) -> Optional[Measured]:
    """Its evaluation under `protocol`, or else what the log says; None: neither is there."""
    evaluation = net.evaluation(protocol)
    return evaluated(evaluation) if evaluation else logged_validation(net)


def image_by_image(first: Evaluation, second: Evaluation) -> Optional[PairedDifference]:
    """What separates two tests on the same images; None: which were wrong was not kept, or they are not the same."""
    if first.predictions is None or second.predictions is None:
        return None
    ours, theirs = Predictions.load(first.predictions), Predictions.load(second.predictions)
    return paired_difference(ours.wrong, theirs.wrong) if ours.same_images(theirs) else None


def log_line(net: StudiedNet, epoch: int) -> str:
    """Where the log has an epoch: file and line, which is the epoch's number, both from 1."""
    return f"{os.path.basename(net.prefix)}-log.jsonl:{epoch}"
