"""What is known of a run as it goes, as JSON lines: PREFIX-log.jsonl of its epochs, PREFIX-steps.jsonl of its steps.

Nothing here needs MXNet: what a run wrote is read on any machine.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Optional, TypeVar

from gluon_resnet.errors import DataError
from gluon_resnet.files import own_file, regular_only, whole_file
from gluon_resnet.json_values import INT64_MAX, is_integer, parse_json, require
from gluon_resnet.terminal import reason_of

if TYPE_CHECKING:
    from gluon_resnet.training.metrics import Sums  # it imports MXNet


@dataclass(frozen=True)
class EpochRecord:
    """The results of one epoch. Errors are per cent; without validation data its fields are None.

    Fields with a default were added over time: where a record is of an older run, or nobody measured, they are None.
    """

    epoch: int  # epochs done, from 1
    iteration: int  # updates done since the beginning
    lr: float  # of the last update
    seconds: float  # of training, without validation
    images_per_second: float  # of training
    top_k: int
    train_loss: float  # of the batches as they were trained on: augmented, under changing weights
    train_top1_error: float
    train_topk_error: float
    val_loss: Optional[float] = None
    val_top1_error: Optional[float] = None
    val_topk_error: Optional[float] = None
    data_wait: Optional[float] = None  # the part of the training time, 0 to 1, spent waiting for batches ...
    communication: Optional[float] = None  # ... and combining gradients over devices and machines
    gradient_norm: Optional[float] = None  # as in StepRecord, its mean over the updates
    loss_scale: Optional[float] = None  # of float16, after the last update
    skipped_steps: Optional[int] = (
        None  # of float16: updates of this epoch left out, their gradients not finite
    )

    @staticmethod
    def of(
        epoch: int,
        iteration: int,
        lr: float,
        seconds: float,
        top_k: int,
        train: Sums,
        validation: Optional[Sums],
    ) -> EpochRecord:
        """The record of the sums of one epoch."""
        return EpochRecord(
            epoch=epoch,
            iteration=iteration,
            lr=lr,
            seconds=round(seconds, 3),
            images_per_second=round(train.images / seconds, 1),
            top_k=top_k,
            train_loss=train.mean_loss,
            train_top1_error=train.top1_error,
            train_topk_error=train.topk_error,
            val_loss=validation.mean_loss if validation else None,
            val_top1_error=validation.top1_error if validation else None,
            val_topk_error=validation.topk_error if validation else None,
        )

    def line(self, epochs: int, classes: int) -> str:
        """One line for a terminal; `epochs` is how many there will be, and `classes` is the network's.

        The error within the top k is left out where k is all classes, of which none can be wrong.
        """
        line = f"epoch {self.epoch:{len(str(epochs))}}/{epochs}  lr {self.lr:<7g}"
        shown = self.top_k < classes
        line += self._part("train", self.train_loss, self.train_top1_error, self.train_topk_error, shown)
        if self.val_loss is not None:
            top1, topk = self.val_top1_error or 0.0, self.val_topk_error or 0.0
            line += self._part("val", self.val_loss, top1, topk, shown)
        line += f"  {self.images_per_second:.0f} images/s"
        if self.loss_scale is not None:
            line += f"  loss scale {self.loss_scale:g}, {self.skipped_steps} updates skipped"
        return line

    def _part(self, name: str, loss: float, top1: float, topk: float, shown: bool) -> str:
        text = f"  {name}: loss {loss:.4f} error {top1:.2f} %"
        return f"{text} (top-{self.top_k} {topk:.2f} %)" if shown else text


@dataclass(frozen=True)
class StepRecord:
    """The results of the updates since the record before, all of one epoch."""

    iteration: int  # updates done since the beginning of the run
    epoch: int  # the one that runs, from 1
    lr: float  # of the last update
    loss: float  # mean over the images, as they were trained on
    top1_error: float  # per cent of them
    images_per_second: float
    gradient_norm: Optional[float] = None  # of the last update: L2 over all gradients of the mean loss
    loss_scale: Optional[float] = None  # of float16, after the last update
    skipped_steps: Optional[int] = None  # of float16: updates among these that were left out

    @staticmethod
    def of(
        iteration: int,
        epoch: int,
        lr: float,
        sums: Sums,
        seconds: float,
        *,
        gradient_norm: Optional[float] = None,
        loss_scale: Optional[float] = None,
        skipped_steps: Optional[int] = None,
    ) -> StepRecord:
        """The record of the sums over these updates, which took `seconds`."""
        return StepRecord(
            iteration=iteration,
            epoch=epoch,
            lr=lr,
            loss=sums.mean_loss,
            top1_error=sums.top1_error,
            images_per_second=round(sums.images / seconds, 1),
            gradient_norm=gradient_norm,
            loss_scale=loss_scale,
            skipped_steps=skipped_steps,
        )


class EpochLog:
    """The records of a run's epochs, in a file that is whole after each of them.

    Args:
        path: the file, which is made, or cut to what is kept, at once. DataError when it exists, is to be continued,
            and holds something else.
        epochs: how many epochs of it to keep; later ones were not saved in a checkpoint and will come again.
    """

    def __init__(self, path: str, epochs: int) -> None:
        self._path = path
        old = read_epochs(path) if epochs and os.path.exists(path) else None
        self.records = [record for record in old or [] if record.epoch <= epochs]
        if self.records != old:
            self._write()

    def append(self, record: EpochRecord) -> None:
        """Add the record of the next epoch. On OSError it is kept for the next writing."""
        self.records.append(record)
        self._write()

    def _write(self) -> None:
        with whole_file(self._path) as stream:
            stream.writelines(_line(record) for record in self.records)


class StepLog:
    """The records of a run's steps, in a file to which lines are added.

    A line that a killed process left unfinished at the end is taken away when the run goes on.

    Args:
        path: the file. DataError when it exists, is to be continued, and holds something else.
        iteration: how many updates of it to keep; later ones were not saved in a checkpoint and will come again.
    """

    def __init__(self, path: str, iteration: int) -> None:
        self._path = path
        self.records: list[StepRecord] = []  # those kept
        if iteration and os.path.exists(path):
            self.records = list(takewhile(lambda record: record.iteration <= iteration, read_steps(path)))
        with open(path, "ab+", opener=own_file) as stream:
            stream.seek(0)
            kept = sum(len(stream.readline()) for _ in self.records)
            stream.truncate(kept)

    def append(self, record: StepRecord) -> None:
        """Add the record of the latest steps. On OSError the file is as it was."""
        with open(self._path, "ab", opener=own_file) as stream:
            size = stream.tell()
        try:
            with open(self._path, "ab", opener=own_file) as stream:
                stream.write(_line(record).encode())
        except OSError:
            with contextlib.suppress(OSError):
                os.truncate(self._path, size)
            raise


def read_epochs(path: str) -> list[EpochRecord]:
    """The records of a PREFIX-log.jsonl. DataError names the line that is none; OSError where there is no file."""
    return list(_read(path, EpochRecord, "an epoch's"))


def read_steps(path: str) -> list[StepRecord]:
    """The records of a PREFIX-steps.jsonl, without a last line that is being written. Errors as for read_epochs."""
    return list(_read(path, StepRecord, "a step's"))


_Record = TypeVar("_Record", EpochRecord, StepRecord)


def _read(path: str, kind: type[_Record], whose: str) -> Iterator[_Record]:
    with open(path, encoding="utf-8", errors="replace", opener=regular_only) as stream:
        for number, line in enumerate(stream, 1):
            if kind is StepRecord and not line.endswith("\n"):
                return
            try:
                yield _parsed(kind, parse_json(line, finite=False))  # a loss may be NaN
            except (ValueError, TypeError) as error:
                reason = reason_of(error)
                raise DataError(f"{path}: line {number} is not {whose} record: {reason}", path) from None


def _parsed(kind: type[_Record], content: Any) -> _Record:
    """The record of a JSON object; ValueError or TypeError for anything else."""
    if not isinstance(content, dict):
        raise ValueError("it is no object")
    record = kind(**content)
    for field in fields(kind):
        value, optional = getattr(record, field.name), "Optional" in str(field.type)
        number = is_integer(value, -INT64_MAX, INT64_MAX) or (
            "int" not in str(field.type) and isinstance(value, float)
        )
        require(number or (optional and value is None), field.name, "a number", value)
    return record


def _line(record: Any) -> str:
    """The record as a line; a number that is not finite, which JSON does not have, as null where that may be."""
    optional = {field.name for field in fields(record) if "Optional" in str(field.type)}
    content = {
        name: None if name in optional and value is not None and not math.isfinite(value) else value
        for name, value in asdict(record).items()
    }
    return json.dumps(content) + "\n"
