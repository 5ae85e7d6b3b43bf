"""Errors of a study's networks, each with the file and line that it comes from."""

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
    """An error in percent."""

    error: float
    interval: Optional[tuple[float, float]]  # 95 %; None if the number of images is not known
    images: Optional[int]
    source: str  # 'resnet20-log.jsonl:8', or the file that evaluate.py wrote
    protocol: Optional[str]  # evaluate.py's; None if from the log


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
    """The mean of the last finished epoch, over augmented images while the weights changed; None if there is none."""
    if net.run is None or not net.run.epochs:
        return None
    return Measured(net.run.epochs[-1].train_top1_error, None, None, log_line(net, len(net.run.epochs)), None)


def logged_validation(net: StudiedNet) -> Optional[Measured]:
    """The validation error after the last finished epoch; None if there is none, or it was not validated."""
    record = net.run.epochs[-1] if net.run and net.run.epochs else None
    if net.run is None or record is None or record.val_top1_error is None:
        return None
    images = described_images(net.run.card.data.get("validation data", "")) if net.run.card else None
    error = record.val_top1_error
    ends = interval(round(error * images / 100), images) if images else None
    return Measured(error, ends, images, log_line(net, len(net.run.epochs)), None)


def tested(net: StudiedNet, protocol: str) -> Optional[Measured]:
    """Its evaluation under `protocol`, or else the log's validation error; None if there is neither."""
    evaluation = net.evaluation(protocol)
    return evaluated(evaluation) if evaluation else logged_validation(net)


def image_by_image(first: Evaluation, second: Evaluation) -> Optional[PairedDifference]:
    """The difference of two tests on the same images; None if images or their wrong answers are not known to match."""
    if first.predictions is None or second.predictions is None:
        return None
    ours, theirs = Predictions.load(first.predictions), Predictions.load(second.predictions)
    return paired_difference(ours.wrong, theirs.wrong) if ours.same_images(theirs) else None


def log_line(net: StudiedNet, epoch: int) -> str:
    """The position of an epoch in the log: file and line, whose number is the epoch's, both from 1."""
    return f"{os.path.basename(net.prefix)}-log.jsonl:{epoch}"
