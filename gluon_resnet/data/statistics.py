"""The mean image of record files, and the mean and standard deviation of their channels."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Callable, Optional, Union

import cv2
import numpy as np

from gluon_resnet.data.loader import Batch, Loader
from gluon_resnet.data.records import RecordFile
from gluon_resnet.data.transforms import EvalTransform, Triple
from gluon_resnet.errors import DataError
from gluon_resnet.files import Path, whole_file
from gluon_resnet.npz import read_npz

_FIELDS = ("mean_image", "mean", "std", "images")
_COUNTABLE = 1 << 24  # cv2.calcHist counts in float32


@dataclass(frozen=True, eq=False)
class PixelStatistics:
    """Statistics of RGB pixels from 0 to 255, over all images of some record files after an `EvalTransform`.

    Attributes:
        mean_image: float32 (3, size, size), the image that He et al. 2015 subtract ("per-pixel mean", §3.4, §4.2).
        mean, std: the mean and standard deviation of each channel over all pixels of all images; `std` divides by their
            number.
        images: the number of images.
    """

    mean_image: np.ndarray
    mean: Triple
    std: Triple
    images: int

    def save(self, path: Path) -> None:
        """Write an .npz file with an array for each attribute."""
        with whole_file(path, "wb") as stream:
            np.savez(stream, **{name: getattr(self, name) for name in _FIELDS})

    @classmethod
    def load(cls, path: Path) -> PixelStatistics:
        """Read a file that `save` wrote; DataError, naming the path, for any other file."""
        path = os.fspath(path)
        mean_image, mean, std, images = read_npz(path, _FIELDS, "tools/mean.py").values()
        side = mean_image.shape[-1] if mean_image.ndim else 0
        shapes = (mean_image.shape, mean.shape, std.shape, images.shape)
        numbers = all(array.dtype.kind in "fiu" for array in (mean_image, mean, std, images))
        if shapes != ((3, side, side), (3,), (3,), ()) or not numbers:
            raise DataError(
                f"{path}: expected a mean image of shape (3, size, size) with 3 means and 3 standard "
                f"deviations, found shapes {', '.join(map(str, shapes))}",
                path=path,
            )
        if not (np.isfinite(mean_image).all() and np.isfinite(mean).all() and (std > 0).all()):
            raise DataError(
                f"{path}: expected finite values and positive standard deviations, found others", path=path
            )
        return cls(mean_image.astype(np.float32), _triple(mean), _triple(std), int(images))


def pixel_statistics(
    records: Union[Path, RecordFile, Sequence[Union[Path, RecordFile]]],
    transform: EvalTransform,
    threads: Optional[int] = None,
    follow: Callable[[Loader], Iterator[Batch]] = iter,
) -> PixelStatistics:
    """Statistics of all images of `records`, each transformed by `transform` (whose mean and std must be 0 and 1).

    Only whole numbers are summed, so the result does not depend on the number of threads.

    Args:
        threads: the number of the loader's threads; see `Loader`.
        follow: a function that yields the loader's batches, and may show progress.

    Raises:
        UsageError, OSError, RecordError, ImageError: as for `Loader`, for the first record that is broken.
    """
    side = transform.size
    rows = max(1, min(256, _COUNTABLE // side**2))
    loader = Loader(records, rows, transform, threads=threads, dtype="uint8", last_batch="keep")
    total = np.zeros(3 * side * side, np.int64)
    histogram = np.zeros((3, 256), np.int64)
    for batch in follow(loader):
        pixels = batch.data.reshape(len(batch), -1)
        total += cv2.reduce(pixels, 0, cv2.REDUCE_SUM, dtype=cv2.CV_32S)[0]
        for channel, plane in enumerate(np.split(pixels, 3, axis=1)):
            counts = cv2.calcHist([np.ascontiguousarray(plane)], [0], None, [256], [0, 256])  # type: ignore[list-item]
            histogram[channel] += counts[:, 0].astype(np.int64)
    levels = np.arange(256)
    places = loader.num_records * side**2
    mean = histogram @ levels / places
    variance = histogram @ levels**2 / places - mean**2
    mean_image = (total / loader.num_records).reshape(3, side, side).astype(np.float32)
    return PixelStatistics(
        mean_image, _triple(mean), _triple(np.sqrt(np.maximum(variance, 0))), loader.num_records
    )


def _triple(values: np.ndarray) -> Triple:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
