"""IDX files, made here as MNIST and its followers publish them, whole, damaged and hostile."""

from __future__ import annotations

import gzip
import os
import pathlib
import struct
from typing import Optional

import numpy as np
import pytest

from gluon_resnet.cli.im2rec import main
from gluon_resnet.data import RecordFile, decode
from gluon_resnet.data.packing.idx import idx_sources
from gluon_resnet.errors import DataError

FASHION = "/usr/share/datasets/fashion-mnist"  # of Debian's package dataset-fashion-mnist


IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
MAGIC = b"\0\0\x08\3"


def write_idx(path: pathlib.Path, values: np.ndarray, shape: Optional[tuple[int, ...]] = None) -> None:
    shape = values.shape if shape is None else shape
    data = bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + values.tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def write_pair(
    folder: pathlib.Path, stem: str, count: int, side: int = 28, form: str = "-{}-ubyte.gz"
) -> np.ndarray:
    """Of `count` images with the labels 0, 1, 2 ...; the images."""
    images = np.random.default_rng(count).integers(0, 256, (count, side, side), dtype=np.uint8)
    write_idx(folder / (f"{stem}-images" + form.format("idx3")), images)
    write_idx(folder / (f"{stem}-labels" + form.format("idx1")), np.arange(count, dtype=np.uint8))
    return images


@pytest.mark.parametrize("form", ["-{}-ubyte.gz", "-{}-ubyte", ".{}-ubyte"])
def test_pixels_are_packed_as_they_are(tmp_path: pathlib.Path, form: str) -> None:
    folder = tmp_path / "mnist"
    folder.mkdir()
    expected = {
        "train": write_pair(folder, "train", 7, form=form),
        "test": write_pair(folder, "t10k", 3, form=form),
    }
    (folder / "README").write_text("not of the pairs")
    assert not main([str(tmp_path / "mnist"), str(folder), "--source", "idx"])
    for part, images in expected.items():
        records = list(RecordFile(tmp_path / f"mnist_{part}.rec"))
        assert [record.header.id for record in records] == list(range(len(images)))
        assert [record.header.label[0] for record in records] == list(range(len(images)))
        for record, image in zip(records, images):
            pixels = decode(record.payload)
            assert pixels.shape == (32, 32, 3)
            np.testing.assert_array_equal(pixels[2:30, 2:30], np.repeat(image[:, :, None], 3, axis=2))
            assert int(pixels.sum()) == 3 * int(image.sum())  # and the border is black
    assert (tmp_path / "mnist_train.classes").read_text().split() == ["0", "1", "2", "3", "4", "5", "6"]


def test_other_sizes_and_parts_stay_as_they_are(tmp_path: pathlib.Path) -> None:
    images = write_pair(tmp_path, "emnist-letters-train", 2, side=30)
    (source,) = idx_sources(str(tmp_path)).values()
    assert list(idx_sources(str(tmp_path))) == ["emnist-letters-train"]
    np.testing.assert_array_equal([picture.content[:, :, 1] for picture in source], images)  # type: ignore[index,call-overload]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        (IMAGES, b"", "ends before a header"),
        (IMAGES, bytes([0, 0, 8, 3, 0, 0]), "ends before 3 sizes"),
        (IMAGES, bytes([0, 0, 13, 3]), "expected an IDX file of unsigned bytes in 3 dim.*00 00 0d 03"),
        (LABELS, bytes([0, 0, 8, 3]), "in 1 dimensions"),
        (IMAGES, MAGIC + struct.pack(">3I", 3, 1 << 31, 1 << 31), "pixels a side, found 21474"),
        (IMAGES, MAGIC + struct.pack(">3I", 3, 0, 28), "pixels a side, found 28x0"),
        (IMAGES, MAGIC + struct.pack(">3I", 0xFFFFFFFF, 28, 28), "images, found 4,294,967,295"),
        (IMAGES, MAGIC + struct.pack(">3I", 4, 28, 28), "expected 4 labels.*found 3"),
        (IMAGES, MAGIC + struct.pack(">3I", 3, 28, 28) + bytes(2351), "ends before image 2"),
        (IMAGES, MAGIC + struct.pack(">3I", 3, 28, 28) + bytes(2353), "expected the file to end where its header says"),
        (LABELS, b"\0\0\x08\1" + struct.pack(">I", 3) + bytes(2), "ends before 3 labels"),
        (LABELS, b"\0\0\x08\1" + struct.pack(">I", 3) + bytes(4), "expected the file to end where its header says"),
        (IMAGES, b"\x1f\x8b\x08nonsense", "the compressed data is damaged"),
        (IMAGES, gzip.compress(bytes(5000), mtime=0)[:-20], "damaged|expected an IDX"),
    ],
)  # fmt: skip
def test_damaged_files(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], name: str, data: bytes, message: str
) -> None:
    write_pair(tmp_path, "train", 3, form="-{}-ubyte")
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=message) as caught:
        for source in idx_sources(str(tmp_path)).values():
            list(source)
    assert name in str(caught.value)


def test_a_file_that_ends_early_leaves_no_records(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "mnist"
    folder.mkdir()
    write_pair(folder, "train", 3, form="-{}-ubyte")
    path = folder / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match="ends before image 2"):
        main([str(tmp_path / "out"), str(folder), "--source", "idx"])
    assert os.listdir(tmp_path) == ["mnist"]


def test_pairs_that_are_not_whole(tmp_path: pathlib.Path) -> None:
    with pytest.raises(DataError, match="expected a folder with train-images.*found none"):
        idx_sources(str(tmp_path))
    write_pair(tmp_path, "train", 3)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(b"")
    with pytest.raises(DataError, match="is also there; remove one"):
        idx_sources(str(tmp_path))
    for path in tmp_path.glob("train-labels*"):
        path.unlink()
    with pytest.raises(DataError, match="the labels of train, .* are missing"):
        idx_sources(str(tmp_path))
    with pytest.raises(DataError, match="found a file"):
        idx_sources(str(tmp_path / "train-images-idx3-ubyte.gz"))


def test_options_that_mean_nothing_with_pixels(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for options in (["--pass-through"], ["--recursive"], ["--list"]):
        with pytest.raises(SystemExit) as caught:
            main([str(tmp_path / "out"), str(tmp_path), "--source", "idx", *options])
        assert caught.value.code == 2
        assert "--source idx has" in capsys.readouterr().err


@pytest.mark.skipif(not os.path.isdir(FASHION), reason="dataset-fashion-mnist is not installed")
def test_fashion_mnist(tmp_path: pathlib.Path) -> None:
    for kind in ("images-idx3", "labels-idx1"):
        (tmp_path / f"t10k-{kind}-ubyte.gz").symlink_to(f"{FASHION}/t10k-{kind}-ubyte.gz")
    assert not main([str(tmp_path / "fashion"), str(tmp_path), "--source", "idx"])
    test = RecordFile(tmp_path / "fashion_test.rec")
    assert len(test) == 10000
    assert (tmp_path / "fashion_test.classes").read_text().splitlines()[9] == "Ankle boot"
    assert np.bincount([int(record.header.label[0]) for record in test]).tolist() == [1000] * 10
