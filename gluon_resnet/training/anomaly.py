"""Numbers that ran out of range in a training step, and the step in which they did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Optional

import numpy as np

from gluon_resnet.errors import GluonResnetError


class Place(NamedTuple):
    """A step of a run; all numbers count from 1, as they are displayed."""

    iteration: int
    batch: int
    epoch: int
    epochs: int  # of the whole run
    lr: float

    def __str__(self) -> str:
        return (
            f"iteration {self.iteration}, batch {self.batch} of epoch {self.epoch}/{self.epochs} "
            f"(learning rate {self.lr:g})"
        )


class Anomaly(GluonResnetError):
    """A loss, a weight or a gradient is not finite.

    Attributes:
        where: a Place, or, in loops other than fit(), their name for the batch.
        records: the ids of the records in this worker's part of the batch.
        bad_records: those of them whose own loss is not finite, or in which detection found the values that it names.
        loss: the mean loss over this worker's part; None if it was not computed.
        gradient_norm: the norm of the gradient of the mean loss over all workers; None if it was not computed.
        loss_scale: the loss scale of the step; None without a scaler.
        found: what is not finite, if it is neither loss nor norm, or if detection found it; otherwise "".
        state: the Trainer.state() before the step; None if it was not kept.
    """

    def __init__(
        self,
        where: object,
        records: Sequence[int] = (),
        bad_records: Sequence[int] = (),
        loss: Optional[float] = None,
        gradient_norm: Optional[float] = None,
        loss_scale: Optional[float] = None,
        found: str = "",
        state: Optional[Mapping[str, np.ndarray]] = None,
    ) -> None:
        self.where = where
        self.records, self.bad_records = list(records), list(bad_records)
        self.loss, self.gradient_norm, self.loss_scale = loss, gradient_norm, loss_scale
        self.found, self.state = found, state
        super().__init__(self._text())

    def _text(self) -> str:
        known = [f"loss {self.loss:g}"] if self.loss is not None else []
        if self.gradient_norm is not None:
            known.append(f"gradient norm {self.gradient_norm:g}")
        if self.loss_scale is not None:
            known.append(f"loss scale {self.loss_scale:g}")
        text = f"numbers ran out of range in {self.where}"
        if known:
            text += f": {', '.join(known)}"
        if self.found:
            text += f": {self.found}"
        elif 0 < len(self.bad_records) < len(self.records):
            text += f"; the loss is not finite for {list_records(self.bad_records)}"
        return text


def list_records(ids: Sequence[int]) -> str:
    """The ids in words: "record 3", "records 3, 5", ...; at most the first ten."""
    names = ", ".join(map(str, ids[:10]))
    return f"record{'s' if len(ids) > 1 else ''} {names}" + (f" and {len(ids) - 10} more" if ids[10:] else "")
