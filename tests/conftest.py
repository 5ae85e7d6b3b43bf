"""Images and record files that the tests make for themselves, and real ones where GLUON_RESNET_DATA has them."""

from __future__ import annotations

import io
import os
import pathlib
import signal
import tarfile

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run side by side

import cv2
import numpy as np
import oracle
import pytest
from PIL import Image

# A shell that started the tests in the background has had them ignore Ctrl-C, and their children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A smooth random RGB picture with some noise, so that a JPEG of it is like a photograph's."""
    random = np.random.default_rng([seed, height, width])
    coarse = random.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.int16)
    return np.clip(smooth + random.integers(-12, 13, smooth.shape), 0, 255).astype(np.uint8)


def encode(image: np.ndarray, extension: str = ".jpg", *options: int) -> bytes:
    """An RGB or gray image as a file's bytes, by OpenCV."""
    if image.ndim == 3 and image.shape[2] == 3:
        image = image[:, :, ::-1]
    elif image.ndim == 3 and image.shape[2] == 4:
        image = image[:, :, [2, 1, 0, 3]]
    done, data = cv2.imencode(extension, image, list(options))
    assert done
    return data.tobytes()


def to_bytes(image: Image.Image, **options: object) -> bytes:
    """An image as a file's bytes, by Pillow, which writes more kinds than OpenCV."""
    stream = io.BytesIO()
    image.save(stream, **options)
    return stream.getvalue()


def write_records(
    path: pathlib.Path, payloads: list[bytes], labels: list | None = None, index: bool = True
) -> str:
    """A .rec file and its .idx by the oracle's writer."""
    labels = list(range(len(payloads))) if labels is None else labels
    offset, lines = 0, []
    with open(path, "wb") as file:
        for key, (payload, label) in enumerate(zip(payloads, labels)):
            data = oracle.record(payload, label if isinstance(label, list) else float(label), key)
            file.write(data)
            lines.append(f"{key}\t{offset}\n")
            offset += len(data)
    if index:
        path.with_suffix(".idx").write_text("".join(lines))
    return str(path)


@pytest.fixture(scope="session")
def photographs() -> list[bytes]:
    """23 JPEGs of different sizes."""
    sizes = [(60 + 17 * i % 90, 64 + 29 * i % 110) for i in range(23)]
    return [encode(picture(h, w, i)) for i, (h, w) in enumerate(sizes)]


@pytest.fixture
def record_path(tmp_path: pathlib.Path, photographs: list[bytes]) -> str:
    """A record file of the photographs; the label of each is its position."""
    return write_records(tmp_path / "photographs.rec", photographs)


@pytest.fixture(scope="session")
def real_data() -> pathlib.Path:
    """The folder of real images and weights; the test is skipped where there is none."""
    folder = os.environ.get("GLUON_RESNET_DATA")
    if not folder or not pathlib.Path(folder).is_dir():
        pytest.skip("GLUON_RESNET_DATA does not name the folder of real data")
    return pathlib.Path(folder)


@pytest.fixture(scope="session")
def imagenet_images(real_data: pathlib.Path) -> list[tuple[str, bytes]]:
    """The 691 real ImageNet JPEGs as (name, bytes)."""
    with tarfile.open(real_data / "imagenet_sample.tar") as tar:
        return [(m.name, tar.extractfile(m).read()) for m in tar if m.isfile()]


@pytest.fixture
def pets(tmp_path: pathlib.Path) -> pathlib.Path:
    """A folder with three class folders."""
    from collections_of_pictures import write_pets  # which has what it encodes from here

    return write_pets(tmp_path / "pets")
