"""Checks of arguments: each fails with one sentence that names the argument and says what is expected."""

from __future__ import annotations

import math
import numbers
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from gluon_resnet.errors import UsageError


def expect(holds: bool, name: str, expected: str, found: object) -> None:
    """Raise UsageError unless `holds` is true."""
    if not holds:
        shown = repr(found)
        raise UsageError(
            f"{name}: expected {expected}, found {shown if len(shown) <= 80 else shown[:77] + '...'}"
        )


def expect_whole_number(name: str, value: Any, least: int, most: int, what: str = "a whole number") -> None:
    """Raise UsageError unless `value` is a Python or NumPy integer from `least` to `most`; True and 2.0 are not."""
    expect(is_whole(value) and least <= value <= most, name, f"{what} from {least} to {most}", value)


def expect_choice(name: str, value: Any, choices: Collection[str]) -> None:
    """Raise UsageError unless `value` is one of `choices`."""
    expect(isinstance(value, str) and value in choices, name, f"one of {', '.join(choices)}", value)


def expect_flag(name: str, value: Any) -> None:
    """Raise UsageError unless `value` is True or False: the string 'no' would count as True."""
    expect(isinstance(value, (bool, np.bool_)), name, "True or False", value)


def is_whole(value: Any) -> bool:
    """Whether `value` is a Python or NumPy integer; True and False are not."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether `value` is a finite real number."""
    if not isinstance(value, numbers.Real) or isinstance(value, (bool, np.bool_)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an int that no float can hold
        return False


def are_numbers(values: Any, count: int) -> bool:
    """Whether `values` is a sequence of exactly `count` finite numbers."""
    listed = isinstance(values, (Sequence, np.ndarray)) and not isinstance(values, (str, bytes))
    return listed and len(values) == count and all(map(is_number, values))
