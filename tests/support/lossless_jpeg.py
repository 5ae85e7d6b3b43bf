"""An encoder of lossless JPEG (ITU-T T.81, H), which neither OpenCV nor Pillow offers."""

from __future__ import annotations

import struct

import numpy as np


def lossless_jpeg(image: np.ndarray, segments: bytes = b"") -> bytes:
    """An image of shape (H, W), or RGB of shape (H, W, 3), as a JPEG with SOF3; `segments` stand behind SOI."""
    planes = image[:, :, None] if image.ndim == 2 else image
    height, width, count = planes.shape
    names = b"\1" if count == 1 else b"RGB"
    frame = struct.pack(">BHHB", 8, height, width, count) + b"".join(bytes([name, 0x11, 0]) for name in names)
    table = bytes([0, 0, 0, 0, 9, *[0] * 12, *range(9)])  # nine codes of four bits: 0 to 8 bits follow
    scan = (
        bytes([count]) + b"".join(bytes([name, 0]) for name in names) + bytes([1, 0, 0])
    )  # the left neighbour

    before = np.full(planes.shape, 128)
    before[1:, 0] = planes[:-1, 0]
    before[:, 1:] = planes[:, :-1]
    bits = ""
    for difference in (planes.astype(int) - before).reshape(-1).tolist():
        size = abs(difference).bit_length()
        value = difference if difference >= 0 else difference + (1 << size) - 1
        bits += f"{size:04b}" + (f"{value:0{size}b}" if size else "")
    bits += "1" * (-len(bits) % 8)
    data = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")

    def segment(marker: int, content: bytes) -> bytes:
        return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content

    tables = segment(0xC3, frame) + segment(0xC4, table) + segment(0xDA, scan)
    return b"\xff\xd8" + segments + tables + data + b"\xff\xd9"
