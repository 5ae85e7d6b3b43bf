"""Decoding of what the C++ decoder leaves out, by OpenCV: BMP, TIFF, WebP, lossless JPEG and others, and alpha."""

from __future__ import annotations

from typing import Optional

import numpy as np


def decode_with_opencv(payload: bytes, colour: str, alpha: bool) -> Optional[np.ndarray]:
    """Decode any format that opencv-python knows, as it is stored: the packer turns it by its EXIF orientation.

    Args:
        payload: the encoded image.
        colour: ``'rgb'``, ``'gray'``, or ``'source'`` for what the image has.
        alpha: with ``'source'``, keep the alpha channel of an image that has one.

    Returns:
        uint8 ``(H, W)`` gray, ``(H, W, 3)`` RGB or ``(H, W, 4)`` RGBA; None where OpenCV cannot decode it.
        Of 16-bit samples the upper 8 are kept.
    """
    import cv2  # only few pictures need it, and its import takes as long as packing a thousand

    image: Optional[np.ndarray]
    encoded = np.frombuffer(payload, np.uint8)
    as_stored = cv2.IMREAD_IGNORE_ORIENTATION
    flag = {"rgb": cv2.IMREAD_COLOR, "gray": cv2.IMREAD_GRAYSCALE, "source": cv2.IMREAD_UNCHANGED}[colour]
    image = cv2.imdecode(encoded, flag | as_stored)
    if image is None:  # it gives a lossless JPEG only in its own colours
        image = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED)
        if image is not None and colour == "gray" and image.ndim == 3:
            image = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        elif image is not None and colour == "rgb" and image.ndim == 2:
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
