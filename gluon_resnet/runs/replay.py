"""The step at which a run's numbers went out of range, repeated with every number checked: train.py --replay."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Optional

import numpy as np
from tabulate import tabulate

from gluon_resnet.data import Batch, Loader
from gluon_resnet.errors import DataError, UsageError
from gluon_resnet.models.parameters import read_arrays
from gluon_resnet.runs.anomaly_file import AnomalyFile, state_prefix
from gluon_resnet.runs.beginning import beginning
from gluon_resnet.runs.job import Job
from gluon_resnet.runs.plan import Plan
from gluon_resnet.runs.settings import Settings
from gluon_resnet.terminal import printable_cells, say
from gluon_resnet.training.anomaly import Anomaly
from gluon_resnet.training.detect import DetectingTrainer, Values
from gluon_resnet.training.distributed.engine import Engine
from gluon_resnet.training.fit import fit
from gluon_resnet.training.metrics import Meter
from gluon_resnet.training.position import Position
from gluon_resnet.training.progress import Progress

_IMAGES = 10  # how many are shown, those with the greatest loss


class Replay:
    """One step of a run that failed, repeated; nothing is written.

    Args:
        path: the path of the anomaly file; ModelError if it is damaged or something else.

    Attributes:
        arguments: the arguments of that run's command line.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self.file = AnomalyFile.load(path)
        self.arguments = self.file.arguments

    def __call__(self, settings: Settings) -> int:
        """Print where numbers go wrong, and return 1 if they do and 0 if not.

        `settings` are those of the run, perhaps with some overridden.
        """
        # This process takes the place of its worker, whose state has the running statistics of all workers.
        rank, world_size = self.file.rank, self.file.world_size
        engine = Engine("device", rank, world_size)
        plan = Plan.of(replace(settings, resume=True))  # for the run's own mean image
        job = Job(plan, engine, rank, world_size, checked=True)
        say(f"{self._path}: {self.file.message}")
        if os.getcwd() != self.file.folder:
            say(f"note: that run was started in {self.file.folder}; relative paths are now taken from here")
        trainer = job.trainer
        assert isinstance(trainer, DetectingTrainer)
        trainer.checking = False
        position = self._load_state(job)
        batch, lr = self._reach(job, trainer, position)
        self._expect_records(batch)
        return self._inspect(trainer, batch, lr, job.card.classes)

    def _load_state(self, job: Job) -> Optional[Position]:
        """Give the trainer the best state available; return its position, or None for that just before the step."""
        base = state_prefix(self._path)
        before = f"{base}.params"
        if os.path.exists(before):
            job.trainer.load_state(before, read_arrays(before))
            say(f"the weights are those before the step ({before})")
            return None
        places = [job.checkpoints.under(base)]
        if self.file.rank:  # the first worker saved nothing if it did not find the anomaly
            places.append(job.checkpoints)
        for place in places:
            position = place.resume(job.trainer)
            if position:
                say(f"the weights are those of {place.resume_path}, after iteration {position.iteration}")
                return position
        say("the weights are those that the run began with, since there is no state beside the file")
        return beginning(job)

    def _reach(
        self, job: Job, trainer: DetectingTrainer, position: Optional[Position]
    ) -> tuple[Batch, float]:
        """The batch and the learning rate of the step, after bringing `trainer` to the point before it."""
        steps = self.file.iteration - 1 - position.iteration if position else 0
        if not position or not steps or self.file.world_size > 1:
            if steps:
                say(
                    f"note: these are not the weights before the step, since one worker alone cannot train the network "
                    f"of {self.file.world_size} workers up to it: the anomaly may not appear again"
                )
            return self._batch(job.train), self.file.lr
        say(f"training again on the {steps} batches from there to the step")
        try:
            fit(
                _UpTo(trainer, self.file.iteration - 1),  # type: ignore[arg-type]
                job.train,
                job.validation,
                self.file.iteration,
                job.schedule,
                position=position,
                progress=Progress(every=20),
            )
        except _Reached as reached:
            return reached.batch, reached.lr
        raise UsageError(f"{self._path}: the run's steps end before iteration {self.file.iteration}")

    def _batch(self, train: Loader) -> Batch:
        position = (self.file.batch - 1) * train.batch_size * self.file.world_size
        train.load_state_dict({**train.state_dict(), "epoch": self.file.epoch - 1, "position": position})
        return next(iter(train))

    def _expect_records(self, batch: Batch) -> None:
        found = batch.ids[: len(batch) - batch.pad].tolist()
        if found != self.file.records:
            raise DataError(
                f"{self._path}: batch {self.file.batch} of epoch {self.file.epoch} has other records now (the first is "
                f"{found[0]}, and was {self.file.records[0]}): give the data and the options of that run"
            )

    def _inspect(self, trainer: DetectingTrainer, batch: Batch, lr: float, classes: Sequence[str]) -> int:
        """Run the step and print what it computed; return the exit status."""
        seen: list[Values] = []
        trainer.checking, trainer.see = True, seen.append
        place, ending = self.file.place._replace(lr=lr), ""
        try:
            trainer.step(batch, lr, trainer.new_meter(), place, place.iteration - 1)
        except Anomaly as anomaly:
            ending = str(anomaly)
        first = next((values for values in seen if values.bad and not _forgiven(values, trainer)), None)
        print("\n" + _table(seen, ("images", "output", "loss"), "computed"))
        print("\n" + _table(seen, ("gradient",), "gradient of"))
        print("\n" + _images(batch, trainer.losses, classes) + "\n")
        if first is None and not ending:
            say(f"the anomaly does not appear again: all numbers of {place} are finite")
            return 0
        say(f"the anomaly appears again in {place}: {f'first in {first}' if first else ending}")
        return 1


