"""Images and record files that the tests make for themselves, and real ones where GLUON_RESNET_DATA has them."""

from __future__ import annotations

import os
import pathlib
import signal
import tarfile

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run side by side

import pytest

from tests.support.costly import costly_tests
from tests.support.pictures import encode, picture, write_records

# A shell that started the tests in the background has had them ignore Ctrl-C, and their children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    costly = set(costly_tests())
    for item in items:
        if item.nodeid in costly:
            item.add_marker(pytest.mark.costly)


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
    from tests.support.collections_of_pictures import write_pets  # which has what it encodes from here

    return write_pets(tmp_path / "pets")
