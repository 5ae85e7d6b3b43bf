"""Loss and errors, summed without making the device wait for the host."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional

import numpy as np

from gluon_resnet._mxnet import mx
from gluon_resnet.errors import GluonResnetError

_CHUNK = 200  # arrays that one GPU kernel of MXNet can look at


@dataclass(frozen=True)
class Sums:
    """Totals over a number of images."""

    loss: float = 0.0
    top1_right: int = 0
    topk_right: int = 0
    images: int = 0

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            self.loss + other.loss,
            self.top1_right + other.top1_right,
            self.topk_right + other.topk_right,
            self.images + other.images,
        )

    def __sub__(self, other: Sums) -> Sums:
        return self + Sums(-other.loss, -other.top1_right, -other.topk_right, -other.images)

    @property
    def mean_loss(self) -> float:
        """Loss per image; NaN over no images."""
        return self.loss / self.images if self.images else math.nan

    @property
    def top1_error(self) -> float:
        """Per cent of the images whose label does not have the highest score; NaN over no images."""
        return 100.0 * (self.images - self.top1_right) / self.images if self.images else math.nan

    @property
    def topk_error(self) -> float:
        """Per cent of the images whose label is not among the k highest scores; NaN over no images."""
        return 100.0 * (self.images - self.topk_right) / self.images if self.images else math.nan


class Meter:
    """Adds up what networks put out, in float64 on the host, one batch behind the device.

    Reading a result makes the host wait until the device has computed it. Here the result of a batch
    is read only when the next batch has been queued: by then it is ready, or the device is busy and the
    host has nothing better to do. It also keeps the queue to two batches.

    A score that equals the label's counts as higher (a network that scores all classes alike is wrong).
    """

    def __init__(self, classes: int, top_k: int, start: Optional[Sums] = None) -> None:
        self._thresholds = (classes - 1, classes - min(top_k, classes))
        self._sums = start or Sums()
        self._pending: Optional[tuple[list[Any], list[Any], str]] = None

    def add(self, parts: Sequence[tuple[Any, Any, Any]], where: str, watched: Sequence[Any] = ()) -> None:
        """Queue one batch: (scores (n, classes), loss (n,), label (n,)) of each device.

        `watched` are arrays that have to be finite besides the loss; `where` says in an error which batch it
        was. Raises GluonResnetError when something in the batch *before* this one was not finite.
        """
        queued = []
        for scores, loss, label in parts:
            scores = scores.astype("float32", copy=False)
            own = mx.nd.pick(scores, label, axis=1, keepdims=True)
            lower = mx.nd.broadcast_lesser(scores, own).sum(axis=1)  # how many scores are below the label's
            queued.append(mx.nd.stack(loss.astype("float32", copy=False), lower))
        chunks = [watched[i : i + _CHUNK] for i in range(0, len(watched), _CHUNK)]
        finite = [mx.nd.multi_all_finite(*chunk, num_arrays=len(chunk)) for chunk in chunks]
        self._read()
        self._pending = (queued, finite, where)

    def sums(self) -> Sums:
        """All batches so far; waits for the last one and raises as `add` does."""
        self._read()
        return self._sums

    @property
    def lagging(self) -> Sums:
        """All batches but the last: for progress bars, waits for nothing."""
        return self._sums

    def _read(self) -> None:
        if self._pending is None:
            return
        queued, finite, where = self._pending
        self._pending = None
        losses, lower = np.concatenate([part.asnumpy() for part in queued], axis=1).astype("float64")
        if not (np.isfinite(losses).all() and all(flag.asscalar() for flag in finite)):
            raise GluonResnetError(
                f"numbers ran out of range in {where} (loss {losses.mean():g}); the last checkpoint is kept: "
                "go on from it with a lower learning rate, or look for bad images and labels"
            )
        top1, topk = (int((lower >= threshold).sum()) for threshold in self._thresholds)
        self._sums += Sums(float(losses.sum()), top1, topk, len(losses))
