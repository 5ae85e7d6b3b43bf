"""Decodes with OpenCV what the C++ decoder does not: BMP, TIFF, WebP, lossless JPEG and others, and alpha."""

from __future__ import annotations

from typing import Optional

import numpy as np


def decode_with_opencv(payload: bytes, color: str, alpha: bool) -> Optional[np.ndarray]:
    """Decode any format that opencv-python knows, as stored: the packer applies the EXIF orientation.

    Args:
        payload: the bytes of the encoded image.
        color: ``'rgb'``, ``'gray'``, or ``'source'`` for what the image has.
        alpha: whether to keep, with ``'source'``, an image's alpha channel.

    Returns:
        uint8 ``(H, W)`` gray, ``(H, W, 3)`` RGB or ``(H, W, 4)`` RGBA; None if OpenCV cannot decode the image.
        The upper 8 bits of 16-bit samples are kept.
    """
    import cv2  # few pictures need it, and importing it takes as long as packing a thousand pictures

    image: Optional[np.ndarray]
    encoded = np.frombuffer(payload, np.uint8)
    as_stored = cv2.IMREAD_IGNORE_ORIENTATION
    flag = {"rgb": cv2.IMREAD_COLOR, "gray": cv2.IMREAD_GRAYSCALE, "source": cv2.IMREAD_UNCHANGED}[color]
    image = cv2.imdecode(encoded, flag | as_stored)
    if image is None:  # it decodes a lossless JPEG only in the image's own colors
        image = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED)
        if image is not None and color == "gray" and image.ndim == 3:
            image = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        elif image is not None and color == "rgb" and image.ndim == 2:
            image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    if image is not None and image.dtype == np.uint16:
        image = np.right_shift(image, 8).astype(np.uint8)
    if image is not None and image.dtype != np.uint8:  # floating point: let OpenCV choose the range
        image = cv2.imdecode(encoded, cv2.IMREAD_ANYCOLOR | as_stored)
    if image is None or image.ndim == 2:
        return image
    if image.shape[2] == 4:
        return cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA if alpha else cv2.COLOR_BGRA2RGB)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
