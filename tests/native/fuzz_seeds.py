"""Make the fuzzers' first inputs: small images of every kind, and record files, whole and damaged.

python tests/native/fuzz_seeds.py FOLDER     writes FOLDER/image/* and FOLDER/record/*
"""

from __future__ import annotations

import io
import pathlib
import struct
import sys
import zlib

import cv2
import numpy as np
from PIL import Image

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))
from tests.support import oracle

# (x, y) of the first pixel and the steps of each pass of an interlaced PNG
ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def picture(height: int, width: int, channels: int = 3) -> np.ndarray:
    """Smooth, with an edge and some noise, so that coefficients of all sizes occur."""
    random = np.random.default_rng([height, width, channels])
    y, x = np.mgrid[:height, :width]
    planes = [(x * (5 + c) + y * (9 - 2 * c) + 90 * (x > y)) % 256 for c in range(channels)]
    noisy = np.stack(planes, axis=2) + random.integers(-9, 10, (height, width, channels))
    return np.clip(noisy, 0, 255).astype(np.uint8).squeeze()


def by_pillow(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def by_opencv(image: np.ndarray, extension: str = ".jpg", *options: int) -> bytes:
    done, data = cv2.imencode(extension, image, list(options))
    assert done
    return data.tobytes()


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


def jpegs() -> dict[str, bytes]:
    files = {}
    for height, width in ((8, 8), (1, 1), (33, 47), (64, 17)):
        for name in ("411", "420", "422", "440", "444"):
            sampling = getattr(cv2, f"IMWRITE_JPEG_SAMPLING_FACTOR_{name}")
            for progressive in (0, 1):
                for restart in (0, 2):
                    files[f"{name}-{height}x{width}-p{progressive}-r{restart}.jpg"] = by_opencv(
                        picture(height, width),
                        ".jpg",
                        *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling),
                        *(cv2.IMWRITE_JPEG_PROGRESSIVE, progressive),
                        *(cv2.IMWRITE_JPEG_RST_INTERVAL, restart),
                        *(cv2.IMWRITE_JPEG_QUALITY, 60 if restart else 98),
                    )
    rgb = Image.fromarray(picture(24, 40))
    gray = Image.fromarray(picture(24, 40, 1))
    cmyk = Image.frombytes("CMYK", (40, 24), picture(24, 40, 4).tobytes())
    for progressive in (False, True):
        options = {"quality": 85, "progressive": progressive}
        files[f"gray-{progressive}.jpg"] = by_pillow(gray, **options)
        files[f"gray-restart-{progressive}.jpg"] = by_pillow(gray, restart_marker_blocks=3, **options)
        files[f"rgb-{progressive}.jpg"] = by_pillow(rgb, keep_rgb=True, **options)
        files[f"optimized-{progressive}.jpg"] = by_pillow(rgb, optimize=True, **options)
        data = by_pillow(cmyk, **options)
        files[f"cmyk-{progressive}.jpg"] = data
        adobe = data.index(b"Adobe") + 11
        files[f"ycck-{progressive}.jpg"] = data[:adobe] + b"\2" + data[adobe + 1 :]
    for orientation in range(10):
        files[f"exif-{orientation}.jpg"] = by_pillow(rgb, exif=exif(orientation))
    files["no-eoi.jpg"] = files["420-33x47-p0-r0.jpg"][:-2]
    files["two-images.jpg"] = files["gray-False.jpg"] * 2
    return files


def png(array: np.ndarray, depth: int, color: int, interlaced: bool) -> bytes:
    """A PNG of (height, width, channels) samples below 2**depth; OpenCV and Pillow cannot write all kinds."""
    height, width, _ = array.shape
    rows = b""
    for x, y, dx, dy in ADAM7 if interlaced else [(0, 0, 1, 1)]:
        for row in array[y::dy, x::dx].reshape(-1, array[y::dy, x::dx].shape[1] * array.shape[2]):
            bits = "".join(f"{value:0{depth}b}" for value in row)
            bits += "0" * (-len(bits) % 8)
            if bits:
                rows += b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big")

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    palette = chunk(b"PLTE", bytes(range(3 << depth))) if color == 3 else b""
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlaced)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [chunk(b"IHDR", header), palette, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    )


