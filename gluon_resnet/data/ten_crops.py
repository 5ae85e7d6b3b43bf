"""The ten crops of an image, made by slicing alone, so that they work on any library's arrays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def ten_crops(squares: Any, size: int) -> Iterator[Any]:
    """The corners and the centre of square images, each followed by its mirror image (Krizhevsky et al. 2012, §4.1).

    Args:
        squares: an array (..., H, W) with sides of at least `size` pixels.

    Yields:
        Ten arrays (..., size, size).
    """
    spare = squares.shape[-1] - size
    for top, left in ((0, 0), (0, spare), (spare, 0), (spare, spare), (spare // 2, spare // 2)):
        crop = squares[..., top : top + size, left : left + size]
        yield crop
        yield crop[..., ::-1]
