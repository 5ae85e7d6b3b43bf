"""Transforms against the slow oracle, with the geometry and the colors that were drawn."""

from __future__ import annotations

import collections

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gluon_resnet.data import ColorJitter, EvalTransform, TrainTransform, decode
from gluon_resnet.errors import ImageError, UsageError
from tests.support import oracle
from tests.support.pictures import SAMPLING_FACTORS, encode, picture, to_bytes

# OpenCV 4.6's resize and the wheel's differ in rounding by at most this, on top of equal decoding.
RESIZE_TOLERANCE = 1

sizes = st.tuples(st.integers(8, 90), st.integers(8, 90))


@settings(max_examples=60, deadline=None)
@given(sizes, st.integers(16, 50), st.integers(0, 20), st.sampled_from(sorted(oracle.INTERPOLATIONS)))
def test_evaluation(size: tuple[int, int], crop: int, more: int, interpolation: str) -> None:
    image = picture(*size)
    transform = EvalTransform(resize=crop + more, size=crop, interpolation=interpolation)
    ours = transform(image, layout="NHWC")
    theirs = oracle.evaluate(image, crop + more, crop, interpolation)
    assert ours.dtype == np.float32
    assert np.abs(ours - theirs).max() <= RESIZE_TOLERANCE
    np.testing.assert_array_equal(transform(image), ours.transpose(2, 0, 1))


def test_evaluation_without_resizing_crops_or_enlarges() -> None:
    image = picture(40, 50)
    np.testing.assert_array_equal(EvalTransform(None, 32)(image, layout="NHWC"), image[4:36, 9:41])
    assert np.abs(EvalTransform(None, 48)(image, layout="NHWC") - oracle.evaluate(image, 48, 48)).max() <= 1


transforms = st.builds(
    TrainTransform,
    size=st.integers(16, 40),
    crop=st.sampled_from(["random-resized", "scale-jitter", "pad"]),
    scale=st.tuples(st.integers(40, 50), st.integers(50, 70)),
    padding=st.integers(20, 22),
    fill=st.tuples(*[st.integers(0, 255)] * 3),
    flip=st.booleans(),
    interpolation=st.sampled_from(sorted(oracle.INTERPOLATIONS)),
)


@settings(max_examples=150, deadline=None)
@given(transforms, sizes, st.integers(0, 2**64 - 1), st.integers(0, 99), st.integers(0, 10**6))
def test_geometry(
    transform: TrainTransform, size: tuple[int, int], seed: int, epoch: int, record: int
) -> None:
    image = picture(*size)
    geometry, _ = transform.native.draw(size[1], size[0], seed, epoch, record)
    theirs = oracle.cut(image, geometry, transform.size, transform.fill, transform.interpolation)
    ours = transform(image, seed=seed, epoch=epoch, record=record, layout="NHWC", dtype="uint8")
    assert np.abs(ours.astype(int) - theirs).max() <= RESIZE_TOLERANCE


@settings(max_examples=60, deadline=None)
@given(
    st.builds(ColorJitter, *[st.floats(0, 0.9)] * 3, st.floats(0, 0.5)),
    st.sampled_from([((0, 0, 0), (1, 1, 1)), ((123.7, 116.8, 103.9), (58.4, 57.1, 57.4))]),
    st.integers(0, 1000),
)
def test_colors_and_normalization(color: ColorJitter, normal: tuple, record: int) -> None:
    mean, std = normal
    transform = TrainTransform(size=24, crop="pad", padding=0, color=color, mean=mean, std=std)
    image = picture(30, 28)
    geometry, drawn = transform.native.draw(28, 30, 0, 0, record)
    cut = oracle.cut(image, geometry, 24, (0, 0, 0))
    theirs = (oracle.recolor(cut, drawn) - mean) / std
    np.testing.assert_allclose(transform(image, record=record, layout="NHWC"), theirs, rtol=1e-4, atol=2e-3)
    half = transform(image, record=record, layout="NHWC", dtype="float16")
    assert half.dtype == np.float16
    np.testing.assert_allclose(half, theirs, rtol=2e-3, atol=2e-3)


def test_uint8_is_rounded_and_clipped() -> None:
    color = ColorJitter(brightness=0.9, pca_noise=1.0)
    transform = TrainTransform(size=24, crop="pad", padding=0, color=color)
    image = picture(24, 24)
    exact = np.stack([transform(image, record=r) for r in range(40)])
    assert exact.min() < 0
    assert exact.max() > 255  # so that the clipping is seen
    rounded = np.stack([transform(image, record=r, dtype="uint8") for r in range(40)])
    np.testing.assert_array_equal(rounded, np.clip(np.rint(exact), 0, 255))


