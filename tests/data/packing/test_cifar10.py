"""CIFAR-10's own files, made here in each of their layouts, whole, damaged and malicious."""

from __future__ import annotations

import os
import pathlib
import pickle
from typing import Callable

import numpy as np
import pytest

from gluon_resnet.cli.im2rec import main
from gluon_resnet.data import RecordFile, decode
from gluon_resnet.data.packing.cifar10 import CLASSES, cifar10_sources
from gluon_resnet.errors import DataError
from tests.support.collections_of_pictures import write_tar

BatchWriter = Callable[[np.ndarray, np.ndarray], bytes]


def make_batches() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Images (n, 32, 32, 3) and labels of two training batches and a test batch."""
    random = np.random.default_rng(0)
    return {
        name: (random.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8), random.integers(0, 10, n))
        for name, n in [("data_batch_2", 3), ("test_batch", 4), ("data_batch_1", 5)]
    }


BATCHES = make_batches()


def binary(images: np.ndarray, labels: np.ndarray) -> bytes:
    planes = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    return np.concatenate([labels[:, None].astype(np.uint8), planes], axis=1).tobytes()


def pickled(images: np.ndarray, labels: np.ndarray) -> bytes:
    """What Python 3 writes for Python 2."""
    planes = np.ascontiguousarray(images.transpose(0, 3, 1, 2).reshape(len(images), -1))
    batch = {b"data": planes, b"labels": labels.tolist(), b"batch_label": b"x", b"filenames": [b"a.png"]}
    return pickle.dumps(batch, protocol=2)


def pickled_by_python2(images: np.ndarray, labels: np.ndarray) -> bytes:
    """The opcodes of the published files: keys and data are Python 2's strings."""

    def string(data: bytes) -> bytes:
        return b"T" + len(data).to_bytes(4, "little") + data

    def number(value: int) -> bytes:
        return b"J" + value.to_bytes(4, "little", signed=True)

    planes = images.transpose(0, 3, 1, 2).reshape(len(images), -1).tobytes()
    reconstruct = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n" + number(0) + b"\x85U\x01b\x87R"
    dtype = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNN" + number(-1) + number(-1) + b"K\x00tb"
    shape = number(len(images)) + number(3072) + b"\x86"
    state = b"(K\x01" + shape + dtype + b"\x89" + string(planes) + b"tb"
    values = b"](" + b"".join(number(int(label)) for label in labels) + b"e"
    return b"\x80\x02}(U\x04data" + reconstruct + state + b"U\x06labels" + values + b"u."


@pytest.mark.parametrize("archive", [False, True])
@pytest.mark.parametrize(
    ("folder", "suffix", "write"),
    [
        ("cifar-10-batches-bin", ".bin", binary),
        ("cifar-10-batches-py", "", pickled),
        ("cifar-10-batches-py", "", pickled_by_python2),
    ],
)
def test_all_layouts(
    tmp_path: pathlib.Path, folder: str, suffix: str, write: BatchWriter, archive: bool
) -> None:
    files = {f"{folder}/{name}{suffix}": write(*batch) for name, batch in BATCHES.items()}
    files[f"{folder}/readme.html"] = files[f"{folder}/batches.meta"] = b"something"
    if archive:
        roots = [write_tar(tmp_path / "cifar.tar.gz", files, "w:gz")]
    else:
        roots = [str(tmp_path), str(tmp_path / folder)]
        for name, data in files.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes(data)
    for root in roots:
        sources = cifar10_sources(root)
        assert list(sources) == ["train", "test"]
        for part, names in [("train", ["data_batch_1", "data_batch_2"]), ("test", ["test_batch"])]:
            images = np.concatenate([BATCHES[name][0] for name in names])
            labels = np.concatenate([BATCHES[name][1] for name in names])
            pictures = list(sources[part])
            assert len(sources[part]) == len(pictures) == len(images)
            assert sources[part].classes == CLASSES
            assert [p.key for p in pictures] == list(range(len(images)))
            assert [p.labels for p in pictures] == [(float(label),) for label in labels]
            np.testing.assert_array_equal(np.stack([p.content for p in pictures]), images)


