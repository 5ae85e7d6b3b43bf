"""Images in IDX files, as MNIST, Fashion-MNIST and EMNIST are published: a pair of files for each part."""

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
_SIDE = 32  # of the images of the paper's CIFAR networks
_LONGEST_SIDE = 4096  # pixels; what claims more is damaged
_MOST_IMAGES = 1 << 24
_BLOCK = 1 << 20

# IDX files hold no names. Fashion-MNIST's are known by the SHA-256 of its labels (whole file, not compressed); those of
# any other are the labels themselves, as MNIST's digits are.
_FASHION = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
_CLASSES = {
    "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9": _FASHION,
    "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34": _FASHION,
}


class IdxSource:
    """The images of a pair of IDX files, in their order; keys count from 0.

    Gray values are repeated to RGB. Images of 28x28 pixels get a border of 2 black ones, which makes them the 32x32
    that the paper's CIFAR networks take; a centre crop of 28 pixels gives back what was there. Others stay as they are.

    Args:
        images: a file of unsigned bytes ``(n, height, width)``, gzipped or not.
        labels: one of unsigned bytes ``(n,)``.

    Raises:
        DataError: a file is not of this kind, or the two do not belong together. That images are missing at the end is
            found when they are read.
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
                f"{labels}: expected {self._size:,} labels, as {images} has images, found {count:,}",
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
    """What stands in the folder `root`, by the part that the files' names tell.

    ``train-images-idx3-ubyte`` and ``train-labels-idx1-ubyte`` (a dot instead of the last hyphen but one, and ``.gz``
    behind, are as good) are ``'train'``, those of ``t10k`` are ``'test'``, any others, such as EMNIST's, are called as
    they are.

    Raises:
        DataError: there are none, one of a pair is missing, or one is there twice; or see IdxSource.
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
                    f"{path}: {os.path.basename(pair[match['kind']])} is there, too; remove one", path=path
                )
            pair[match["kind"]] = path
    if not pairs:
        raise DataError(f"{root}: {expected}, found none", path=root)
    for stem, pair in pairs.items():
        for kind, other in (("images", "labels"), ("labels", "images")):
            if kind not in pair:
                raise DataError(f"{root}: {stem}'s {kind} are missing beside {pair[other]}", path=root)
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
    except (OSError, EOFError, zlib.error) as error:  # what gzip says of damage
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
        raise DataError(
            f"{path}: expected the end of the file behind what its header tells, found more", path=path
        )
