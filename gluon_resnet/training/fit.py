"""The loop over epochs: train, save, validate, report; stop and go on between any two batches."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from itertools import islice
from typing import Any, Callable, Optional, Protocol

from gluon_resnet._mxnet import mx
from gluon_resnet.training.checkpoint import Checkpoints, Position
from gluon_resnet.training.log import EpochRecord
from gluon_resnet.training.progress import Progress
from gluon_resnet.training.schedule import Schedule
from gluon_resnet.training.trainer import Batch, Trainer


class Batches(Protocol):
    """An epoch per iteration. `set_epoch`, `state_dict` and `load_state_dict` are used where it has them."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Batch]: ...


def fit(
    trainer: Trainer,
    train: Batches,
    validation: Optional[Batches],
    epochs: int,
    schedule: Schedule,
    *,
    position: Optional[Position] = None,
    seed: int = 0,
    checkpoints: Optional[Checkpoints] = None,
    on_epoch: Callable[[EpochRecord], None] = lambda record: None,
    progress: Optional[Progress] = None,
    stop: Callable[[], bool] = lambda: False,
) -> bool:
    """Train from `position` (None: the beginning) until `epochs` epochs are done.

    The state is saved after each epoch, before its validation, and when `stop()`, which is asked after every
    batch, becomes true. Returns whether all epochs are done. GluonResnetError when a loss is not finite:
    what was saved before stays.
    """
    position = position or Position()
    progress = progress or Progress(every=0)
    for epoch in range(position.epoch, epochs):
        title = f"epoch {epoch + 1}/{epochs}"
        if not position.trained:
            mx.random.seed(seed + epoch)  # a net with dropout draws the same numbers in a resumed epoch
            position = _train_epoch(trainer, train, schedule, position, title, progress, stop)
            if checkpoints:
                checkpoints.save(trainer, position, last=epoch + 1 == epochs)
            if stop():
                return False
        validated = None
        if validation is not None:
            followed = progress.follow(_until(stop, validation), f"{title} validation", len(validation))
            with closing(followed) as batches:
                validated = trainer.evaluate(batches)
        if stop():
            return False
        on_epoch(
            EpochRecord.of(
                epoch + 1,
                position.iteration,
                schedule(position.iteration - 1),
                position.seconds,
                trainer.top_k,
                position.sums,
                validated,
            )
        )
        position = Position(epoch=epoch + 1, iteration=position.iteration)
        if checkpoints:
            checkpoints.move(position)
    return True


def _train_epoch(
    trainer: Trainer,
    train: Any,
    schedule: Schedule,
    position: Position,
    title: str,
    progress: Progress,
    stop: Callable[[], bool],
) -> Position:
    """Train on the rest of an epoch, or until `stop()`; the position reached."""
    meter = trainer.new_meter(position.sums)
    began = time.perf_counter() - position.seconds
    batch_number, iteration = position.batch, position.iteration

    def status() -> str:
        sums = meter.lagging
        rate = sums.images / (time.perf_counter() - began)
        return (
            f"loss {sums.mean_loss:.3f}  error {sums.top1_error:.1f} %  "
            f"{rate:.0f} images/s  lr {schedule(iteration - 1):g}"
        )

    rest = _until(stop, _rest_of_epoch(train, position))
    with closing(progress.follow(rest, title, len(train), position.batch, status)) as batches:
        for batch in batches:
            lr = schedule(iteration)
            batch_number += 1
            iteration += 1
            trainer.step(batch, lr, meter, f"batch {batch_number} of {title} (learning rate {lr:g})")
    sums = meter.sums()
    mx.nd.waitall()  # the last update belongs to the time, too
    position = replace(
        position,
        batch=batch_number,
        iteration=iteration,
        sums=sums,
        seconds=time.perf_counter() - began,
    )
    if stop() and batch_number < len(train):
        return replace(position, loader=train.state_dict() if hasattr(train, "state_dict") else None)
    trainer.average_statistics()
    return replace(position, trained=True, loader=None)


def _rest_of_epoch(train: Any, position: Position) -> Iterable[Batch]:
    """The batches of an epoch from `position` on."""
    if position.loader is not None:
        train.load_state_dict(position.loader)
        return train
    if hasattr(train, "set_epoch"):
        train.set_epoch(position.epoch)
    return islice(iter(train), position.batch, None)


def _until(stop: Callable[[], bool], batches: Iterable[Batch]) -> Iterator[Batch]:
    """Yield from `batches` until `stop()`."""
    for batch in batches:
        yield batch
        if stop():
            return
