"""The mean and the standard deviation of numbers that come in parts."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np


class Moments(NamedTuple):
    """The moments of some numbers; two can be merged into those of all (Chan, Golub and LeVeque 1983, Eq. 2.1).

    Sums of squares would lose the digits of a standard deviation that is small compared with the mean. `mean` and
    `squares` may also be arrays of one shape, float64, for as many sequences of `size` numbers.
    """

    size: int = 0  # the count
    mean: Any = 0.0
    squares: Any = 0.0  # the sum of squared differences from the mean

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
    def variance(self) -> Any:
        """The mean square of the differences from the mean, dividing by `size` and not by one less."""
        return self.squares / self.size

    @property
    def std(self) -> float:
        """The root of the variance of a single sequence."""
        return math.sqrt(self.variance)
