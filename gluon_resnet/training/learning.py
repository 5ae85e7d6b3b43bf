"""Warns if a run does not learn: if its loss explodes, or its error stays at that of guessing."""

from __future__ import annotations

import math
from typing import Callable, Optional

from gluon_resnet.training.epoch_record import EpochRecord

_EXPLODED = 10  # times the loss of guessing
_SETTLED = 50  # updates after which running averages with momentum 0.9 have forgotten the first weights
_TOLD_AFTER = 5  # epochs; an earlier warning comes only at the end of a run


class LearningWatch:
    """Called with each epoch's record, warns if the run does not learn: once for each kind, and again at the end.

    Args:
        classes: the number of classes of the network.
        epochs: the number of epochs of the run.
        interval: a function from the number of wrong answers and the number of images to the lowest and highest error,
            in per cent, that are compatible with them.
    """

    def __init__(
        self, classes: int, epochs: int, interval: Callable[[int, int], tuple[float, float]]
    ) -> None:
        self._guessing_loss = math.log(max(classes, 1))
        self._classes, self._epochs, self._interval = classes, epochs, interval
        self._told: set[str] = set()

    def __call__(self, record: EpochRecord, images: int, most_frequent: Optional[float] = None) -> list[str]:
        """The warnings after an epoch.

        `images` is the number of images over which the error was measured, in the validation if there was one;
        `most_frequent` is the fraction of them in the largest class (by default all classes have the same size).
        """
        if self._classes < 2:
            return []
        last = record.epoch >= self._epochs
        found = {"diverged": self._diverged(record, last)}
        if not found["diverged"] and "diverged" not in self._told:
            found["chance"] = self._guesses(record, last, images, most_frequent or 1 / self._classes)
        told = {kind: text for kind, text in found.items() if text and (last or kind not in self._told)}
        self._told.update(told)
        return list(told.values())

    def _diverged(self, record: EpochRecord, last: bool) -> str:
        losses = {"training": record.train_loss}
        if record.val_loss is not None and (last or record.iteration >= _SETTLED):
            losses["validation"] = record.val_loss
        name, loss = max(losses.items(), key=lambda item: item[1])
        if loss <= _EXPLODED * self._guessing_loss:
            return ""
        if name == "validation" and record.iteration < _SETTLED:
            return f"{_few(record)}: the validation loss of {loss:,.4g} means nothing yet"
        return (
            f"the {name} loss is {loss:,.4g} after epoch {record.epoch}, and that of guessing is "
            f"{self._guessing_loss:.3g}: training diverges, so try a lower --lr"
        )

    def _guesses(self, record: EpochRecord, last: bool, images: int, most_frequent: float) -> str:
        if not (last or (record.epoch >= _TOLD_AFTER and record.iteration >= 3 * _SETTLED)) or images < 1:
            return ""
        name, error = "validation", record.val_top1_error
        if error is None:
            name, error = "training", record.train_top1_error
        guessing = 100 * (1 - most_frequent)
        if self._interval(round(error * images / 100), images)[1] < guessing:
            return ""
        text = (
            f"the {name} error of {error:.2f} % after epoch {record.epoch}, on {images:,} images, cannot be "
            f"distinguished from the {guessing:.2f} % of guessing"
        )
        if record.iteration < _SETTLED:
            return f"{text}: {_few(record)}"
        return f"{text}: try another --lr or more --num-epochs, and check whether the labels are right"


def _few(record: EpochRecord) -> str:
    return (
        f"{record.iteration} updates are too few for batch normalization's running averages, which need about "
        f"{_SETTLED}: use more --num-epochs, or a smaller --batch-size"
    )