class _Reached(Exception):
    """Raised when the next step is the one in question."""

    def __init__(self, batch: Batch, lr: float) -> None:
        self.batch, self.lr = batch, lr


class _UpTo:
    """A trainer for fit() that raises _Reached in place of step number `iteration`, counted from 0."""

    def __init__(self, trainer: DetectingTrainer, iteration: int) -> None:
        self._trainer, self._iteration = trainer, iteration

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trainer, name)

    def step(self, batch: Batch, lr: float, meter: Meter, where: object, iteration: int = 0) -> None:
        """As Trainer.step."""
        if iteration == self._iteration:
            meter.sums()
            raise _Reached(batch, lr)
        self._trainer.step(batch, lr, meter, where, iteration)


def _forgiven(values: Values, trainer: DetectingTrainer) -> bool:
    """Whether the loss scaler responds to these values by skipping the update."""
    return values.kind == "gradient" and trainer.scale is not None and trainer.scale >= 1


def _table(seen: Sequence[Values], kinds: Sequence[str], title: str) -> str:
    rows = [
        (v.name or v.kind, "x".join(map(str, v.shape)), v.low, v.high, v.norm, v.bad or "")
        for v in seen
        if v.kind in kinds
    ]
    return tabulate(rows, (title, "shape", "from", "to", "norm", "not finite"), floatfmt=".4g")


def _images(batch: Batch, losses: np.ndarray, classes: Sequence[str]) -> str:
    """A table of the images with the greatest loss, or with pixels that are not finite."""
    order = np.argsort(-np.nan_to_num(losses, nan=np.inf, posinf=np.inf), kind="stable")
    rows = []
    for row in order[:_IMAGES].tolist():
        pixels, label = batch.data[row], int(batch.label.reshape(len(batch), -1)[row, 0])
        rows.append((int(batch.ids[row]), classes[label], losses[row], pixels.min(), pixels.max()))
    title = (
        "record"
        if len(losses) <= _IMAGES
        else f"record, the {_IMAGES} of {len(losses)} with the greatest loss"
    )
    return tabulate(printable_cells(rows), (title, "label", "loss", "pixels from", "to"), floatfmt=".4g")
