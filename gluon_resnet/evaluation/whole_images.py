"""Whole images at several scales, read and resized by threads."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import cv2
import numpy as np

from gluon_resnet.data import RecordFile, decode
from gluon_resnet.errors import DataError, ImageError

SCALES = (224, 256, 384, 480, 640)  # shorter sides in pixels (He et al. 2015, §3.4)

# A strip of 1 x 100,000 pixels would outgrow memory. The longest of 691 pictures of ImageNet is 2.8 to 1.
_LONGEST = 16

INTERPOLATIONS = {
    "nearest": cv2.INTER_NEAREST,
    "linear": cv2.INTER_LINEAR,
    "cubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
    "lanczos": cv2.INTER_LANCZOS4,
}


class WholeImage(NamedTuple):
    """A record's label and its image at each scale."""

    label: float
    sizes: list[np.ndarray]  # RGB, uint8, (H, W, 3) each


def batches(
    files: Sequence[RecordFile], scales: Sequence[int], interpolation: str, batch_size: int, threads: int
) -> Generator[list[WholeImage], None, None]:
    """All records in order, `batch_size` at a time; one batch is prepared ahead of the consumer.

    Raises:
        DataError: a record cannot be read or decoded, or does not have a single label; with its file, key and offset.
    """
    places = [(file, position) for file in files for position in file.images]
    chunks = [places[begin : begin + batch_size] for begin in range(0, len(places), batch_size)]
    pool = ThreadPoolExecutor(threads)
    try:
        ahead = None
        for chunk in [*chunks, []]:
            made = [pool.submit(read, file, position, scales, interpolation) for file, position in chunk]
            if ahead is not None:
                yield [image.result() for image in ahead]
            ahead = made
    finally:
        pool.shutdown(cancel_futures=True)


def read(file: RecordFile, position: int, scales: Sequence[int], interpolation: str) -> WholeImage:
    """One record at all scales; raises the errors of `batches`."""
    record = file[position]
    key, offset = file.key(position), file.offset(position)
    where = f"{file.path}: record with key {key} at offset {offset}"
    try:
        image = decode(record.payload)
    except ImageError as error:
        raise ImageError(f"{where}: {error}", file.path, offset, key) from None
    height, width = image.shape[:2]
    if max(height, width) > _LONGEST * min(height, width):
        raise ImageError(
            f"{where}: one side of its {width}x{height} pixels is more than {_LONGEST} times the other, which would "
            "need too much memory at several scales",
            file.path,
            offset,
            key,
        )
    if record.header.label.size != 1:
        raise DataError(
            f"{where}: expected one label, found {record.header.label.size}", file.path, offset, key
        )
    return WholeImage(
        float(record.header.label[0]), [resized(image, scale, interpolation) for scale in scales]
    )


def resized(image: np.ndarray, shorter: int, interpolation: str) -> np.ndarray:
    """The image with a shorter side of `shorter` pixels, the other rounded down, as in EvalTransform."""
    height, width = image.shape[:2]
    size = (shorter, height * shorter // width) if width < height else (width * shorter // height, shorter)
    return (
        image
        if size == (width, height)
        else cv2.resize(image, size, interpolation=INTERPOLATIONS[interpolation])
    )
