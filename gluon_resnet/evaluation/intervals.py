"""How certain an error, or the difference of two errors, is: 95 % confidence intervals and McNemar's test."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.stats import binomtest


def interval(wrong: int, images: int) -> tuple[float, float]:
    """The 95 % confidence interval of an error in percent, by Wilson's score (Wilson 1927, JASA 22, 209-212)."""
    ends = binomtest(wrong, images).proportion_ci(confidence_level=0.95, method="wilson")
    return 100 * float(ends.low), 100 * float(ends.high)


def difference(
    first: float, first_ends: tuple[float, float], second: float, second_ends: tuple[float, float]
) -> tuple[float, float]:
    """The 95 % interval of first - second, two independent estimates, from their own 95 % intervals.

    For Wilson's intervals of two proportions it is Newcombe's hybrid score (Newcombe 1998, Statistics in Medicine
    17, 873-890, method 10); for other estimates see Zou and Donner 2008, Statistics in Medicine 27, 1693-1702.
    """
    return _difference(first, first_ends, second, second_ends, correlation=0.0)


class PairedDifference(NamedTuple):
    """The errors of two networks, compared image by image."""

    only_first: int  # the number of images that only the first gets wrong
    only_second: int  # the number of images that only the second gets wrong
    difference: float  # first - second, in percentage points
    interval: tuple[float, float]  # its 95 % interval, in percentage points
    p_value: float  # of McNemar's exact test: of so unequal a split if neither is better


def paired_difference(first_wrong: np.ndarray, second_wrong: np.ndarray) -> PairedDifference:
    """Compare two networks on the same images.

    The interval is Newcombe's for paired proportions (Newcombe 1998, Statistics in Medicine 17, 2635-2650, method
    10): the hybrid score of `difference`, narrowed by the correlation of the two errors. The test is McNemar's
    (1947, Psychometrika 12, 153-157) in its exact form.

    Args:
        first_wrong, second_wrong: whether each network gets image i wrong, bool (n,); n is at least 1.
    """
    images = len(first_wrong)
    both = int((first_wrong & second_wrong).sum())
    only_first, only_second = (int(wrong.sum()) - both for wrong in (first_wrong, second_wrong))
    first, second = both + only_first, both + only_second
    errors = 100 * first / images, 100 * second / images
    ends = _difference(
        errors[0],
        interval(first, images),
        errors[1],
        interval(second, images),
        correlation=_correlation(both, only_first, only_second, images),
    )
    unequal = only_first + only_second
    p_value = float(binomtest(only_first, unequal).pvalue) if unequal else 1.0
    return PairedDifference(only_first, only_second, errors[0] - errors[1], ends, p_value)


def _difference(
    first: float,
    first_ends: tuple[float, float],
    second: float,
    second_ends: tuple[float, float],
    correlation: float,
) -> tuple[float, float]:
    def reach(one: float, other: float) -> float:
        # Rounding may make it negative if the two are equal and fully correlated.
        return math.sqrt(max(0.0, one * one - 2 * correlation * one * other + other * other))

    middle = first - second
    low = middle - reach(first - first_ends[0], second_ends[1] - second)
    high = middle + reach(first_ends[1] - first, second - second_ends[0])
    return low, high


def _correlation(both: int, only_first: int, only_second: int, images: int) -> float:
    """Newcombe's phi of the 2x2 table, corrected for continuity; 0 if a margin is empty."""
    neither = images - both - only_first - only_second
    margins = (both + only_first, neither + only_second, both + only_second, neither + only_first)
    if not all(margins):
        return 0.0
    product = float(both * neither - only_first * only_second)
    if product > 0:
        product = max(product - images / 2, 0.0)
    return product / math.sqrt(math.prod(margins))