def draws(transform: TrainTransform, width: int, height: int, count: int = 4000) -> list[dict]:
    return [transform.native.draw(width, height, 1, 2, record)[0] for record in range(count)]


def test_scale_jitter_draws_as_the_paper_says() -> None:
    """§3.4: shorter side uniform in [256, 480], a 224 crop anywhere, flipped every second time."""
    drawn = draws(TrainTransform(crop="scale-jitter"), 500, 375, 20_000)
    shorter = collections.Counter(min(g["scaled"]) for g in drawn)
    assert set(shorter) == set(range(256, 481))
    assert max(shorter.values()) < 2 * 20_000 / 225
    assert all(g["scaled"][0] == 500 * g["scaled"][1] // 375 for g in drawn)
    assert all(0 <= g["crop_x"] <= g["scaled"][0] - 224 for g in drawn)
    assert all(0 <= g["crop_y"] <= g["scaled"][1] - 224 for g in drawn)
    assert {g["crop_y"] for g in drawn if g["scaled"][1] == 256} == set(range(33))
    assert 0.48 < sum(g["flip"] for g in drawn) / len(drawn) < 0.52


def test_pad_draws_every_corner_equally() -> None:
    """§4.2: 4 pixels on each side, a 32 crop."""
    drawn = draws(TrainTransform(size=32, crop="pad"), 32, 32, 16_200)
    corners = collections.Counter((g["crop_x"], g["crop_y"]) for g in drawn)
    assert set(corners) == {(x, y) for x in range(-4, 5) for y in range(-4, 5)}
    assert min(corners.values()) > 120  # of 200 expected
    assert max(corners.values()) < 290


@settings(max_examples=150, deadline=None)
@given(
    size=st.tuples(st.integers(1, 150), st.integers(1, 150)),
    subsampling=st.sampled_from(
        ["4:4:4", "4:2:2", "4:2:0", "4:1:1", "4:4:0", "gray", "cmyk", "turned", "png"]
    ),
    progressive=st.booleans(),
    transform=st.builds(
        TrainTransform,
        size=st.sampled_from([1, 8, 24]),
        crop=st.sampled_from(["random-resized", "scale-jitter"]),
        area=st.sampled_from([(0.01, 0.1), (0.08, 1.0)]),
        scale=st.sampled_from([(24, 40), (100, 150)]),
        interpolation=st.sampled_from(["linear", "cubic"]),
    ),
    record=st.integers(0, 10**6),
)
def test_decoding_a_region_changes_no_pixel(
    size: tuple[int, int], subsampling: str, progressive: bool, transform: TrainTransform, record: int
) -> None:
    """Only what a crop needs is decoded, and it is what decoding all gives, whatever the chroma."""
    image = picture(*size, seed=record % 7)
    pillow = Image.fromarray(image)
    if subsampling == "gray":
        payload = to_bytes(pillow.convert("L"), format="JPEG", progressive=progressive)
    elif subsampling == "cmyk":
        payload = to_bytes(pillow.convert("CMYK"), format="JPEG", progressive=progressive)
    elif subsampling == "turned":
        exif = Image.Exif()
        exif[0x0112] = 6
        payload = to_bytes(pillow, format="JPEG", progressive=progressive, exif=exif.tobytes())
    elif subsampling == "png":
        payload = to_bytes(pillow, format="PNG")
    else:
        options = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, SAMPLING_FACTORS[subsampling])
        payload = encode(image, ".jpg", *options, cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive))
    np.testing.assert_array_equal(
        transform(payload, record=record), transform(decode(payload), record=record)
    )