class Evil:
    """Makes a folder when somebody careless unpickles it."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


def test_malicious_pickles_do_not_run(tmp_path: pathlib.Path) -> None:
    trap = tmp_path / "trap"
    for data in (
        pickle.dumps({b"data": Evil(trap), b"labels": [1]}, protocol=2),
        b'cbuiltins\neval\n(S\'__import__("os").mkdir("%s")\'\ntR.' % bytes(trap),
        b"cnumpy\nload\n(S'x'\ntR.",
        b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R.",
    ):
        (tmp_path / "test_batch").write_bytes(data)
        with pytest.raises(DataError, match="not a Python batch of CIFAR-10: it asks for"):
            cifar10_sources(str(tmp_path))
    assert not trap.exists()


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("test_batch.bin", bytes(3074), "expected images of 3073 bytes, found 3074 bytes"),
        ("test_batch.bin", b"", "found 0 bytes"),
        ("test_batch.bin", b"\x0a" + bytes(3072), "expected labels from 0 to 9, found 10"),
        ("test_batch", pickled(*BATCHES["test_batch"])[:-9], "not a Python batch"),
        ("test_batch", pickle.dumps([1, 2]), "not a Python batch"),
        ("test_batch", b"\x80\x02Nr\xff\xff\xff\xff.", "not a Python batch"),
        ("test_batch", b"\x80\x05\x96" + (1 << 35).to_bytes(8, "little") + b"x.", "not a Python batch"),
        (
            "test_batch",
            b"\x80\x02}(N" + b"q\0h\0\x86" * 60 + b"Nu.",
            "keys that are neither strings nor numbers",
        ),
        (
            "test_batch",
            b"\x80\x02}N" + b"q\0h\0\x86" * 60 + b"Ns.",
            "keys that are neither strings nor numbers",
        ),
        (
            "test_batch",
            b"\x80\x02(N" + b"q\0h\0\x86" * 60 + b"Nd.",
            "keys that are neither strings nor numbers",
        ),
        ("test_batch", b"\x80\x04\x8f(N" + b"q\0h\0\x86" * 60 + b"\x90.", "not a Python batch"),
        ("test_batch", b"\x80\x02}(U\x04data]U\x06labels]u.", "expected an array of images"),
        (
            "test_batch",
            pickle.dumps({b"data": np.zeros((1, 3072), "u1"), b"labels": [[1]]}),
            "a list of labels",
        ),
        ("test_batch", pickle.dumps({b"data": np.zeros((2, 5), "u1"), b"labels": [1, 2]}), "uint8 data of"),
        ("test_batch", pickle.dumps({b"data": np.zeros((2, 3072), "u1"), b"labels": [1]}), "n labels"),
        ("other", b"", "expected CIFAR-10's batches"),
    ],
)
def test_damaged_files(tmp_path: pathlib.Path, name: str, data: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=message):
        cifar10_sources(str(tmp_path))


def test_pixels_are_packed_as_they_are(tmp_path: pathlib.Path) -> None:
    for name, batch in BATCHES.items():
        (tmp_path / f"{name}.bin").write_bytes(binary(*batch))
    assert not main([str(tmp_path / "cifar"), str(tmp_path), "--source", "cifar10"])

    records = list(RecordFile(tmp_path / "cifar_test.rec"))
    np.testing.assert_array_equal([decode(record.payload) for record in records], BATCHES["test_batch"][0])
    assert [record.header.label[0] for record in records] == BATCHES["test_batch"][1].tolist()
    assert len(RecordFile(tmp_path / "cifar_train.rec")) == 8
    assert (tmp_path / "cifar_train.classes").read_text().split() == list(CLASSES)
    assert not list(tmp_path.glob("*.lst"))
