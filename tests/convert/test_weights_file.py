"""Files of safetensors and MXNet: read bit by bit, or refused by name."""

from __future__ import annotations

import json
import pathlib
import struct
import sys
from typing import Any

import numpy as np
import pytest

from gluon_resnet._mxnet import mx
from gluon_resnet.convert import read_weights, write_weights
from gluon_resnet.errors import EnvironmentProblem, ModelError
from gluon_resnet.models.parameters import read_arrays, write_arrays


def safetensors_bytes(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello, this is text",
        b"cos\nsystem\n(S'true'\ntR.",
        safetensors_bytes({"a": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 4]}}, bytes(4)),
        safetensors_bytes({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, bytes(4)),
        safetensors_bytes({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, bytes(8)),
        safetensors_bytes({"a": {"dtype": "F8_E5M2", "shape": [4], "data_offsets": [0, 4]}}, bytes(4)),
        safetensors_bytes({"a": {"dtype": "F32", "shape": [0, 2**60, 2**60], "data_offsets": [0, 0]}}),
        safetensors_bytes(b"{"),
        struct.pack("<Q", 2**60) + b"{}",
    ],
)
def test_damaged_and_unknown_files_are_refused(tmp_path: pathlib.Path, data: bytes) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(data)
    with pytest.raises(ModelError) as caught:
        read_weights(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_safetensors_values_are_read_bit_by_bit(tmp_path: pathlib.Path) -> None:
    header = {"b": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}
    header["f"] = {"dtype": "F16", "shape": [2, 1], "data_offsets": [4, 8]}
    header["n"] = {"dtype": "I64", "shape": [], "data_offsets": [8, 16]}
    data = struct.pack("<HH", 0x3F80, 0xC040) + np.float16([0.1, -2]).tobytes() + struct.pack("<q", -5)
    (tmp_path / "a.safetensors").write_bytes(safetensors_bytes(header, data))
    found = read_weights(tmp_path / "a.safetensors")
    assert (found["b"].dtype, found["b"].tolist()) == (np.float32, [1, -3])
    assert (found["f"].dtype, found["f"].shape) == (np.float16, (2, 1))
    assert found["f"].tobytes() == np.float16([0.1, -2]).tobytes()
    assert (found["n"].shape, found["n"].item()) == ((), -5)


def test_mxnets_older_arrays_are_read_as_mxnet_reads_them(tmp_path: pathlib.Path) -> None:
    array = np.arange(6, dtype="<f4").reshape(2, 3)
    data = struct.pack("<3Q", 0x112, 0, 1) + struct.pack("<Ii2q3i", 0xF993FAC8, 2, 2, 3, 1, 0, 0)
    data += array.tobytes() + struct.pack("<QQ", 1, 5) + b"arg:w"
    path = tmp_path / "old.params"
    path.write_bytes(data)
    np.testing.assert_array_equal(mx.nd.load(str(path))["arg:w"].asnumpy(), array)
    np.testing.assert_array_equal(read_arrays(path)["arg:w"], array)
    assert list(read_weights(path)) == ["w"]


def test_a_name_twice_but_for_its_kind_is_refused(tmp_path: pathlib.Path) -> None:
    write_arrays(tmp_path / "a.params", {"arg:w": np.ones(1, "f4"), "w": np.ones(1, "f4")})
    with pytest.raises(ModelError, match="a name occurs twice"):
        read_weights(tmp_path / "a.params")


def test_without_pytorch_a_pth_is_read_and_not_written(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    path = tmp_path / "net.pth"
    torch.save({"a": torch.ones(2)}, path)
    monkeypatch.setitem(sys.modules, "torch", None)
    assert read_weights(path)["a"].tolist() == [1, 1]
    with pytest.raises(
        EnvironmentProblem, match=r"writing \.pth needs PyTorch: install it, or name a \.safetensors"
    ):
        write_weights(tmp_path / "other.pth", {"a": np.ones(2)})
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(EnvironmentProblem, match="need safetensors"):
        write_weights(tmp_path / "other.safetensors", {"a": np.ones(2)})
    assert [file.name for file in tmp_path.iterdir()] == ["net.pth"]
