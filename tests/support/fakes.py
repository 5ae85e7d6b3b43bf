"""Small nets and batches in memory, for tests of training that need no files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Optional

import numpy as np

from gluon_resnet._mxnet import mx


class FakeBatch:
    """What a Loader gives: (n, 3, H, W) float32 images; the last `pad` rows do not count."""

    def __init__(self, data: np.ndarray, label: np.ndarray, pad: int = 0) -> None:
        self.data = data
        self.label = label
        self.ids = np.arange(100, 100 + len(data), dtype=np.uint64)
        self.pad = pad

    def __len__(self) -> int:
        return len(self.data)

    def __dlpack__(self) -> Any:
        return self.data.__dlpack__()


class FakeLoader:
    """Random batches that depend on (epoch, batch) alone, with a Loader's state."""

    def __init__(self, batches: int = 5, rows: int = 6, classes: int = 4) -> None:
        self._batches, self._rows, self._classes = batches, rows, classes
        self._epoch = self._batch = 0

    def __len__(self) -> int:
        return self._batches

    def __iter__(self) -> Iterator[FakeBatch]:
        while self._batch < self._batches:
            random = np.random.default_rng([self._epoch, self._batch])
            self._batch += 1
            yield random_batch(self._rows, self._classes, random)

    def set_epoch(self, epoch: int) -> None:
        self._epoch, self._batch = epoch, 0

    def state_dict(self) -> dict[str, int]:
        return {"epoch": self._epoch, "batch": self._batch}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self._epoch, self._batch = state["epoch"], state["batch"]


def random_batch(rows: int, classes: int = 4, random: Optional[np.random.Generator] = None) -> FakeBatch:
    """Images of noise from 0 to 1."""
    random = random or np.random.default_rng(0)
    label = random.integers(0, classes, rows).astype("float32")
    return FakeBatch(random.random((rows, 3, 8, 8), dtype="float32"), label)


def tiny_net(
    contexts: Optional[list[Any]] = None, norm: bool = False, classes: int = 4, dropout: float = 0.0
) -> Any:
    """One convolution and a classifier, always with the same weights."""
    nn = mx.gluon.nn
    net = nn.HybridSequential()
    net.add(nn.Conv2D(8, 3, padding=1, in_channels=3))
    if norm:
        net.add(nn.BatchNorm(in_channels=8))
    if dropout:
        net.add(nn.Dropout(dropout))
    net.add(nn.Activation("relu"), nn.GlobalAvgPool2D(), nn.Dense(classes, in_units=8))
    mx.random.seed(0)
    net.initialize(mx.init.Xavier(), ctx=contexts or [mx.cpu()])
    return net
