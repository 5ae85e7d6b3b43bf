"""Loss and errors, summed without making the device wait for the host."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Optional

import numpy as np

from gluon_resnet._mxnet import mx
from gluon_resnet.training.activity import doing
from gluon_resnet.training.anomaly import Anomaly

_CHUNK = 200  # arrays that one GPU kernel of MXNet can check


@dataclass(frozen=True)
class Sums:
    """Totals over a number of images."""

    loss: float = 0.0
    top1_right: int = 0
    topk_right: int = 0
    images: int = 0
    gradient_norms: float = 0.0  # summed over the updates made, ...
    updates: int = 0  # ... and their number

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            self.loss + other.loss,
            self.top1_right + other.top1_right,
            self.topk_right + other.topk_right,
            self.images + other.images,
            self.gradient_norms + other.gradient_norms,
            self.updates + other.updates,
        )

    def __sub__(self, other: Sums) -> Sums:
        return self + Sums(
            -other.loss,
            -other.top1_right,
            -other.topk_right,
            -other.images,
            -other.gradient_norms,
            -other.updates,
        )

    @property
    def mean_loss(self) -> float:
        """Loss per image; NaN if there are no images."""
        return self.loss / self.images if self.images else math.nan

    @property
    def top1_error(self) -> float:
        """The percentage of images whose label does not have the highest score; NaN if there are no images."""
        return 100.0 * (self.images - self.top1_right) / self.images if self.images else math.nan

    @property
    def topk_error(self) -> float:
        """The percentage of images whose label is not among the k highest scores; NaN if there are no images."""
        return 100.0 * (self.images - self.topk_right) / self.images if self.images else math.nan

    @property
    def mean_gradient_norm(self) -> Optional[float]:
        """The mean of the updates' gradient norms (Updates.apply); None if there are no updates."""
        return self.gradient_norms / self.updates if self.updates else None


class Update(NamedTuple):
    """The effect of a batch on the network, besides its scores."""

    ids: np.ndarray  # of the records that count
    norm: Any  # of the gradient: an array (1,) that may not have been computed yet
    watched: Sequence[Any]  # arrays that must be finite
    loss_scale: Optional[float]  # of a scaler; at 1 or more it skips updates whose gradient is not finite


class Meter:
    """Sums up the networks' results, in float64 on the host, one batch behind the device.

    Reading a result makes the host wait until the device has computed it. Here the result of a batch
    is read only when the next batch has been queued: by then it is ready, or the device is busy and the
    host has nothing better to do. This also limits the queue to two batches.

    A score that equals the label's counts as higher (a network that scores all classes alike is wrong).

    Args:
        classes: the number of classes of the network.
        top_k: the k of the error to measure besides top-1.
        start: the sums to start from.
        confusion: int64 (classes, classes), to which the number of images with the row's label that were classified as
            the column's is added, as evaluation.Tally does.

    Attributes:
        gradient_norm: the norm of the newest update that has been read; None before that. Not finite if the update was
            skipped.
    """

    def __init__(
        self,
        classes: int,
        top_k: int,
        start: Optional[Sums] = None,
        confusion: Optional[np.ndarray] = None,
    ) -> None:
        self._thresholds = (classes - 1, classes - min(top_k, classes))
        self._sums = start or Sums()
        self._confusion = confusion
        self.gradient_norm: Optional[float] = None
        self._pending: Optional[tuple[list[Any], list[Any], object, Optional[Update]]] = None

    def add(
        self, parts: Sequence[tuple[Any, Any, Any]], where: object, update: Optional[Update] = None
    ) -> None:
        """Queue one batch: (scores (n, classes), loss (n,), label (n,)) from each device.

        `update` describes a training step; str(where) names the batch in errors. Raises Anomaly if something in the
        batch *before* this one was not finite.
        """
        queued = []
        for scores, loss, label in parts:
            scores = scores.astype("float32", copy=False)
            own = mx.nd.pick(scores, label, axis=1, keepdims=True)
            lower = mx.nd.broadcast_lesser(scores, own).sum(axis=1)  # the number of scores below the label's
            rows = [loss.astype("float32", copy=False), lower]
            if self._confusion is not None:
                others = scores - mx.nd.one_hot(
                    label, scores.shape[1], on_value=np.inf
                )  # the label's is -inf
                rows += [label.astype("float32", copy=False), others.argmax(axis=1)]
            queued.append(mx.nd.stack(*rows))
        watched = update.watched if update else ()
        chunks = [watched[i : i + _CHUNK] for i in range(0, len(watched), _CHUNK)]
        finite = [mx.nd.multi_all_finite(*chunk, num_arrays=len(chunk)) for chunk in chunks]
        self._read()
        self._pending = (queued, finite, where, update)

    def sums(self) -> Sums:
        """The sums of all batches so far; waits for the last one, and raises errors like `add`."""
        self._read()
        return self._sums

    @property
    def lagging(self) -> Sums:
        """The sums of all batches except the last, without waiting: for progress bars."""
        return self._sums

    def _read(self) -> None:
        if self._pending is None:
            return
        queued, finite, where, update = self._pending
        self._pending = None
        with doing("waiting for the device to compute a step", where.__str__):
            losses, lower, *answers = np.concatenate([part.asnumpy() for part in queued], axis=1).astype(
                "float64"
            )
            kept = all(flag.asscalar() for flag in finite)
            norm = float(update.norm.asscalar()) if update else None
        top1, topk = (int((lower >= threshold).sum()) for threshold in self._thresholds)
        sums = Sums(float(losses.sum()), top1, topk, len(losses))
        sound, scale = np.isfinite(losses).all(), update.loss_scale if update else None
        if norm is not None:
            self.gradient_norm = norm
            if math.isfinite(norm):
                sums += Sums(gradient_norms=norm, updates=1)
            else:
                sound = sound and scale is not None and scale >= 1
        if not (sound and kept):
            ids = update.ids if update else np.zeros(0, int)
            bad = ids[~np.isfinite(losses)] if len(ids) else ids
            found = "a weight or a running variance is not finite" if sound else ""
            raise Anomaly(where, ids.tolist(), bad.tolist(), float(losses.mean()), norm, scale, found)
        self._sums += sums
        if self._confusion is not None:
            label, rival = (row.astype(np.int64) for row in answers)
            answer = np.where(lower >= self._thresholds[0], label, rival)
            np.add.at(self._confusion, (label, answer), 1)
