"""Mixup (Zhang et al. 2017, arXiv:1710.09412): which images of a batch are mixed, and by how much."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Mixup:
    """An image becomes w times itself plus 1 - w times its partner, and so does its loss; w ~ Beta(alpha, alpha).

    As in the authors' code, there is one w per batch, and the partners are a permutation, here of each device's part
    of the batch. The random numbers depend only on (seed, iteration, device), so a resumed run draws the same ones.
    """

    alpha: float
    seed: int = 0

    def weight(self, iteration: int) -> float:
        """The weight, from 0 to 1, of the images themselves in the batch of update number `iteration`."""
        return float(np.random.default_rng([self.seed, iteration]).beta(self.alpha, self.alpha))

    def partners(self, iteration: int, device: int, rows: int) -> np.ndarray:
        """A permutation, int64 (rows,): the partner of each row of this device's part."""
        return np.random.default_rng([self.seed, iteration, device + 1]).permutation(rows)
