"""Decoding against OpenCV: equal for PNG, within 1 level for JPEG; and everything that is no image."""

from __future__ import annotations

import pathlib
import struct
import zlib
from typing import Optional

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gluon_resnet.data import EvalTransform, Loader, decode, image_size
from gluon_resnet.errors import ImageError, UsageError
from tests.support import oracle
from tests.support.lossless_jpeg import lossless_jpeg
from tests.support.pictures import encode, picture, tiff, to_bytes, write_records


def difference(payload: bytes) -> int:
    ours, theirs = decode(payload), oracle.decode(payload)
    assert ours.shape == theirs.shape
    assert ours.dtype == np.uint8
    return int(np.abs(ours.astype(int) - theirs).max())


def png_with_exif(image: np.ndarray, before: int = 0, after: tuple[int, ...] = (), damaged: int = 0) -> bytes:
    """A PNG with an eXIf chunk before its data, and some behind them of which the first `damaged` are that."""

    def chunk(orientation: int, wrong: int = 0) -> bytes:
        content = b"eXIf" + tiff(orientation)
        return struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content) ^ wrong)

    payload, header = encode(image, ".png"), 8 + 25
    behind = b"".join(chunk(value, wrong=i < damaged) for i, value in enumerate(after))
    return (
        payload[:header] + (chunk(before) if before else b"") + payload[header:-12] + behind + payload[-12:]
    )


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (7, 5), (64, 64), (131, 77)])
def test_jpeg(subsampling: str, progressive: bool, size: tuple[int, int]) -> None:
    image = Image.fromarray(picture(*size))
    payload = to_bytes(image, format="JPEG", quality=90, subsampling=subsampling, progressive=progressive)
    assert difference(payload) <= 1


def test_jpeg_gray_and_cmyk() -> None:
    image = Image.fromarray(picture(50, 41))
    assert difference(to_bytes(image.convert("L"), format="JPEG")) <= 1
    assert difference(to_bytes(image.convert("CMYK"), format="JPEG")) <= 1
    gray = decode(to_bytes(image.convert("L"), format="JPEG"), "source")
    assert gray.shape == (50, 41, 1)
    assert decode(to_bytes(image, format="JPEG"), "gray").shape == (50, 41, 1)


@pytest.mark.parametrize(
    ("chunks", "orientation"),
    [
        ({"after": (6,)}, 6),
        ({"before": 3, "after": (6,)}, 3),
        ({"after": (8, 3)}, 8),
        ({"after": (6,), "damaged": 1}, 1),
        ({"after": (3, 6), "damaged": 1}, 6),
    ],
)
def test_a_png_may_say_behind_its_pixels_how_it_is_turned(chunks: dict, orientation: int) -> None:
    image = picture(20, 33)
    payload = png_with_exif(image, **chunks)
    upright = oracle.decode(png_with_exif(image, before=orientation))
    np.testing.assert_array_equal(decode(payload), upright)
    assert image_size(payload) == upright.shape[1::-1]
    np.testing.assert_array_equal(oracle.decode(payload), upright)  # OpenCV, too


def test_a_lossless_jpeg_is_named_for_what_it_is() -> None:
    with pytest.raises(ImageError, match=r"found a format that is lossless JPEG; convert it.*im2rec\.py"):
        decode(lossless_jpeg(picture(20, 30)))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("extension", ["JPEG", "PNG"])
def test_exif_orientation(orientation: int, extension: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    payload = to_bytes(Image.fromarray(picture(20, 33)), format=extension, exif=exif.tobytes())
    assert difference(payload) <= (1 if extension == "JPEG" else 0)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_png(mode: str) -> None:
    image = Image.fromarray(picture(37, 29))
    if mode == "I;16":
        image = Image.fromarray((np.arange(37 * 29, dtype=np.uint16) * 61).reshape(37, 29))
    else:
        image = image.convert(mode)
    assert difference(to_bytes(image, format="PNG")) == 0


def test_png_with_transparency_16_bit_rgb_and_interlacing() -> None:
    palette = Image.fromarray(picture(16, 16)).convert("P")
    assert difference(to_bytes(palette, format="PNG", transparency=3)) == 0
    deep = (picture(16, 16).astype(np.uint16) << 8) + 77
    assert difference(encode(deep, ".png")) == 0
    assert difference(encode(np.dstack([deep, deep[:, :, 0]]), ".png")) == 0
    assert difference(interlaced_png(picture(13, 11))) == 0


def interlaced_png(image: np.ndarray) -> bytes:
    """Adam7, which neither Pillow nor OpenCV writes."""
    height, width = image.shape[:2]
    passes = [
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    ]
    rows = b"".join(
        b"\0" + image[y, x0::dx].tobytes()
        for x0, y0, dx, dy in passes
        for y in range(y0, height, dy)
        if x0 < width
    )

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 1)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def test_every_real_image(imagenet_images: list[tuple[str, bytes]]) -> None:
    worst = {name: difference(payload) for name, payload in imagenet_images}
    assert len(worst) == 691
    assert max(worst.values()) <= 1


