"""Descriptions of what happens to an image on its way to the network; the C++ core does the work."""

from __future__ import annotations

import dataclasses
import functools
from typing import Optional, Union

import numpy as np

from gluon_resnet.data import _native
from gluon_resnet.data.arguments import (
    are_numbers,
    expect,
    expect_choice,
    expect_flag,
    expect_whole_number,
    is_number,
    is_whole,
)

_MOST_PIXELS = (1 << 31) - 1  # per side, the most that the C++ core counts to

Triple = tuple[float, float, float]


def decode(payload: bytes, color: str = "rgb") -> np.ndarray:
    """Decode a JPEG or PNG, turned upright by its EXIF orientation.

    Args:
        payload: the bytes of the file.
        color: ``'rgb'``, ``'gray'``, or ``'source'``: gray for a gray image and RGB for any other.

    Returns:
        uint8 ``(H, W, 3)``, or ``(H, W, 1)`` for gray. The pixels are those of ``cv2.imdecode`` (in RGB order): equal
        for PNG, and within 1 level for JPEG.

    Raises:
        ImageError: the image is broken or truncated, or has another format.
    """
    return _native.decode(payload, color)


def image_size(payload: bytes) -> tuple[int, int]:
    """Width and height in pixels of a JPEG or PNG, turned upright; no pixel is decoded.

    ImageError if the header is broken, has another format, or claims more than 2^28 pixels.
    """
    return _native.image_size(payload)


@dataclasses.dataclass(frozen=True)
class ColorJitter:
    """Random changes of color, applied in this order; all 0 by default, which changes nothing.

    Attributes:
        brightness: a factor from [1 - brightness, 1 + brightness].
        contrast: a factor for the distance from the image's mean gray, from [1 - contrast, 1 + contrast].
        saturation: a factor for the distance from the pixel's gray, from [1 - saturation, 1 + saturation].
        pca_noise: standard deviation of the noise along the principal components of ImageNet's colors; 0.1 in
            AlexNet (Krizhevsky et al. 2012, §4.1), whose "standard color augmentation" He et al. 2015, §3.4 use.
    """

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    pca_noise: float = 0.0

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name == "pca_noise":
                expect(is_number(value) and value >= 0, field.name, "a number of at least 0", value)
            else:
                expect(is_number(value) and 0 <= value <= 1, field.name, "a number from 0 to 1", value)


class _Transform:
    """A transform that can be called on one image; `Loader` applies the same object to many."""

    def native_fields(self) -> dict[str, object]:
        raise NotImplementedError

    @functools.cached_property
    def native(self) -> _native.NativePlan:
        return _native.NativePlan({**_DEFAULTS, **self.native_fields()})

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if name != "native"}

    def __call__(
        self,
        image: Union[bytes, np.ndarray],
        *,
        dtype: str = "float32",
        layout: str = "NCHW",
        seed: int = 0,
        epoch: int = 0,
        record: int = 0,
    ) -> np.ndarray:
        """Transform one image, given as encoded bytes or as RGB uint8 ``(H, W, 3)``.

        `seed`, `epoch` and `record` (its position in the loader's files) determine the random numbers: the result is
        what a `Loader` with that `seed` makes of that record.

        Args:
            dtype: ``'float32'``, ``'float16'`` or ``'uint8'``, rounded and clipped to 0 to 255.
            layout: ``'NCHW'`` or ``'NHWC'``.

        Returns:
            RGB in `dtype`, ``(3, size, size)`` for NCHW or ``(size, size, 3)`` for NHWC.

        Raises:
            ImageError: a part of the image that is needed is broken, or the image is too small for the crop ``'pad'``.
            UsageError: an argument is not one of the above.
        """
        expect_choice("dtype", dtype, _native.DTYPES)
        expect_choice("layout", layout, _native.LAYOUTS)
        for name, value in (("seed", seed), ("epoch", epoch), ("record", record)):
            expect_whole_number(name, value, 0, (1 << 64) - 1)
        return self.native.transform(image, dtype, layout, seed, epoch, record)


@dataclasses.dataclass(frozen=True)
class EvalTransform(_Transform):
    """The evaluation transform: scale the shorter side, then cut out the centre (He et al. 2015, §3.4, 1-crop).

    Attributes:
        resize: the length of the shorter side, in pixels, before the crop. None keeps the image's size, except that
            images with a side shorter than `size` are enlarged.
        size: the side of the square output, in pixels.
        interpolation: OpenCV's ``'nearest'``, ``'linear'``, ``'cubic'``, ``'area'`` or ``'lanczos'``.
        mean, std: RGB values on the scale of 0 to 255; the output is (value - mean) / std.

    Raises:
        UsageError: an attribute is out of range.
    """

    resize: Optional[int] = 256
    size: int = 224
    interpolation: str = "linear"
    mean: Triple = (0.0, 0.0, 0.0)
    std: Triple = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        _expect_common(self)
        fits = self.resize is None or (is_whole(self.resize) and self.size <= self.resize <= _MOST_PIXELS)
        expected = f"None, or a whole number of pixels from size ({self.size}) to {_MOST_PIXELS}"
        expect(fits, "resize", expected, self.resize)

    def native_fields(self) -> dict[str, object]:
        return {**vars_of(self), "crop": "center", "resize": self.resize or 0}


