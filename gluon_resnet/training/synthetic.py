"""Batches that cost nothing: noise with random labels, for measuring training alone."""

from __future__ import annotations

from typing import Any

import numpy as np


class SyntheticBatch:
    """A trainer.Batch of `size` images of `side` x `side` pixels, with labels from 0 to classes - 1.

    The images are float32 noise from 0 to 255. Every use of the batch reads the same memory.
    """

    pad = 0

    def __init__(self, size: int, side: int, classes: int, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        self._images = random.random((size, 3, side, side), "float32")
        self._images *= 255
        self.label = random.integers(0, classes, size).astype("float32")
        self.ids = np.arange(size)

    def __len__(self) -> int:
        return len(self.ids)

    def __dlpack__(self) -> Any:
        return self._images.__dlpack__()