@pytest.mark.parametrize("extension", [".jpg", ".png"])
def test_an_image_cut_short_is_an_error(extension: str) -> None:
    payload = encode(picture(64, 64), extension)
    for part in (0.1, 0.5, 0.9, 0.99):
        with pytest.raises(ImageError, match="bad (JPEG|PNG)"):
            decode(payload[: int(len(payload) * part)])


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_the_size_is_that_of_the_upright_image(form: str) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    for options in ({}, {"exif": turned}):
        payload = to_bytes(Image.fromarray(picture(300, 200)), format=form, **options)
        height, width, _ = decode(payload).shape
        assert image_size(payload) == (width, height)
    for broken in (b"", b"GIF89a", payload[:20]):
        with pytest.raises(ImageError):
            image_size(broken)


def test_a_progressive_jpeg_cut_short_is_an_error() -> None:
    payload = to_bytes(Image.fromarray(picture(64, 64)), format="JPEG", progressive=True)
    with pytest.raises(ImageError, match="bad JPEG"):
        decode(payload[: len(payload) // 2])


def test_a_progressive_jpeg_of_scans_without_end_is_refused() -> None:
    """Each costs a pass over all pixels, and 14 bytes."""
    payload = to_bytes(Image.new("L", (16, 16), 128), format="JPEG", progressive=True)
    last = payload[payload.rindex(b"\xff\xda") : -2]
    few, many = (payload[:-2] + last * count + payload[-2:] for count in (20, 70_000))
    assert (decode(few) == decode(payload)).all()
    with pytest.raises(ImageError, match="too many scans for its 16x16 pixels"):
        decode(many)


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (b"", "empty"),
        (b"GIF89a" + bytes(20), "GIF"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "WebP"),
        (b"\0\0\0\x1cftypavif\0\0\0\0", "AVIF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC"),
        (b"\0\0\0\x20ftypisom\0\0\0\0", "a video or another kind of MPEG-4 file"),
        (b"\xff\x0a\xfa\x1f", "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"\0\0\1\0\1\0\x10\x10", "ICO"),
        (b"<!DOCTYPE html>", "HTML"),
        (b"<any>", "3c 61 6e 79 3e"),
        (b"\xff\xd8\xff\xd9", "bad JPEG"),
        (b"\x89PNG\r\n\x1a\n", "bad PNG"),
    ],
)
def test_what_is_no_image_is_named(payload: bytes, words: str) -> None:
    with pytest.raises(ImageError, match=words):
        decode(payload)


def test_a_png_that_claims_a_huge_size_is_refused() -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    with pytest.raises(ImageError, match="60000x60000"):
        decode(
            b"\x89PNG\r\n\x1a\n"
            + chunk
            + struct.pack(">I", 0)
            + b"IDAT"
            + struct.pack(">I", zlib.crc32(b"IDAT"))
        )


@pytest.mark.parametrize(("marker", "words"), [(0xDB, "Quantization table"), (0xC4, None)])
def test_a_jpeg_without_tables_does_not_get_those_of_the_one_before(
    tmp_path: pathlib.Path, marker: int, words: Optional[str]
) -> None:
    """Without Huffman tables a JPEG has the standard ones, as the frames of a film."""
    before = encode(picture(48, 48), ".jpg", cv2.IMWRITE_JPEG_QUALITY, 20, cv2.IMWRITE_JPEG_OPTIMIZE, 1)
    whole = encode(picture(48, 48, 1))
    payload, at = whole[:2], 2
    while whole[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(whole[at + 2 : at + 4], "big")
        payload += b"" if whole[at + 1] == marker else whole[at:end]
        at = end
    path = write_records(tmp_path / "tables.rec", [before, payload + whole[at:]])
    batches = iter(Loader(path, 1, EvalTransform(None, 48), threads=1, dtype="uint8", layout="NHWC"))
    next(batches)
    if words:
        with pytest.raises(ImageError, match=words):
            next(batches)
    else:
        np.testing.assert_array_equal(next(batches).data[0], decode(whole))


def test_an_unknown_color_is_a_usage_error(photographs: list[bytes]) -> None:
    with pytest.raises(UsageError, match="'bgr'"):
        decode(photographs[0], "bgr")


@settings(max_examples=200, deadline=None)
@given(st.data(), st.sampled_from([".jpg", ".png"]))
def test_damaged_bytes_never_crash(data: st.DataObject, extension: str) -> None:
    payload = bytearray(encode(picture(24, 24), extension))
    for _ in range(data.draw(st.integers(1, 8))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    try:
        image = decode(bytes(payload))
    except ImageError:
        return
    assert image.ndim == 3


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"]))
def test_random_bytes_never_crash(payload: bytes, prefix: bytes) -> None:
    with pytest.raises(ImageError):
        decode(prefix + payload)
