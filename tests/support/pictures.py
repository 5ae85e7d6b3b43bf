"""Images and record files that tests make for themselves."""

from __future__ import annotations

import io
import pathlib
import struct

import cv2
import numpy as np
from PIL import Image

from tests.support import oracle

SAMPLING_FACTORS = {
    "4:4:4": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    "4:2:2": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
    "4:2:0": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    "4:1:1": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411,
    "4:4:0": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440,
}


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A smooth random RGB picture with some noise, so that a JPEG of it is like a photograph's."""
    random = np.random.default_rng([seed, height, width])
    coarse = random.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.int16)
    return np.clip(smooth + random.integers(-12, 13, smooth.shape), 0, 255).astype(np.uint8)


def encode(image: np.ndarray, extension: str = ".jpg", *options: int) -> bytes:
    """An RGB or gray image as a file's bytes, by OpenCV."""
    if image.ndim == 3 and image.shape[2] == 3:
        image = image[:, :, ::-1]
    elif image.ndim == 3 and image.shape[2] == 4:
        image = image[:, :, [2, 1, 0, 3]]
    done, data = cv2.imencode(extension, image, list(options))
    assert done
    return data.tobytes()


def to_bytes(image: Image.Image, **options: object) -> bytes:
    """An image as a file's bytes, by Pillow, which writes more kinds than OpenCV."""
    stream = io.BytesIO()
    image.save(stream, **options)
    return stream.getvalue()


def write_records(
    path: pathlib.Path, payloads: list[bytes], labels: list | None = None, index: bool = True
) -> str:
    """A .rec file and its .idx by the oracle's writer."""
    labels = list(range(len(payloads))) if labels is None else labels
    offset, lines = 0, []
    with open(path, "wb") as file:
        for key, (payload, label) in enumerate(zip(payloads, labels)):
            data = oracle.record(payload, label if isinstance(label, list) else float(label), key)
            file.write(data)
            lines.append(f"{key}\t{offset}\n")
            offset += len(data)
    if index:
        path.with_suffix(".idx").write_text("".join(lines))
    return str(path)


def tiff(orientation: int) -> bytes:
    """EXIF data that say nothing else."""
    return b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
