"""PyTorch's files without PyTorch: what torch.load reads, bit by bit."""

from __future__ import annotations

import os
import pathlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gluon_resnet.convert.torch_file import read_torch
from tests.support.torch_files import FORMATS, refused, save

torch = pytest.importorskip("torch")

DTYPES = ["float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"]


def as_numpy(tensor: Any) -> np.ndarray:
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).detach().numpy()


def assert_as_torch_reads(path: str) -> None:
    assert_reads(path, torch.load(path, weights_only=True))


def assert_reads(path: str, expected: dict[str, Any]) -> None:
    found = read_torch(path)
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        array = as_numpy(tensor)
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        assert found[name].tobytes() == array.tobytes()
        assert not found[name].flags.writeable or found[name].size == 0


@st.composite
def views(draw: st.DrawFn) -> Any:
    """A tensor of any kind that shows some values of a storage, in some order, each at most once."""
    shape = draw(st.lists(st.integers(0, 5), max_size=4))
    dtype = getattr(torch, draw(st.sampled_from(DTYPES)))
    full = [length * draw(st.integers(1, 2)) + draw(st.integers(0, 2)) for length in shape]
    bits = np.random.default_rng(draw(st.integers(0, 99))).bytes(8 * int(np.prod(full, dtype=int)) + 8)
    count = int(np.prod(full, dtype=int))
    if dtype == torch.bool:
        base = torch.tensor([byte % 2 == 0 for byte in bits[:count]], dtype=dtype)
    else:
        base = torch.frombuffer(bytearray(bits), dtype=dtype)[:count]
    view = base.reshape(full)
    for axis, length in enumerate(shape):
        start = draw(st.integers(0, full[axis] - length))
        step = 2 if start + 2 * length <= full[axis] and draw(st.booleans()) else 1
        view = view[(slice(None),) * axis + (slice(start, start + step * length, step),)]
    return view.permute(draw(st.permutations(range(len(shape)))))


@settings(max_examples=40, deadline=None)
@given(tensors=st.lists(views(), min_size=1, max_size=4), is_zip=st.booleans(), protocol=st.integers(2, 5))
def test_tensors_of_any_kind_shape_and_stride_are_as_they_were_saved(
    tmp_path_factory: pytest.TempPathFactory, tensors: list[Any], is_zip: bool, protocol: int
) -> None:
    path = tmp_path_factory.getbasetemp() / f"views{os.getpid()}.pth"
    state = {f"tensor {index}": tensor for index, tensor in enumerate(tensors)}
    assert_reads(save(state, path, is_zip, pickle_protocol=protocol), state)
    if protocol == 2:  # PyTorch's own; its weights-only reader knows no other
        assert_as_torch_reads(str(path))


@FORMATS
def test_a_state_dict_with_parameters_and_counters(tmp_path: pathlib.Path, is_zip: bool) -> None:
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Linear(4, 2))
    path = save(net.state_dict(keep_vars=True), tmp_path / "net.pth", is_zip)
    assert_as_torch_reads(path)
    assert read_torch(path)["1.num_batches_tracked"].shape == ()


@FORMATS
def test_tensors_that_share_a_storage_are_each_themselves(tmp_path: pathlib.Path, is_zip: bool) -> None:
    whole = torch.arange(12.0)
    path = save(
        {"whole": whole, "end": whole[7:], "matrix": whole.view(3, 4).t()}, tmp_path / "a.pth", is_zip
    )
    assert_as_torch_reads(path)
    found = read_torch(path)
    assert np.shares_memory(found["whole"], found["end"])


@FORMATS
@pytest.mark.parametrize("key", ["state_dict", "model"])
def test_the_weights_are_found_in_a_training_scripts_dict(
    tmp_path: pathlib.Path, key: str, is_zip: bool
) -> None:
    state = {"weight": torch.ones(3)}
    path = save({"epoch": 7, "best": 0.5, "arch": "x", key: state, "lr": [0.1]}, tmp_path / "a.pth", is_zip)
    assert read_torch(path)["weight"].tolist() == [1, 1, 1]


@FORMATS
@pytest.mark.parametrize("value", [{}, [torch.ones(2)], torch.ones(2), None, {"a": 1}, {3: torch.ones(1)}])
def test_what_is_no_dict_of_tensors_is_refused(tmp_path: pathlib.Path, value: Any, is_zip: bool) -> None:
    save(value, tmp_path / "a.pth", is_zip)
    assert "expected a dict of tensors" in refused(tmp_path / "a.pth", (tmp_path / "a.pth").read_bytes())


def test_real_legacy_files_are_those_of_torch_load(real_data: pathlib.Path) -> None:
    for path in real_data.glob("*.th"):
        expected, found = (
            torch.load(path, weights_only=True, map_location="cpu")["state_dict"],
            read_torch(path),
        )
        assert list(found) == list(expected)
        assert all(found[name].tobytes() == as_numpy(tensor).tobytes() for name, tensor in expected.items())