@dataclasses.dataclass(frozen=True)
class TrainTransform(_Transform):
    """The training transforms: a random crop, a random flip, random colors.

    Attributes:
        size: the side of the square output, in pixels.
        crop: the kind of crop. ``'random-resized'``: a region of random `area` and aspect `ratio`, scaled to the output
            (GoogLeNet's, the usual one today). ``'scale-jitter'``: the shorter side is drawn from `scale`, both ends
            included, and a square is cut out at a random place (He et al. 2015, §3.4). ``'pad'``: `padding` pixels of
            `fill` are added on each side, then a square is cut out at a random place, unscaled (§4.2).
        area: the smallest and the largest area of the region, as a fraction of the image's.
        ratio: the smallest and the largest width/height of the region.
        scale: the smallest and the largest shorter side, in pixels.
        padding: the width of the padding, in pixels.
        fill: the RGB levels of the padding. The mean color becomes zero after normalization, as in the paper.
        flip: whether to mirror the image left to right with probability 1/2.
        color: random colors, or None.
        interpolation, mean, std: as in `EvalTransform`.

    Raises:
        UsageError: an attribute is out of range.
    """

    size: int = 224
    crop: str = "random-resized"
    area: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    scale: tuple[int, int] = (256, 480)
    padding: int = 4
    fill: tuple[int, int, int] = (0, 0, 0)
    flip: bool = True
    color: Optional[ColorJitter] = None
    interpolation: str = "linear"
    mean: Triple = (0.0, 0.0, 0.0)
    std: Triple = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        _expect_common(self)
        expect_choice("crop", self.crop, ("random-resized", "scale-jitter", "pad"))
        growing = are_numbers(self.area, 2) and 0 < self.area[0] <= self.area[1] <= 1
        expect(growing, "area", "two ascending numbers in (0, 1]", self.area)
        growing = are_numbers(self.ratio, 2) and 0 < self.ratio[0] <= self.ratio[1]
        expect(growing, "ratio", "two ascending positive numbers", self.ratio)
        whole = are_numbers(self.scale, 2) and all(map(is_whole, self.scale))
        fits = whole and (
            self.crop != "scale-jitter" or self.size <= self.scale[0] <= self.scale[1] <= _MOST_PIXELS
        )
        expected = f"two ascending whole numbers of pixels from size ({self.size}) to {_MOST_PIXELS}"
        expect(fits, "scale", expected, self.scale)
        expect_whole_number("padding", self.padding, 0, 1 << 15)
        levels = are_numbers(self.fill, 3) and all(is_whole(v) and 0 <= v <= 255 for v in self.fill)
        expect(levels, "fill", "three levels (R, G, B), whole numbers from 0 to 255", self.fill)
        expect_flag("flip", self.flip)
        jitter = self.color is None or isinstance(self.color, ColorJitter)
        expect(jitter, "color", "None or a ColorJitter, such as ColorJitter(0.4, 0.4, 0.4)", self.color)

    def native_fields(self) -> dict[str, object]:
        fields = vars_of(self)
        color = fields.pop("color") or ColorJitter()
        return {**fields, **vars_of(color)}


Transform = Union[EvalTransform, TrainTransform]

# Fields of the C++ struct that only one of the two kinds of transform uses.
_DEFAULTS = {
    "resize": 0,
    "padding": 0,
    "fill": (0, 0, 0),
    "area": (1.0, 1.0),
    "ratio": (1.0, 1.0),
    "scale": (0, 0),
    "flip": False,
    "brightness": 0.0,
    "contrast": 0.0,
    "saturation": 0.0,
    "pca_noise": 0.0,
}


def vars_of(options: object) -> dict[str, object]:
    return {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}  # type: ignore[arg-type]


def _expect_common(transform: Transform) -> None:
    expect_whole_number("size", transform.size, 1, 1 << 14, "a whole number of pixels,")
    expect_choice("interpolation", transform.interpolation, tuple(_native.INTERPOLATIONS))
    expect(are_numbers(transform.mean, 3), "mean", "three numbers (R, G, B)", transform.mean)
    positive = are_numbers(transform.std, 3) and all(v > 0 for v in transform.std)
    expect(positive, "std", "three positive numbers (R, G, B)", transform.std)
