"""The mean and the standard deviation of numbers that come in parts."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np


class Moments(NamedTuple):
    """The moments of some numbers; two can be merged into those of all (Chan, Golub and LeVeque 1983, Eq. 2.1).

    Sums of squares would lose the digits of a standard deviation that is small compared with the mean.
    """

    size: int = 0  # the count
    mean: float = 0.0
    squares: float = 0.0  # the sum of squared differences from the mean

    @staticmethod
    def of(values: np.ndarray) -> Moments:
        """The moments of all elements, at least one, in float64; NaN if one is not finite."""
        values = values.astype(np.float64).ravel()
        with np.errstate(invalid="ignore"):  # infinity minus infinity
            mean = values.mean()
            values -= mean
            return Moments(values.size, float(mean), float(values @ values))

    def merged(self, other: Moments) -> Moments:
        """The moments of the numbers of both, either of which may be empty."""
        size = self.size + other.size
        share, apart = other.size / size, other.mean - self.mean
        squares = self.squares + other.squares + apart**2 * self.size * share
        return Moments(size, self.mean + apart * share, squares)

    @property
    def std(self) -> float:
        """The standard deviation: the root of the mean square, dividing by `size` and not by one less."""
        return math.sqrt(self.squares / self.size)
