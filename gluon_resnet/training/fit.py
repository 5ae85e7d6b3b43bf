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
from gluon_resnet.training.metrics import Sums
from gluon_resnet.training.progress import Progress
from gluon_resnet.training.schedule import Schedule
from gluon_resnet.training.trainer import Batch, Trainer
from gluon_resnet.training.workers import Workers


class Batches(Protocol):
    """An epoch per iteration. `set_epoch`, `state_dict` and `load_state_dict` are used where it has them."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Batch]: ...


def fit(
    trainer: Trainer,
    train: Batches,
    validation: Optional[Batches],
    iterations: int,
    schedule: Schedule,
    *,
    position: Optional[Position] = None,
    workers: Optional[Workers] = None,
    seed: int = 0,
    checkpoints: Optional[Checkpoints] = None,
    on_epoch: Callable[[EpochRecord], None] = lambda record: None,
    progress: Optional[Progress] = None,
    stop: Callable[[], bool] = lambda: False,
) -> bool:
    """Train from `position` (None: the beginning) until `iterations` updates are done.

    The last epoch ends with them, wherever in it that is. The state is saved after each epoch, before its validation,
    and when `stop()`, which is asked after every batch, becomes true. Returns whether all is done. GluonResnetError
    when a loss is not finite: what was saved before stays.

    A schedule of plateaus sees the top-1 error of the validation, or without one that of the training.

    Several workers (`workers`; None: this is the only one) call it with the same arguments, but for `validation`,
    which one of them has, and `checkpoints`, `on_epoch` and `progress`. They stop together when one is asked to, and
    their learning rates are the same: each depends on the errors over all of them.
    """
    position = position or Position()
    workers = workers or Workers()
    progress = progress or Progress(every=0)
    epochs = count_epochs(position, iterations, len(train))
    while not position.done(iterations):
        epoch = position.epoch
        title = f"epoch {epoch + 1}/{epochs}"
        if not position.trained:
            mx.random.seed(seed + epoch)  # a net with dropout draws the same numbers in a resumed epoch
            position = _train_epoch(
                trainer, train, iterations, schedule, position, title, workers, progress, stop
            )
            if checkpoints:
                checkpoints.save(trainer, position, last=position.iteration == iterations)
            if workers.any(stop()):
                return False
        validated = None
        if validation is not None:
            shown = progress.follow(_until(stop, validation), f"{title} validation", len(validation))
            with closing(shown) as batches:
                validated = trainer.evaluate(batches)
        if workers.any(stop()):
            return False
        on_epoch(
            EpochRecord.of(
                epoch + 1,
                position.iteration,
                schedule(position.iteration - 1, position.observed),
                position.seconds,
                trainer.top_k,
                position.sums,
                validated,
            )
        )
        followed = workers.total(validated or Sums())
        if not followed.images:
            followed = position.sums + position.others
        observed = schedule.after_epoch(position.observed, followed.top1_error)
        position = Position(epoch=epoch + 1, iteration=position.iteration, observed=observed)
        if checkpoints:
            checkpoints.move(position)
    return True


def count_epochs(position: Position, iterations: int, batches: int) -> int:
    """The epochs, the last perhaps a part of one, of a run of so many iterations that stands at `position`."""
    if position.trained:
        position = Position(epoch=position.epoch + 1, iteration=position.iteration)
    return position.epoch + -(-(iterations - position.iteration + position.batch) // batches)


def _train_epoch(
    trainer: Trainer,
    train: Any,
    iterations: int,
    schedule: Schedule,
    position: Position,
    title: str,
    workers: Workers,
    progress: Progress,
    stop: Callable[[], bool],
) -> Position:
    """Train on the rest of an epoch, or until `iterations` are done, or until `stop()`; the position reached."""
    meter = trainer.new_meter(position.sums)
    began = time.perf_counter() - position.seconds
    batch_number, iteration, observed = position.batch, position.iteration, position.observed
    batches_here = min(len(train), batch_number + iterations - iteration)
    seen = position.sums

    def status() -> str:
        sums = meter.lagging
        rate = sums.images / (time.perf_counter() - began)
        return (
            f"loss {sums.mean_loss:.3f}  error {sums.top1_error:.1f} %  "
            f"{rate:.0f} images/s  lr {schedule(iteration - 1, observed):g}"
        )

    def all_stop() -> bool:
        return workers.any(stop())

    rest = _until(all_stop, islice(_rest_of_epoch(train, position), batches_here - position.batch))
    with closing(progress.follow(rest, title, batches_here, position.batch, status)) as batches:
        for batch in batches:
            lr = schedule(iteration, observed)
            batch_number += 1
            where = f"batch {batch_number} of {title} (learning rate {lr:g})"
            trainer.step(batch, lr, meter, where, iteration)
            iteration += 1
            if schedule.warming(observed):  # some hundred times in a run: here the host waits for the device
                last, seen = seen, meter.sums()
                batch_sums = workers.total(seen - last)
                wrong = batch_sums.images - batch_sums.top1_right
                observed = schedule.after_update(observed, iteration, wrong, batch_sums.images)
    sums = meter.sums()
    new = sums - position.sums
    mx.nd.waitall()  # the last update belongs to the time, too
    position = replace(
        position,
        batch=batch_number,
        iteration=iteration,
        sums=sums,
        others=position.others + workers.total(new) - new,
        observed=observed,
        seconds=time.perf_counter() - began,
    )
    if all_stop() and batch_number < batches_here:
        return replace(position, loader=train.state_dict() if hasattr(train, "state_dict") else None)
    trainer.average_statistics()
    return replace(position, trained=True, loader=None)


def _rest_of_epoch(train: Any, position: Position) -> Iterator[Batch]:
    """The batches of an epoch from `position` on."""
    if position.loader is not None:
        train.load_state_dict(position.loader)
        return iter(train)
    if hasattr(train, "set_epoch"):
        train.set_epoch(position.epoch)
    return islice(iter(train), position.batch, None)


def _until(stop: Callable[[], bool], batches: Iterable[Batch]) -> Iterator[Batch]:
    """Yield from `batches` until `stop()`."""
    for batch in batches:
        yield batch
        if stop():
            return
