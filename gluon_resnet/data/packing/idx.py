"""Images in IDX files, the format of MNIST, Fashion-MNIST and EMNIST: a pair of files for each part."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import re
import struct
import zlib
from collections.abc import Iterator
from typing import IO, cast

import numpy as np

from gluon_resnet.data.packing.sources import Picture
from gluon_resnet.errors import DataError
from gluon_resnet.files import regular_only

_NAME = re.compile(r"(?P<stem>.+?)[-.](?P<kind>images|labels)[-.]idx\d-ubyte(?:\.gz)?")
_PARTS = {"t10k": "test"}  # MNIST's own name for ten thousand test images
_SIDE = 32  # of the images that the paper's CIFAR networks take
_LONGEST_SIDE = 4096  # pixels; a header that claims more is damaged
_MOST_IMAGES = 1 << 24
_BLOCK = 1 << 20

# IDX files hold no class names. Fashion-MNIST is recognized by the SHA-256 of its labels (whole file, uncompressed);
# in all other data sets the labels are the names, like MNIST's digits.
_FASHION = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
_CLASSES = {
    "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9": _FASHION,
    "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34": _FASHION,
}


class IdxSource:
    """The images of a pair of IDX files, in their order; keys are counted from 0.

    Gray values are repeated to RGB. Images of 28x28 pixels get a black border 2 pixels wide, which makes them the
    32x32 pixels that the paper's CIFAR networks take; a centre crop of 28 pixels undoes it. Others stay as they are.

    Args:
        images: the path of a file of unsigned bytes ``(n, height, width)``, gzipped or not.
        labels: the path of a file of unsigned bytes ``(n,)``, gzipped or not.

    Raises:
        DataError: a file is not of this kind, or the two do not belong together. A truncated file of images is
            noticed only while it is read.
    """

    def __init__(self, images: str, labels: str) -> None:
        self._images = images
        self._labels = labels
        self._size, self._height, self._width = _shape(images, 3)
        if max(self._height, self._width) > _LONGEST_SIDE or not self._height * self._width:
            raise DataError(
                f"{images}: expected images of 1 to {_LONGEST_SIDE} pixels a side, "
                f"found {self._width}x{self._height}",
                path=images,
            )
        (count,) = _shape(labels, 1)
        if count != self._size:
            raise DataError(
                f"{labels}: expected {self._size:,} labels, one for each image in {images}, found {count:,}",
                path=labels,
            )
        self.classes = self._names_of_labels()

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Picture]:
        height, width = self._height, self._width
        border = (_SIDE - 28) // 2 if (height, width) == (28, 28) else 0
        with _open(self._images) as images, _open(self._labels) as labels:
            _exactly(images, 16, self._images, "a header")
            _exactly(labels, 8, self._labels, "a header")
            for key in range(self._size):
                gray = np.frombuffer(_exactly(images, height * width, self._images, f"image {key}"), np.uint8)
                label = _exactly(labels, 1, self._labels, f"label {key}")[0]
                padded = np.pad(gray.reshape(height, width), border)
                pixels = np.repeat(padded[:, :, None], 3, axis=2)
                yield Picture(key, (float(label),), f"{self._images}: image {key}", pixels)
            _require_end(images, self._images)

    def _names_of_labels(self) -> tuple[str, ...]:
        with _open(self._labels) as stream:
            digest, greatest = hashlib.sha256(_exactly(stream, 8, self._labels, "a header")), 0
            for begin in range(0, self._size, _BLOCK):
                size = min(self._size - begin, _BLOCK)
                block = _exactly(stream, size, self._labels, f"{self._size:,} labels")
                digest.update(block)
                greatest = max(greatest, max(block))
            _require_end(stream, self._labels)
        return _CLASSES.get(digest.hexdigest()) or tuple(map(str, range(greatest + 1)))


def idx_sources(root: str) -> dict[str, IdxSource]:
    """The pairs of files in the folder `root`, keyed by the part that their names say.

    ``train-images-idx3-ubyte`` and ``train-labels-idx1-ubyte`` are ``'train'`` (a dot instead of the last hyphen but
    one, and a final ``.gz``, are accepted too), those of ``t10k`` are ``'test'``, and any others, such as EMNIST's,
    keep their own names.

    Raises:
        DataError: there are no pairs, one file of a pair is missing or present twice; or see IdxSource.
    """
    expected = "expected a folder with train-images-idx3-ubyte and train-labels-idx1-ubyte, gzipped or not"
    if not os.path.isdir(root):
        raise DataError(f"{root}: {expected}, found a file", path=root)
    pairs: dict[str, dict[str, str]] = {}
    for name in sorted(os.listdir(root)):
        if match := _NAME.fullmatch(name):
            pair = pairs.setdefault(match["stem"], {})
            path = os.path.join(root, name)
            if match["kind"] in pair:
                raise DataError(
                    f"{path}: {os.path.basename(pair[match['kind']])} is also there; remove one", path=path
                )
            pair[match["kind"]] = path
    if not pairs:
        raise DataError(f"{root}: {expected}, found none", path=root)
    for stem, pair in pairs.items():
        for kind, other in (("images", "labels"), ("labels", "images")):
            if kind not in pair:
                raise DataError(
                    f"{root}: the {kind} of {stem}, which belong to {pair[other]}, are missing", path=root
                )
    return {_PARTS.get(stem, stem): IdxSource(pair["images"], pair["labels"]) for stem, pair in pairs.items()}


def _shape(path: str, dimensions: int) -> tuple[int, ...]:
    """The sizes in a file's header."""
    with _open(path) as stream:
        magic = _exactly(stream, 4, path, "a header")
        if magic != bytes([0, 0, 8, dimensions]):
            raise DataError(
                f"{path}: expected an IDX file of unsigned bytes in {dimensions} dimensions (00 00 08 0{dimensions}), "
                f"found {magic.hex(' ')}",
                path,
                0,
            )
        shape = struct.unpack(
            f">{dimensions}I", _exactly(stream, 4 * dimensions, path, f"{dimensions} sizes")
        )
    if not 0 < shape[0] <= _MOST_IMAGES:
        what = "images" if dimensions == 3 else "labels"
        raise DataError(f"{path}: expected 1 to {_MOST_IMAGES:,} {what}, found {shape[0]:,}", path, 4)
    return shape


@contextlib.contextmanager
def _open(path: str) -> Iterator[IO[bytes]]:
    with open(path, "rb", opener=regular_only) as stream:
        if stream.peek(2)[:2] != b"\x1f\x8b":
            yield stream
            return
        with gzip.GzipFile(fileobj=stream) as unzipped:
            yield cast(IO[bytes], unzipped)


def _exactly(stream: IO[bytes], size: int, path: str, what: str) -> bytes:
    try:
        data = stream.read(size)
    except (OSError, EOFError, zlib.error) as error:  # what gzip raises for damage
        raise DataError(f"{path}: the compressed data is damaged: {error}", path=path) from None
    if len(data) != size:
        raise DataError(f"{path}: the file ends before {what}", path=path)
    return data


def _require_end(stream: IO[bytes], path: str) -> None:
    try:
        more = stream.read(1)
    except (OSError, EOFError, zlib.error):
        more = b"damage"
    if more:
        raise DataError(f"{path}: expected the file to end where its header says, found more data", path=path)