def pngs() -> dict[str, bytes]:
    files = {}
    depths = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4), 4: (8, 16), 6: (8, 16)}
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
    random = np.random.default_rng(0)
    for color in depths:
        for depth in depths[color]:
            for interlaced in (False, True):
                array = random.integers(0, 1 << depth, (9, 11, channels[color]))
                files[f"{color}-{depth}-{interlaced}.png"] = png(array, depth, color, interlaced)
    rgb = Image.fromarray(picture(24, 40))
    files["palette.png"] = by_pillow(rgb.quantize(200), "PNG")
    files["transparent-color.png"] = by_pillow(rgb, "PNG", transparency=(0, 0, 0))
    files["transparent-palette.png"] = by_pillow(rgb.quantize(9), "PNG", transparency=b"\0\7\xff")
    for orientation in (0, 2, 3, 6, 8):
        files[f"exif-{orientation}.png"] = by_pillow(rgb, "PNG", exif=exif(orientation))
    return files


def images() -> dict[str, bytes]:
    files = {**jpegs(), **pngs()}
    for name in ("420-33x47-p0-r0.jpg", "420-33x47-p1-r0.jpg", "444-64x17-p0-r2.jpg", "2-8-False.png"):
        for part in (0.3, 0.7, 0.95):
            files[f"cut-{part}-{name}"] = files[name][: int(part * len(files[name]))]
    files["format.gif"] = by_pillow(Image.fromarray(picture(9, 9)), "GIF")
    files["format.bmp"] = by_pillow(Image.fromarray(picture(9, 9)), "BMP")
    return files


def records() -> dict[str, bytes]:
    """The index's text, a zero byte, the record file."""
    magic = struct.pack("<I", oracle.MAGIC)
    header = struct.pack("<IfQQ", 0, 1.0, 7, 8)
    simple = [oracle.record(bytes(range(n)), float(n), 10 + n) for n in (0, 5, 40)]
    labels = oracle.record(b"payload", [1.0, 2.0, 3.0], 4)
    halves = oracle.part(1, header) + oracle.part(3, b"the rest")
    thirds = oracle.part(1, header) + oracle.part(2, b"") + oracle.part(3, b"0123456789")
    cut_in_header = oracle.part(1, header[:8]) + oracle.part(3, header[12:])
    bodies = {
        "simple": simple,
        "labels": [labels],
        "parts": [halves, thirds, simple[1]],
        "cut-in-header": [cut_in_header],
        "same-ids": [simple[1], simple[1], labels],
        "too-few-labels": [oracle.part(0, struct.pack("<IfQQ", 9, 0.0, 0, 0))],
        "no-header": [oracle.part(0, b"abc"), simple[0]],
        "no-end": [oracle.part(1, header), simple[2]],
        "no-start": [oracle.part(2, header)],
        "garbage": [b"not a record file"],
        "magic-only": [magic],
        "huge": [magic + struct.pack("<I", (1 << 29) - 1) + bytes(64)],
    }
    files = {}
    for name, parts in bodies.items():
        body = b"".join(parts)
        offsets = [sum(map(len, parts[:i])) for i in range(len(parts))]
        for kind, lines in {
            "scan": [],
            "index": [f"{i}\t{offset}\n" for i, offset in enumerate(offsets)],
            "backwards": [f"{9 - i}\t{offset}\r\n" for i, offset in reversed(list(enumerate(offsets)))],
            "inside": [f"{i}\t{offset + 4}\n" for i, offset in enumerate(offsets)],
            "negative": [f"-{i}\t{offset}" for i, offset in enumerate(offsets)],
        }.items():
            files[f"{name}-{kind}"] = "".join(lines).encode() + b"\0" + body
        files[f"{name}-cut"] = b"\0" + body[: len(body) - 3]
    return files


def main() -> None:
    for target, files in (("image", images()), ("record", records())):
        folder = pathlib.Path(sys.argv[1], target)
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            (folder / name).write_bytes(data)


if __name__ == "__main__":
    main()
