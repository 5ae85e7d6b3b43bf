"""The loop over epochs: train, save, validate and report; it can stop and resume between any two batches."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Callable, Optional, Protocol

import numpy as np

from gluon_resnet._mxnet import mx
from gluon_resnet.training.activity import doing
from gluon_resnet.training.anomaly import Place
from gluon_resnet.training.checkpoints.checkpoint import Checkpoints
from gluon_resnet.training.distributed.workers import Workers
from gluon_resnet.training.epoch_record import EpochRecord, StepRecord
from gluon_resnet.training.metrics import Sums
from gluon_resnet.training.position import Best, Position
from gluon_resnet.training.progress import Progress
from gluon_resnet.training.schedule import Schedule
from gluon_resnet.training.stall import describe_loader
from gluon_resnet.training.steps import Steps
from gluon_resnet.training.trainer import Batch, Trainer


class Batches(Protocol):
    """Each iteration is an epoch. `set_epoch`, `state_dict` and `load_state_dict` are used if they exist."""

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
    checkpoints: Optional[Checkpoints] = None,
    confusion: Optional[np.ndarray] = None,
    on_epoch: Callable[[EpochRecord], None] = lambda record: None,
    on_step: Callable[[StepRecord], None] = lambda record: None,
    step_every: int = 20,
    recompute_statistics: int = 0,
    progress: Optional[Progress] = None,
    stop: Callable[[], bool] = lambda: False,
) -> bool:
    """Train from `position` (by default the beginning) until `iterations` updates are done.

    The last epoch ends with the last update, even in its middle. The state is saved after each epoch, before its
    validation, whenever `checkpoints` says so, and when `stop()`, which is called after every batch, becomes true.
    Returns whether the run is finished.

    A plateau schedule follows the top-1 error of the validation or, without one, of training. At each call of
    `on_epoch`, `confusion` holds the validation's confusion matrix (see Trainer.evaluate).

    Several workers (`workers`; by default this is the only one) call this with the same arguments, except for
    `validation`, which only one of them has, and `confusion`, `on_epoch`, `on_step` and `progress`. They stop together
    when one is asked to, and their learning rates are equal, since they depend on the errors of all workers. With
    dist_async they meet only at the ends of epochs; a worker that is told to stop may be some batches ahead of another.

    `on_step` is called with the results of the updates since the last call, after every `step_every` updates (0:
    never) and at the end of an epoch.

    After the last update, before its validation, batch normalization gets the statistics of `recompute_statistics`
    further batches of each worker, at most an epoch's (0: it keeps its running averages; see batch_statistics). This is
    not interrupted by `stop()`.

    Raises:
        Anomaly: a loss, a weight or a gradient is not finite; everything saved before is kept.
        GluonResnetError: the last state could not be written.
    """
    run = _Run(
        trainer,
        train,
        validation,
        iterations,
        schedule,
        workers or Workers(),
        checkpoints,
        confusion,
        on_epoch,
        on_step,
        step_every,
        recompute_statistics,
        progress or Progress(every=0),
        stop,
    )
    position = position or Position()
    if checkpoints:
        checkpoints.complete(trainer, position, iterations)
    try:
        done = run.go_on(position)
    except BaseException:
        if checkpoints:
            checkpoints.settle()  # so that nothing is still being written when somebody resumes
        raise
    if checkpoints:
        with doing(
            "waiting until the last state is written", lambda: f"its files begin with {checkpoints.prefix}"
        ):
            checkpoints.flush()
    return done


def count_epochs(position: Position, iterations: int, batches: int) -> int:
    """The number of epochs, counting a partial last one, of a run of `iterations` iterations that is at `position`."""
    if position.trained:
        position = Position(epoch=position.epoch + 1, iteration=position.iteration)
    return position.epoch + -(-(iterations - position.iteration + position.batch) // batches)


@dataclass(frozen=True)
class _Run:
    """The arguments of `fit`."""

    trainer: Trainer
    train: Any
    validation: Optional[Batches]
    iterations: int
    schedule: Schedule
    workers: Workers
    checkpoints: Optional[Checkpoints]
    confusion: Optional[np.ndarray]
    on_epoch: Callable[[EpochRecord], None]
    on_step: Callable[[StepRecord], None]
    step_every: int
    recompute_statistics: int
    progress: Progress
    stop: Callable[[], bool]

    def go_on(self, position: Position) -> bool:
        """Run all epochs from `position` on; return whether they are finished."""
        epochs = count_epochs(position, self.iterations, len(self.train))
        while not position.done(self.iterations):
            title = f"epoch {position.epoch + 1}/{epochs}"
            if not position.trained:
                position = self._train_epoch(position, epochs)
                self.trainer.gather_statistics()
                self._save(position)
                if self._all_stop():
                    return False
            validated = self._validate(title)
            if self._all_stop():
                return False
            record = self._epoch_record(position, validated)
            with doing("writing the results of an epoch"):
                self.on_epoch(record)
            position = self._next_epoch(position, validated)
            if self.checkpoints:
                self.checkpoints.validated(self.trainer, position)
        return True

    def _train_epoch(self, position: Position, epochs: int) -> Position:
        """Train until the end of the epoch, `iterations` or `stop()`; return the position reached."""
        trainer, train, schedule = self.trainer, self.train, self.schedule
        title = f"epoch {position.epoch + 1}/{epochs}"
        meter = trainer.new_meter(position.sums)
        began = time.perf_counter() - position.seconds
        batch_number, iteration, observed = position.batch, position.iteration, position.observed
        batches_here = min(len(train), batch_number + self.iterations - iteration)
        seen = position.sums
        steps = Steps(position, self.trainer, meter, self.on_step, self.step_every)

        def status() -> str:
            sums = meter.lagging
            if not sums.images:  # the first batch is still being computed
                return f"lr {schedule(iteration - 1, observed):g}"
            rate = sums.images / (time.perf_counter() - began)
            return (
                f"loss {sums.mean_loss:.3f}  error {sums.top1_error:.1f} %  "
                f"{rate:.0f} images/s  lr {schedule(iteration - 1, observed):g}"
            )

        def reached() -> Position:
            sums = meter.sums()
            new = sums - position.sums
            with doing("waiting for the device to finish its steps"):
                mx.nd.waitall()  # the last update counts, too
            return replace(
                position,
                batch=batch_number,
                iteration=iteration,
                sums=sums,
                others=position.others + self.workers.total(new) - new,
                observed=observed,
                seconds=time.perf_counter() - began,
                loader=train.state_dict() if hasattr(train, "state_dict") else None,
            )

        loaded = _loading(train, _rest_of_epoch(train, position), "the loader")
        rest = _until(self._stop_here, islice(loaded, batches_here - position.batch))
        with closing(self.progress.follow(rest, title, batches_here, position.batch, status)) as batches:
            for batch in batches:
                lr = schedule(iteration, observed)
                batch_number += 1
                where = Place(iteration + 1, batch_number, position.epoch + 1, epochs, lr)
                with doing("queuing a step", where.__str__):
                    trainer.step(batch, lr, meter, where, iteration)
                steps.queued(iteration, lr)
                iteration += 1
                # Only some hundred times in a run, since the host waits for the device here.
                if schedule.warming(observed):
                    last, seen = seen, meter.sums()
                    batch_sums = self.workers.own_or_total(seen - last)
                    wrong = batch_sums.images - batch_sums.top1_right
                    observed = schedule.after_update(observed, iteration, wrong, batch_sums.images)
                if self.checkpoints and self.checkpoints.due(iteration) and batch_number < batches_here:
                    here = reached()
                    steps.done(iteration)  # a run that resumes here begins to count after it
                    trainer.gather_statistics()
                    self._save(here, urgent=False)
        last_position = reached()
        steps.done(iteration)
        if self._all_stop() and self.workers.any(batch_number < batches_here):
            return last_position
        trainer.average_statistics()
        if self.recompute_statistics and iteration == self.iterations:
            self._recompute_statistics(position.epoch, title)
        return replace(last_position, trained=True, loader=None)

    def _recompute_statistics(self, epoch: int, title: str) -> None:
        """Use the first batches of the epoch that would follow, which are augmented as in training."""
        count = self.recompute_statistics
        batches = islice(_rest_of_epoch(self.train, Position(epoch=epoch + 1)), count)
        shown = self.progress.follow(
            _loading(self.train, batches, "the loader"), f"{title} statistics", count
        )
        with closing(shown) as followed, doing("recomputing the statistics of batch normalization"):
            self.trainer.recompute_statistics(followed)

    def _validate(self, title: str) -> Optional[Sums]:
        if self.validation is None:
            return None
        loaded = _loading(self.validation, self.validation, "the validation's loader")
        shown = self.progress.follow(_until(self.stop, loaded), f"{title} validation", len(self.validation))
        with closing(shown) as batches, doing("validating"):
            return self.trainer.evaluate(batches, self.confusion)

    def _epoch_record(self, position: Position, validated: Optional[Sums]) -> EpochRecord:
        record = EpochRecord.of(
            position.epoch + 1,
            position.iteration,
            self.schedule(position.iteration - 1, position.observed),
            position.seconds,
            self.trainer.top_k,
            position.sums + position.others,
            validated,
        )
        combining, scale = self.trainer.take_combining_seconds(), self.trainer.loss_scale
        return replace(
            record,
            # An estimate from some of the steps, one of which may have been much slower than the rest.
            communication=combining and min(1.0, round(combining * position.batch / position.seconds, 4)),
            gradient_norm=position.sums.mean_gradient_norm,
            loss_scale=scale,
            skipped_steps=None if scale is None else position.batch - position.sums.updates,
        )

    def _next_epoch(self, position: Position, validated: Optional[Sums]) -> Position:
        """The position after the validation of an epoch."""
        followed = self.workers.total(validated or Sums())
        if not followed.images:
            followed = position.sums + position.others
        epochs, best = position.epoch + 1, position.best
        if validated and (best is None or validated.top1_error < best.error):
            best = Best(epochs, validated.top1_error)
        observed = self.schedule.after_epoch(position.observed, followed.top1_error)
        return Position(epoch=epochs, iteration=position.iteration, observed=observed, best=best)

    def _save(self, position: Position, urgent: bool = True) -> None:
        checkpoints = self.checkpoints
        if checkpoints:
            last = position.iteration == self.iterations
            with doing("saving a state", lambda: f"its files begin with {checkpoints.prefix}"):
                checkpoints.save(self.trainer, position, last=last, urgent=urgent)

    def _stop_here(self) -> bool:
        return self.workers.asked_to_stop(self.stop())

    def _all_stop(self) -> bool:
        return self.workers.any(self.stop())


def _rest_of_epoch(train: Any, position: Position) -> Iterator[Batch]:
    """The batches of an epoch from `position` on."""
    if position.loader is not None:
        train.load_state_dict(position.loader)
        return iter(train)
    if hasattr(train, "set_epoch"):
        train.set_epoch(position.epoch)
    return islice(iter(train), position.batch, None)


def _loading(loader: Any, batches: Iterable[Batch], name: str) -> Iterator[Batch]:
    """Yield from `batches`, telling a StallWatch when `loader` is waited for."""
    with doing(f"starting {name}", lambda: describe_loader(loader)):
        rest = iter(batches)
    while True:
        with doing(f"waiting for a batch of {name}", lambda: describe_loader(loader)):
            batch = next(rest, None)
        if batch is None:
            return
        yield batch


def _until(stop: Callable[[], bool], batches: Iterable[Batch]) -> Iterator[Batch]:
    """Yield from `batches` until `stop()`."""
    for batch in batches:
        yield batch
        if stop():
            return
