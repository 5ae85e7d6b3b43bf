"""A run as read from its files, finished or not, without MXNet."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from gluon_resnet.errors import UsageError
from gluon_resnet.runs.files.history import read_epochs, read_steps
from gluon_resnet.runs.files.run_card import RunCard
from gluon_resnet.training.epoch_record import EpochRecord, StepRecord

_LOG, _POINTS = "-log.jsonl", 250  # the most points that a curve of steps has

Points = list[tuple[int, float]]  # (iteration, error in percent)


@dataclass(frozen=True)
class Run:
    """What is known of a run. Errors are in percent."""

    name: str
    epochs: Sequence[EpochRecord]
    steps: Sequence[StepRecord] = ()
    card: Optional[RunCard] = None  # runs of older versions have none

    @property
    def settings(self) -> Mapping[str, Any]:
        """Everything that its numbers depend on, besides the data."""
        return self.card.settings if self.card else {}

    @property
    def planned(self) -> Optional[int]:
        """The number of epochs that the run will have, if known."""
        return self.card.epochs if self.card else None

    @property
    def iterations(self) -> int:
        """The number of recorded updates."""
        return max((points[-1].iteration for points in (self.epochs, self.steps) if points), default=0)

    @property
    def best(self) -> Optional[EpochRecord]:
        """The first epoch with the lowest top-1 error in validation, or in training if none was validated."""
        validated = [record for record in self.epochs if record.val_top1_error is not None]
        if validated:
            return min(validated, key=lambda record: record.val_top1_error or 0.0)
        return min(self.epochs, key=lambda record: record.train_top1_error, default=None)

    @property
    def seconds(self) -> float:
        """The training time of all finished epochs."""
        return sum(record.seconds for record in self.epochs)

    @property
    def images_per_second(self) -> Optional[float]:
        """The training speed over all finished epochs; None if there are none."""
        return self._mean("images_per_second")

    @property
    def split(self) -> Optional[dict[str, float]]:
        """The shares of the training time, from 0 to 1: loading, communication, compute; None if not measured.

        If only loading was measured, communication counts as compute.
        """
        loading, communication = self._mean("data_wait"), self._mean("communication")
        if loading is None:
            return None
        parts = {"loading": loading}
        if communication is not None:
            parts["communication"] = communication
        return {**parts, "compute": max(0.0, 1 - sum(parts.values()))}

    @property
    def train_curve(self) -> Points:
        """The training error by step, if steps are recorded from the beginning, otherwise by epoch.

        A point is the mean over a 250th of the run: single steps of a small network scatter by several percent.
        """
        if not self._steps_are_complete:
            return [(record.iteration, record.train_top1_error) for record in self.epochs]
        width = -(-self.iterations // _POINTS)
        groups: dict[int, list[StepRecord]] = {}
        for record in self.steps:
            groups.setdefault((record.iteration - 1) // width, []).append(record)
        return [
            (group[-1].iteration, sum(record.top1_error for record in group) / len(group))
            for group in groups.values()
        ]

    @property
    def validation_curve(self) -> Points:
        """The validation error by epoch."""
        return [(r.iteration, r.val_top1_error) for r in self.epochs if r.val_top1_error is not None]

    @property
    def drops(self) -> list[tuple[int, float]]:
        """The drops of the learning rate to half or less between two records, as (iteration, new rate)."""
        records: Sequence[Any] = self.steps if self._steps_are_complete else self.epochs
        pairs = zip(records, records[1:])
        return [(old.iteration, new.lr) for old, new in pairs if 0 < new.lr <= old.lr / 2]

    @property
    def _steps_are_complete(self) -> bool:
        """False if the run resumed one of an older version, which did not record its steps."""
        if not self.steps or not self.epochs:
            return bool(self.steps)
        return self.steps[0].iteration <= self.epochs[0].iteration

    def _mean(self, name: str) -> Optional[float]:
        """The mean of a field of the epochs, weighted by time, over those that have it."""
        known = [(r.seconds, getattr(r, name)) for r in self.epochs if getattr(r, name) is not None]
        seconds = sum(weight for weight, _ in known)
        return sum(weight * value for weight, value in known) / seconds if seconds else None


def read_run(path: str) -> Run:
    """The run with a prefix, like train.py's --model-prefix, or the run of a log file.

    UsageError if there is none, DataError if one of its files is damaged.
    """
    if os.path.isfile(path):
        prefix = path[: -len(_LOG)] if path.endswith(_LOG) else None
        log = path
    else:
        prefix, log = path, f"{path}{_LOG}"
        if not os.path.isfile(log):
            raise UsageError(f"{path} is not a run: expected the log {log}, or the path of a log")
    name = os.path.basename(prefix or "") or os.path.basename(os.path.dirname(os.path.abspath(log)))
    run = Run(name, read_epochs(log))
    if prefix is None:
        return run
    steps, card = f"{prefix}-steps.jsonl", f"{prefix}-run.json"
    return Run(
        name,
        run.epochs,
        read_steps(steps) if os.path.exists(steps) else (),
        RunCard.load(card) if os.path.exists(card) else None,
    )
