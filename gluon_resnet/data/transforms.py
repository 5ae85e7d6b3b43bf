"""What becomes of an image on its way to the network, as plain values; the C++ core does the work."""

from __future__ import annotations

import dataclasses
import functools
from typing import Optional, Union

import numpy as np

from gluon_resnet.data import _native
from gluon_resnet.errors import UsageError

Triple = tuple[float, float, float]


def decode(payload: bytes, colour: str = "rgb") -> np.ndarray:
    """Decode a JPEG or PNG, turned upright by its EXIF orientation.

    Args:
        payload: the bytes of the file.
        colour: ``'rgb'``, ``'gray'``, or ``'source'``: gray for a gray image and RGB for any other.

    Returns:
        uint8 ``(H, W, 3)``, or ``(H, W, 1)`` for gray. What ``cv2.imdecode`` gives (there as BGR): equal for PNG,
        within 1 level for JPEG.

    Raises:
        ImageError: the image is broken, cut short, or of another format.
    """
    return _native.decode(payload, colour)


def image_size(payload: bytes) -> tuple[int, int]:
    """Width and height in pixels of a JPEG or PNG, upright; no pixel is decoded.

    ImageError where the header is broken, of another format, or claims more than 2^28 pixels.
    """
    return _native.image_size(payload)


@dataclasses.dataclass(frozen=True)
class ColourJitter:
    """Random changes of colour, applied in this order; all 0 by default, which changes nothing.

    Attributes:
        brightness: a factor from [1 - brightness, 1 + brightness].
        contrast: a factor for the distance from the image's mean gray, from [1 - contrast, 1 + contrast].
        saturation: a factor for the distance from the pixel's gray, from [1 - saturation, 1 + saturation].
        pca_noise: standard deviation of the noise along the principal components of ImageNet's colours; 0.1 in
            AlexNet (Krizhevsky et al. 2012, §4.1), whose "standard color augmentation" He et al. 2015, §3.4 use.
    """

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    pca_noise: float = 0.0

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            most = float("inf") if field.name == "pca_noise" else 1
            _expect(0 <= value <= most, field.name, f"from 0 to {most}", value)


class _Transform:
    """Callable on one image; `Loader` takes the same object for many."""

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

        `seed`, `epoch` and `record` (its position in the loader's files) choose the random numbers: the result is
        what a `Loader` with that `seed` gives for that record.

        Args:
            dtype: ``'float32'``, ``'float16'`` or ``'uint8'``, which is rounded and clipped to 0 to 255.
            layout: ``'NCHW'`` or ``'NHWC'``.

        Returns:
            RGB in `dtype`, ``(3, size, size)`` for NCHW or ``(size, size, 3)`` for NHWC.

        Raises:
            ImageError: the image is broken where it is needed, or, for the crop ``'pad'``, too small.
            UsageError: an argument is none of the above.
        """
        _expect(dtype in _native.DTYPES, "dtype", f"one of {tuple(_native.DTYPES)}", dtype)
        _expect(layout in _native.LAYOUTS, "layout", f"one of {tuple(_native.LAYOUTS)}", layout)
        return self.native.transform(image, dtype, layout, seed, epoch, record)


@dataclasses.dataclass(frozen=True)
class EvalTransform(_Transform):
    """The evaluation transform: scale the shorter side, cut out the centre (He et al. 2015, §3.4, 1-crop).

    Attributes:
        resize: the shorter side in pixels before the crop. None keeps the image's size, but for images with a side
            shorter than `size`, which are enlarged.
        size: of the square output in pixels.
        interpolation: ``'nearest'``, ``'linear'``, ``'cubic'``, ``'area'`` or ``'lanczos'``, as OpenCV has them.
        mean, std: RGB, in levels of 0 to 255: the output is (value - mean) / std.

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
        if self.resize is not None:
            _expect(self.resize >= self.size, "resize", f"None or at least size ({self.size})", self.resize)

    def native_fields(self) -> dict[str, object]:
        return {**vars_of(self), "crop": "center", "resize": self.resize or 0}


@dataclasses.dataclass(frozen=True)
class TrainTransform(_Transform):
    """The training transforms: a random crop, a random flip, random colours.

    Attributes:
        size: of the square output in pixels.
        crop: ``'random-resized'``: a region of random `area` and aspect `ratio`, scaled to the output (GoogLeNet's, the
            common one today). ``'scale-jitter'``: the shorter side is drawn from `scale`, both ends included, and a
            square is cut out anywhere (He et al. 2015, §3.4). ``'pad'``: `padding` pixels of `fill` on each side,
            then a square is cut out anywhere, unscaled (§4.2).
        area: the least and the greatest area of the region, as a part of the image's.
        ratio: the least and the greatest width/height of the region.
        scale: the least and the greatest shorter side, in pixels.
        padding: in pixels.
        fill: RGB levels of the padding. The mean colour makes it zero after normalization, as in the paper.
        flip: exchange left and right with probability 1/2.
        colour: random colours, or None.
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
    colour: Optional[ColourJitter] = None
    interpolation: str = "linear"
    mean: Triple = (0.0, 0.0, 0.0)
    std: Triple = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        _expect_common(self)
        crops = ("random-resized", "scale-jitter", "pad")
        _expect(self.crop in crops, "crop", f"one of {crops}", self.crop)
        low, high = self.area
        _expect(0 < low <= high <= 1, "area", "two growing numbers in (0, 1]", self.area)
        low, high = self.ratio
        _expect(0 < low <= high, "ratio", "two growing positive numbers", self.ratio)
        low, high = self.scale
        if self.crop == "scale-jitter":
            _expect(
                self.size <= low <= high, "scale", f"two growing numbers from size ({self.size})", self.scale
            )
        _expect(0 <= self.padding <= 1 << 15, "padding", "from 0 to 32768", self.padding)
        _expect(all(0 <= v <= 255 for v in self.fill), "fill", "three levels from 0 to 255", self.fill)

    def native_fields(self) -> dict[str, object]:
        fields = vars_of(self)
        colour = fields.pop("colour") or ColourJitter()
        return {**fields, **vars_of(colour)}


Transform = Union[EvalTransform, TrainTransform]

# What the plan of one kind of transform needs not, but the C++ struct has.
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


def _expect(condition: bool, name: str, expected: str, found: object) -> None:
    if not condition:
        raise UsageError(f"{name}: expected {expected}, found {found!r}")


def _expect_common(transform: Transform) -> None:
    _expect(1 <= transform.size <= 1 << 14, "size", "from 1 to 16384", transform.size)
    names = tuple(_native.INTERPOLATIONS)
    _expect(transform.interpolation in names, "interpolation", f"one of {names}", transform.interpolation)
    _expect(len(transform.mean) == 3, "mean", "three numbers (R, G, B)", transform.mean)
    positive = len(transform.std) == 3 and all(v > 0 for v in transform.std)
    _expect(positive, "std", "three positive numbers (R, G, B)", transform.std)