@pytest.mark.parametrize("scans", range(1, 10))
def test_a_region_of_an_unfinished_progressive_jpeg_is_smoothed_as_the_whole(scans: int) -> None:
    """Where a progressive file ends before its last scans, libjpeg smooths from block to block."""
    payload = encode(picture(96, 80), ".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    starts = [i for i in range(len(payload)) if payload[i : i + 2] == b"\xff\xda"]
    assert len(starts) == 10
    unfinished = payload[: payload.rindex(b"\xff\xc4", 0, starts[scans])] + b"\xff\xd9"
    for record in range(20):
        transform = TrainTransform(size=24, area=(0.01, 0.2))
        np.testing.assert_array_equal(
            transform(unfinished, record=record), transform(decode(unfinished), record=record)
        )


def torchvision_region(random: np.random.Generator, width: int, height: int) -> tuple[int, int]:
    """RandomResizedCrop's rule, but for its fall-back."""
    while True:
        area = width * height * random.uniform(0.08, 1)
        ratio = np.exp(random.uniform(np.log(3 / 4), np.log(4 / 3)))
        w, h = round(np.sqrt(area * ratio)), round(np.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            return w, h


def test_random_resized_draws_areas_and_ratios_as_torchvision_does() -> None:
    random = np.random.default_rng(0)
    theirs = np.array([torchvision_region(random, 640, 480) for _ in range(8000)])
    ours = np.array([(g["width"], g["height"]) for g in draws(TrainTransform(), 640, 480, 8000)])
    for values in (lambda r: r[:, 0] * r[:, 1] / (640 * 480), lambda r: np.log(r[:, 0] / r[:, 1])):
        quantiles = np.linspace(0, 1, 11)
        np.testing.assert_allclose(
            np.quantile(values(ours), quantiles), np.quantile(values(theirs), quantiles), atol=0.03
        )


def test_random_resized_falls_back_to_the_centre() -> None:
    """A strip has no region of an allowed ratio and area: torchvision's rule."""
    geometry, _ = TrainTransform(area=(0.9, 1.0)).native.draw(1000, 100, 0, 0, 0)
    assert (geometry["x"], geometry["y"], geometry["width"], geometry["height"]) == (433, 0, 133, 100)


def test_randomness_belongs_to_seed_epoch_and_record(photographs: list[bytes]) -> None:
    transform = TrainTransform(size=32)
    keys = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1)]
    images = [transform(photographs[0], seed=s, epoch=e, record=r).tobytes() for s, e, r in keys]
    assert len(set(images)) == len(keys)
    assert images[0] == transform(photographs[0]).tobytes()
    np.testing.assert_array_equal(transform(photographs[0]), transform(decode(photographs[0])))


def test_real_images_equal_the_oracle(imagenet_images: list[tuple[str, bytes]]) -> None:
    """All 691, by the evaluation and by a training transform: within 2 levels (decoding 1, resizing 1)."""
    train = TrainTransform(crop="scale-jitter")
    for record, (name, payload) in enumerate(imagenet_images):
        image = oracle.decode(payload)
        ours = EvalTransform()(payload, layout="NHWC")
        assert np.abs(ours - oracle.evaluate(image, 256, 224)).max() <= 2, name
        geometry, _ = train.native.draw(image.shape[1], image.shape[0], 0, 0, record)
        region = oracle.resize_short(image, min(geometry["scaled"]))
        x, y = geometry["crop_x"], geometry["crop_y"]
        theirs = region[y : y + 224, x : x + 224][:, :: -1 if geometry["flip"] else 1]
        assert np.abs(train(payload, record=record, layout="NHWC") - theirs).max() <= 2, name


def test_images_that_cannot_be_cut_are_named() -> None:
    small = encode(picture(10, 10))
    with pytest.raises(ImageError, match="10x10 pixels is too small"):
        TrainTransform(size=32, crop="pad")(small)
    strip = encode(np.zeros((1, 9000, 3), np.uint8), ".png")
    with pytest.raises(ImageError, match="9000x1 pixels would be scaled to"):
        EvalTransform()(strip)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: TrainTransform(crop="centre"), "crop: expected one of"),
        (lambda: TrainTransform(size=0), "size: expected a whole number of pixels, from 1 to 16384"),
        (lambda: TrainTransform(area=(0.5, 0.1)), "area"),
        (
            lambda: TrainTransform(crop="scale-jitter", scale=(200, 480)),
            r"from size \(224\) to 2147483647, found \(200, 480\)",
        ),
        (lambda: TrainTransform(interpolation="bilinear"), "interpolation: expected one of"),
        (lambda: TrainTransform(fill=(0, 0, 256)), "fill"),
        (lambda: TrainTransform(std=(1, 0, 1)), "std: expected three positive numbers"),
        (lambda: ColorJitter(contrast=1.5), "contrast: expected a number from 0 to 1, found 1.5"),
        (lambda: EvalTransform(resize=200), r"from size \(224\) to 2147483647, found 200"),
        (
            lambda: EvalTransform()(np.zeros((4, 4), np.uint8)),
            r"shape \(H, W, 3\) and dtype uint8, found \(4, 4\)",
        ),
        (lambda: EvalTransform()(np.zeros((4, 4, 3), np.float32)), "float32"),
        (lambda: EvalTransform()(b"", dtype="float64"), "dtype: expected one of .*, found 'float64'"),
        (lambda: EvalTransform()(b"", layout="HWC"), "layout: expected one of"),
    ],
)
def test_bad_options_are_usage_errors(make: object, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        make()  # type: ignore[operator]
