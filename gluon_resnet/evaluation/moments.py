"""The mean and the standard deviation of numbers that come in pieces."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np


class Moments(NamedTuple):
    """Of some numbers; two of them merge into that of all (Chan, Golub and LeVeque 1983, Eq. 2.1).

    Sums of squares would lose the digits of a standard deviation that is small beside the mean.
    """

    size: int = 0  # how many
    mean: float = 0.0
    squares: float = 0.0  # of the differences from the mean, summed

    @staticmethod
    def of(values: np.ndarray) -> Moments:
        """Of all elements, at least one, in float64; NaN where one is not finite."""
        values = values.astype(np.float64).ravel()
        with np.errstate(invalid="ignore"):  # infinity less infinity
            mean = values.mean()
            values -= mean
            return Moments(values.size, float(mean), float(values @ values))

    def merged(self, other: Moments) -> Moments:
        """Of the numbers of both, one of which may be of none."""
        size = self.size + other.size
        share, apart = other.size / size, other.mean - self.mean
        squares = self.squares + other.squares + apart**2 * self.size * share
        return Moments(size, self.mean + apart * share, squares)

    @property
    def std(self) -> float:
        """The standard deviation: the root of the mean square, over `size` and not one less."""
        return math.sqrt(self.squares / self.size)
