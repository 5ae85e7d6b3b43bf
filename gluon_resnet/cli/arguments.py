"""Types of command-line arguments that several commands take."""

from __future__ import annotations

import argparse
import sys
from typing import Any, Callable, Optional, Union

MAX_SIDE = 1 << 14  # the largest side of a crop, in pixels
_FLOAT_MAX = sys.float_info.max


def one_spelling(action: argparse.Action) -> None:
    """Show an option only by its first spelling; the others, from earlier versions, are still accepted."""
    action.option_strings = action.option_strings[:1]


def number(kind: Callable[[str], Any], low: float, high: float = float("inf")) -> Callable[[str], Any]:
    """An argparse type: a finite number from `low` to `high`."""

    def parse(text: str) -> Any:
        value = kind(text)
        if not low <= value <= high or value == float("inf"):
            limits = f"at least {low}" if high == float("inf") else f"from {low} to {high}"
            limits = "a finite number" if value == float("inf") else limits
            raise argparse.ArgumentTypeError(f"expected {limits}, found {text}")
        return value

    parse.__name__ = "number"  # argparse: "invalid number value"
    return parse


def numbers(
    kind: Callable[[str], Any], count: Optional[int] = None, low: float = 0.0
) -> Callable[[str], tuple[Any, ...]]:
    """An argparse type: finite numbers from `low` up, separated by commas; exactly `count` of them if given."""

    def parse(text: str) -> tuple[Any, ...]:
        values = tuple(kind(part) for part in text.split(",") if part.strip())
        if not all(low <= value < float("inf") for value in values) or count not in (None, len(values)):
            limits = "finite numbers" if low < 0 else "finite numbers of at least 0"
            raise argparse.ArgumentTypeError(
                f"expected {count or 'some'} {limits} like 1,2,3, found {text!r}"
            )
        return values

    parse.__name__ = "list of numbers"
    return parse


def colors(text: str) -> tuple[float, float, float]:
    """An argparse type: a number for each of red, green and blue, of any sign."""
    red, green, blue = numbers(float, 3, -_FLOAT_MAX)(text)
    return red, green, blue


colors.__name__ = "list of numbers"


def epoch(text: str) -> Union[int, str]:
    """An argparse type: the N of PREFIX-NNNN.params, or the word best (see models.saved.chosen_epoch)."""
    return text if text == "best" else int(number(int, 0)(text))


def gpu_ids(text: str) -> tuple[int, ...]:
    """An argparse type: different numbers of GPUs, separated by commas."""
    ids = numbers(int)(text)
    if not ids or len(set(ids)) != len(ids):
        raise argparse.ArgumentTypeError(f"expected different numbers like 0,1, found {text!r}")
    return ids


def shorter_sides(text: str) -> tuple[int, ...]:
    """An argparse type: different shorter sides of images, in pixels, separated by commas."""
    values = numbers(int)(text)
    if not values or min(values) < 1 or len(set(values)) != len(values):
        raise argparse.ArgumentTypeError(f"expected different numbers like 224,256, found {text!r}")
    return values


def image_size(text: str) -> int:
    """An argparse type: the side of a square crop, written as the shape 3,N,N (or as N, as in earlier versions)."""
    sizes = numbers(int)(text)
    channels, height, width = (3, *sizes * 2) if len(sizes) == 1 else numbers(int, 3)(text)
    if channels != 3 or height != width or not 1 <= height <= MAX_SIDE:
        raise argparse.ArgumentTypeError(
            f"expected 3,N,N with N from 1 to {MAX_SIDE}, found {text!r}: crops are square and RGB"
        )
    return height
