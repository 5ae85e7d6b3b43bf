"""Slow and obvious versions of what the C++ core does, in NumPy and OpenCV; and a writer of its file format."""

from __future__ import annotations

import struct

import cv2
import numpy as np

MAGIC = 0xCED7230A


def part(cflag: int, data: bytes) -> bytes:
    """One part of a record, padded to 4 bytes."""
    return struct.pack("<II", MAGIC, cflag << 29 | len(data)) + data + b"\0" * (-len(data) % 4)


def record(payload: bytes, label: float | list[float] = 0.0, identity: int = 0) -> bytes:
    """An image record without the magic inside it."""
    labels = label if isinstance(label, list) else []
    header = struct.pack("<IfQQ", len(labels), 0.0 if labels else label, identity, 0)
    return part(0, header + struct.pack(f"<{len(labels)}f", *labels) + payload)


def decode(payload: bytes) -> np.ndarray:
    """RGB, by OpenCV."""
    return cv2.imdecode(np.frombuffer(payload, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]


INTERPOLATIONS = {
    "nearest": cv2.INTER_NEAREST,
    "linear": cv2.INTER_LINEAR,
    "cubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
    "lanczos": cv2.INTER_LANCZOS4,
}


def resize_short(image: np.ndarray, shorter: int, interpolation: str = "linear") -> np.ndarray:
    height, width = image.shape[:2]
    size = (shorter, height * shorter // width) if width < height else (width * shorter // height, shorter)
    return cv2.resize(image, size, interpolation=INTERPOLATIONS[interpolation])


def evaluate(image: np.ndarray, resize: int, size: int, interpolation: str = "linear") -> np.ndarray:
    """The evaluation transform: (size, size, 3) uint8."""
    image = resize_short(image, resize, interpolation)
    top, left = (image.shape[0] - size) // 2, (image.shape[1] - size) // 2
    return image[top : top + size, left : left + size]


def cut(
    image: np.ndarray, geometry: dict, size: int, fill: tuple, interpolation: str = "linear"
) -> np.ndarray:
    """The (size, size, 3) uint8 image of a drawn geometry."""
    x, y, width, height = (geometry[name] for name in ("x", "y", "width", "height"))
    region = np.ascontiguousarray(image[y : y + height, x : x + width])
    if geometry["scaled"] != (width, height):
        region = cv2.resize(region, geometry["scaled"], interpolation=INTERPOLATIONS[interpolation])
    out = np.empty((size, size, 3), np.uint8)
    out[:] = fill
    for row in range(size):
        for column in range(size):
            from_y, from_x = row + geometry["crop_y"], column + geometry["crop_x"]
            if 0 <= from_y < region.shape[0] and 0 <= from_x < region.shape[1]:
                out[row, column] = region[from_y, from_x]
    return out[:, ::-1] if geometry["flip"] else out


def recolor(image: np.ndarray, color: dict) -> np.ndarray:
    """Brightness, contrast, saturation, PCA noise, one after the other: float64 (H, W, 3)."""
    luma = np.array([0.299, 0.587, 0.114])
    image = image.astype(np.float64) * color["brightness"]
    image = color["contrast"] * image + (1 - color["contrast"]) * (image @ luma).mean()
    gray = (image @ luma)[:, :, None]
    image = color["saturation"] * image + (1 - color["saturation"]) * gray
    return image + np.array(color["offset"])
