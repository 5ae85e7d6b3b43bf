"""Numbers that ran out of range in a training step, and which step that was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Optional

import numpy as np

from gluon_resnet.errors import GluonResnetError


class Place(NamedTuple):
    """Which step of a run; everything counts from 1, as it is shown."""

    iteration: int
    batch: int
    epoch: int
    epochs: int  # that the run has
    lr: float

    def __str__(self) -> str:
        return (
            f"iteration {self.iteration}, batch {self.batch} of epoch {self.epoch}/{self.epochs} "
            f"(learning rate {self.lr:g})"
        )


class Anomaly(GluonResnetError):
    """A loss, a weight or a gradient is not finite.

    Attributes:
        where: a Place, or in other loops than fit() what they call their batch.
        records: ids of this worker's part of the batch.
        bad_records: those of them whose own loss is not finite, or in which detection found what it names.
        loss: the mean over this worker's part; None where it was not computed.
        gradient_norm: of the mean loss over all workers; None where it was not computed.
        loss_scale: of the step; None without a scaler.
        found: what is not finite, where it is another thing than loss and norm, or detection has found it; else "".
        state: Trainer.state() as of before the step; None where it has not been kept.
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
    """ "record 3", "records 3, 5", ...; the first ten of many."""
    names = ", ".join(map(str, ids[:10]))
    return f"record{'s' if len(ids) > 1 else ''} {names}" + (f" and {len(ids) - 10} more" if ids[10:] else "")
