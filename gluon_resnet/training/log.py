"""What is known of each epoch when it is over: one line to read, one JSON object in PREFIX-log.jsonl."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import Optional

from gluon_resnet.errors import DataError
from gluon_resnet.files import whole_file
from gluon_resnet.training.metrics import Sums


@dataclass(frozen=True)
class EpochRecord:
    """The results of one epoch. Errors are per cent; without validation data its fields are None."""

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
    data_wait: Optional[float] = None  # the part of the training time, 0 to 1, spent waiting for batches

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

    def line(self, epochs: int) -> str:
        """One line for a terminal; `epochs` is how many there will be."""
        line = f"epoch {self.epoch:{len(str(epochs))}}/{epochs}  lr {self.lr:<7g}"
        line += self._part("train", self.train_loss, self.train_top1_error, self.train_topk_error)
        if self.val_loss is not None:
            line += self._part("val", self.val_loss, self.val_top1_error or 0.0, self.val_topk_error or 0.0)
        return line + f"  {self.images_per_second:.0f} images/s"

    def _part(self, name: str, loss: float, top1: float, topk: float) -> str:
        return f"  {name}: loss {loss:.4f} error {top1:.2f} % (top-{self.top_k} {topk:.2f} %)"


class EpochLog:
    """The records of a run, in a file of JSON lines that is whole after every epoch.

    Args:
        path: the file. DataError when it exists, is to be continued, and holds something else.
        epochs: how many epochs of it to keep; later ones were not saved in a checkpoint and will come again.
    """

    def __init__(self, path: str, epochs: int) -> None:
        self._path = path
        self.records: list[EpochRecord] = []
        if epochs and os.path.exists(path):
            with open(path, encoding="utf-8") as stream:
                for number, line in enumerate(stream, 1):
                    try:
                        self.records.append(EpochRecord(**json.loads(line)))
                    except (ValueError, TypeError) as error:
                        raise DataError(
                            f"{path}: line {number} is not an epoch's record: {error}", path
                        ) from None
        self.records = [record for record in self.records if record.epoch <= epochs]

    def append(self, record: EpochRecord) -> None:
        """Add the record of the next epoch."""
        self.records.append(record)
        with whole_file(self._path) as stream:
            stream.writelines(json.dumps(asdict(record)) + "\n" for record in self.records)
