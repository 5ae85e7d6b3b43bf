"""Reports the results of the updates within an epoch."""

from __future__ import annotations

import time
from typing import Callable

from gluon_resnet.training.epoch_record import StepRecord
from gluon_resnet.training.metrics import Meter
from gluon_resnet.training.position import Position
from gluon_resnet.training.trainer import Trainer


class Steps:
    """Calls `tell` with the results of an epoch's updates, `every` so many batches, without waiting for the device."""

    def __init__(
        self,
        position: Position,
        trainer: Trainer,
        meter: Meter,
        tell: Callable[[StepRecord], None],
        every: int,
    ) -> None:
        self._trainer, self._meter, self._tell, self._every = trainer, meter, tell, every
        self._epoch = position.epoch + 1
        self._told = position.iteration
        self._sums, self._began = position.sums, time.perf_counter()
        self._lr = 0.0

    def queued(self, iteration: int, lr: float) -> None:
        """Note that update number `iteration` has been queued; the meter has read all updates before it."""
        if self._every and iteration > self._told and iteration % self._every == 0:
            self.done(iteration)
        self._lr = lr

    def done(self, iteration: int) -> None:
        """Report that `iteration` updates are done; the meter must have read them."""
        updates = iteration - self._told
        if not self._every or not updates:
            return
        now, sums, scale = time.perf_counter(), self._meter.lagging - self._sums, self._trainer.loss_scale
        self._tell(
            StepRecord.of(
                iteration,
                self._epoch,
                self._lr,
                sums,
                now - self._began,
                gradient_norm=self._meter.gradient_norm,
                loss_scale=scale,
                skipped_steps=None if scale is None else updates - sums.updates,
            )
        )
        self._told, self._sums, self._began = iteration, self._sums + sums, now
