"""What the tests of the loader compare: batches as plain values, and two transforms."""

from __future__ import annotations

from collections.abc import Iterable

from gluon_resnet.data import ColorJitter, EvalTransform, Loader, TrainTransform
from gluon_resnet.data._native import Batch

EVAL = EvalTransform(resize=40, size=32)
TRAIN = TrainTransform(size=32, color=ColorJitter(0.4, 0.4, 0.4, 0.1))


def ids(loader: Loader) -> list[list[int]]:
    """The real ids of each batch of one epoch."""
    return [batch.ids[: len(batch) - batch.pad].tolist() for batch in loader]


def contents(batches: Iterable[Batch]) -> list[tuple]:
    """All that batches hold."""
    return [(b.data.tobytes(), b.label.tolist(), b.ids.tolist(), b.pad) for b in batches]
