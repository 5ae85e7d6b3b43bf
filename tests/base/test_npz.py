"""NumPy's .npz files that cost more than their bytes, or are of something else."""

from __future__ import annotations

import io
import pathlib
import tracemalloc
import zipfile

import numpy as np
import pytest

from gluon_resnet.errors import DataError
from gluon_resnet.npz import read_npz


def member(header: str, content: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    text = header.encode()
    return b"\x93NUMPY" + version + len(text).to_bytes(2, "little") + text + content


def described(shape: str, dtype: str = "'|u1'") -> str:
    return f"{{'descr': {dtype}, 'fortran_order': False, 'shape': {shape}, }}\n"


def pickled() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.array([{}], object), allow_pickle=True)
    return stream.getvalue()


def write(path: pathlib.Path, content: bytes, name: str = "a.npy") -> str:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return str(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (member(described("(1099511627776,)")), "an array does not have the shape"),
        (member(described("(0, 4611686018427387904, 4611686018427387904)")), "not a file of"),
        (member(described("(-1,)"), b"12"), "an array does not have the shape"),
        (member(described("(" + "1," * 40 + ")"), b"1"), "an array does not have the shape"),
        (member(described("(1,)"), b"1", b"\x09\x00"), "version"),
        (member("[" * 20_000), "not a file of"),
        (pickled(), "an array does not have the shape"),
        (bytes(100 << 20), "its arrays are more than 64 times as large"),
        (b"", "not a file of"),
    ],
    ids=["terabyte", "none of many", "negative", "dimensions", "version", "deep", "pickle", "bomb", "empty"],
)
def test_an_array_of_another_kind_is_refused(tmp_path: pathlib.Path, content: bytes, words: str) -> None:
    path = write(tmp_path / "a.npz", content)
    tracemalloc.start()
    with pytest.raises(DataError, match=words) as caught:
        read_npz(path, ["a"], "a tool")
    assert tracemalloc.get_traced_memory()[1] < 50 << 20
    tracemalloc.stop()
    assert str(caught.value).startswith(f"{path}: not a file of a tool: ")
    assert "\n" not in str(caught.value)


def test_good_arrays_are_read(tmp_path: pathlib.Path) -> None:
    arrays = {
        "a": np.arange(6.0).reshape(2, 3),
        "b": np.asfortranarray(np.eye(3)),
        "c": np.array(3),
        "d": np.array(["x"]),
    }
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    found = read_npz(str(tmp_path / "a.npz"), list(arrays), "a tool")
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype
