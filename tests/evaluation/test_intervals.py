"""Intervals of differences: printed examples, a second derivation, and how often they cover the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom

from gluon_resnet.evaluation.intervals import difference, interval, paired_difference


def table(both: int, only_first: int, only_second: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    """Who is wrong, image by image."""
    counts = (both, only_first, only_second, neither)
    return tuple(np.repeat(np.array(wrong, bool), counts) for wrong in ((1, 1, 0, 0), (1, 0, 1, 0)))


def test_a_printed_example():
    # Newcombe 1998, Statistics in Medicine 17, 2635-2650: 36, 12, 2, 0 gives 0.2000 (0.0569 to 0.3404) by method 10.
    found = paired_difference(*table(36, 12, 2, 0))
    assert (found.only_first, found.only_second) == (12, 2)
    assert found.difference == pytest.approx(20)
    assert found.interval == pytest.approx((5.69, 34.04), abs=0.005)
    assert found.p_value == pytest.approx(2 * binom.cdf(2, 14, 0.5))


@pytest.mark.parametrize("counts", [(212, 144, 256, 707), (1000, 900, 1010, 7090), (53, 8, 16, 9)])
def test_it_is_the_independent_one_narrowed_by_the_correlation(counts):
    both, b, c, neither = counts
    n, wrong = sum(counts), table(*counts)
    found = paired_difference(*wrong)
    p, q = (both + b) / n, (both + c) / n
    (l1, u1), (l2, u2) = (np.array(interval(w.sum(), n)) / 100 for w in wrong)
    product = max(both * neither - b * c - n / 2, 0)
    phi = product / math.sqrt((both + b) * (both + c) * (b + neither) * (c + neither))
    low = p - q - math.sqrt((p - l1) ** 2 - 2 * phi * (p - l1) * (u2 - q) + (u2 - q) ** 2)
    high = p - q + math.sqrt((q - l2) ** 2 - 2 * phi * (q - l2) * (u1 - p) + (u1 - p) ** 2)
    assert found.interval == pytest.approx((100 * low, 100 * high))
    independent = difference(100 * p, interval(wrong[0].sum(), n), 100 * q, interval(wrong[1].sum(), n))
    assert independent[0] < found.interval[0] < found.interval[1] < independent[1]
    mirrored = paired_difference(wrong[1], wrong[0])
    assert mirrored.interval == pytest.approx((-found.interval[1], -found.interval[0]))


def test_who_never_differs_is_not_told_apart():
    for wrong in (np.zeros(50, bool), np.ones(50, bool)):
        found = paired_difference(wrong, wrong)
        assert (found.difference, found.p_value) == (0, 1)
        assert found.interval[0] <= 0 <= found.interval[1]
    found = paired_difference(*table(0, 30, 0, 0))
    assert found.difference == 100
    assert 80 < found.interval[0] < found.interval[1] == 100


def test_it_covers_the_truth_about_19_times_in_20():
    random = np.random.default_rng(0)
    chances = np.array([0.10, 0.08, 0.05, 0.77])  # of both, only the first, only the second, neither
    covered = sum(
        ends[0] <= 3 <= ends[1]
        for counts in random.multinomial(600, chances, size=300)
        for ends in [paired_difference(*table(*counts)).interval]
    )
    assert 273 <= covered <= 297  # 285 expected, with a standard deviation of 4
