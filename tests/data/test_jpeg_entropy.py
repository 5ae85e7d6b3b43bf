"""Our entropy decoder for baseline JPEGs against libjpeg's: the same pixels, and the same errors."""

from __future__ import annotations

from typing import Union

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gluon_resnet.data import TrainTransform, _native
from gluon_resnet.errors import ImageError
from tests.support.pictures import SAMPLING_FACTORS, encode, picture, to_bytes


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A picture whose JPEG is large, as all that is small and unfamiliar goes to libjpeg."""
    random = np.random.default_rng([seed, height, width])
    smooth = picture(height, width, seed).astype(int)
    return np.clip(smooth + random.normal(0, 40, smooth.shape), 0, 255).astype(np.uint8)


def result(payload: bytes, libjpeg: bool) -> Union[np.ndarray, str]:
    try:
        return _native.decode(payload, libjpeg=libjpeg)
    except ImageError as error:
        return str(error)


def expect_equal(payload: bytes) -> Union[np.ndarray, str]:
    ours, theirs = result(payload, False), result(payload, True)
    assert isinstance(ours, str) == isinstance(theirs, str), (ours, theirs)
    np.testing.assert_array_equal(ours, theirs)
    return ours


@pytest.mark.parametrize("quality", [1, 30, 75, 95, 100])
@pytest.mark.parametrize("subsampling", SAMPLING_FACTORS)
@pytest.mark.parametrize("restart_interval", [0, 1, 7])
def test_every_kind_of_baseline_jpeg(quality: int, subsampling: str, restart_interval: int) -> None:
    payload = encode(
        noise(213, 331),
        ".jpg",
        cv2.IMWRITE_JPEG_QUALITY,
        quality,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        SAMPLING_FACTORS[subsampling],
        cv2.IMWRITE_JPEG_RST_INTERVAL,
        restart_interval,
        cv2.IMWRITE_JPEG_OPTIMIZE,
        quality % 2,
    )
    assert isinstance(expect_equal(payload), np.ndarray)


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGB"])
def test_one_three_and_four_components(mode: str) -> None:
    payload = to_bytes(Image.fromarray(noise(150, 170)).convert(mode), format="JPEG", quality=97)
    assert isinstance(expect_equal(payload), np.ndarray)


@settings(max_examples=100, deadline=None)
@given(
    size=st.tuples(st.integers(100, 200), st.integers(100, 200)),
    subsampling=st.sampled_from([*SAMPLING_FACTORS, "gray"]),
    restart_interval=st.integers(0, 3),
    transform=st.builds(
        TrainTransform, size=st.sampled_from([1, 8, 24]), area=st.sampled_from([(0.01, 0.1), (0.08, 1.0)])
    ),
    record=st.integers(0, 10**6),
)
def test_a_region_has_the_pixels_of_the_whole(
    size: tuple[int, int], subsampling: str, restart_interval: int, transform: TrainTransform, record: int
) -> None:
    image = noise(*size, seed=record % 7)
    options = [cv2.IMWRITE_JPEG_QUALITY, 96, cv2.IMWRITE_JPEG_RST_INTERVAL, restart_interval]
    if subsampling == "gray":
        image = image[:, :, 0]
    else:
        options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, SAMPLING_FACTORS[subsampling]]
    payload = encode(image, ".jpg", *options)
    whole = _native.decode(payload, libjpeg=True)
    np.testing.assert_array_equal(transform(payload, record=record), transform(whole, record=record))


BASELINE = encode(noise(120, 130), ".jpg", cv2.IMWRITE_JPEG_QUALITY, 90)
RESTARTING = encode(noise(120, 130), ".jpg", cv2.IMWRITE_JPEG_QUALITY, 90, cv2.IMWRITE_JPEG_RST_INTERVAL, 3)


@settings(max_examples=300, deadline=None)
@given(
    original=st.sampled_from([BASELINE, RESTARTING]),
    changes=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=4),
    kept=st.one_of(st.just(1.0), st.floats(0, 1)),
)
def test_damage_is_what_libjpeg_makes_of_it(
    original: bytes, changes: list[tuple[float, int]], kept: float
) -> None:
    payload = bytearray(original)
    for place, byte in changes:
        payload[int(place * len(payload))] = byte
    expect_equal(bytes(payload[: int(kept * len(payload))]))


@pytest.mark.parametrize("payload", [BASELINE, RESTARTING], ids=["baseline", "restarting"])
def test_a_cut_is_an_error_wherever_it_is(payload: bytes) -> None:
    start = payload.index(b"\xff\xda")
    for kept in [
        *range(start, start + 40),
        *range(start + 40, len(payload), 97),
        *range(len(payload) - 30, len(payload)),
    ]:
        assert isinstance(expect_equal(payload[:kept]), str), kept


def test_restart_markers_out_of_order_are_libjpegs() -> None:
    place = RESTARTING.index(b"\xff\xd1")
    swapped = RESTARTING[:place] + b"\xff\xd5" + RESTARTING[place + 2 :]
    expect_equal(swapped)
