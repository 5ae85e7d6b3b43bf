"""PyTorch's files without PyTorch: what torch.load reads, bit by bit, and nothing of a hostile file is run."""

from __future__ import annotations

import io
import os
import pathlib
import pickle
import struct
import subprocess
import sys
import zipfile
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gluon_resnet.convert.torch_file import read_torch
from gluon_resnet.errors import ModelError

torch = pytest.importorskip("torch")

FORMATS = pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])
DTYPES = ["float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"]
MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03."
MACHINE = pickle.dumps({"protocol_version": 1001, "little_endian": True, "type_sizes": {}}, protocol=2)


def save(value: Any, path: pathlib.Path, is_zip: bool = True, **options: Any) -> str:
    torch.save(value, path, _use_new_zipfile_serialization=is_zip, **options)
    return str(path)


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


def refused(path: pathlib.Path, data: bytes) -> str:
    """The reason why a file with these bytes is refused."""
    path.write_bytes(data)
    with pytest.raises(ModelError) as caught:
        read_torch(path)
    assert caught.value.path == str(path)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value)[len(str(path)) + 2 :]


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


class Malice:
    """What pickle would run."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch HACKED",)


@FORMATS
def test_code_in_a_file_is_named_and_not_run(
    tmp_path: pathlib.Path, is_zip: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save({"state_dict": {"a": torch.ones(2), "b": Malice()}}, tmp_path / "a.pth", is_zip)
    message = refused(tmp_path / "a.pth", (tmp_path / "a.pth").read_bytes())
    assert message == "this file would run code: posix.system; save its state_dict() instead"
    assert "posix.system" in refused(tmp_path / "b.pth", pickle.dumps(Malice()))
    assert sorted(os.listdir(tmp_path)) == ["a.pth", "b.pth"]


@FORMATS
def test_a_whole_network_is_refused_by_the_name_of_its_class(tmp_path: pathlib.Path, is_zip: bool) -> None:
    save(torch.nn.Linear(2, 2), tmp_path / "a.pth", is_zip)
    message = refused(tmp_path / "a.pth", (tmp_path / "a.pth").read_bytes())
    assert "would run code: torch.nn.modules.linear.Linear; save its state_dict()" in message


@FORMATS
def test_a_file_cut_off_anywhere_is_refused(tmp_path: pathlib.Path, is_zip: bool) -> None:
    path = tmp_path / "a.pth"
    save({"weight": torch.randn(5, 3), "bias": torch.randn(5)}, path, is_zip)
    data = path.read_bytes()
    for length in range(0, len(data), 1 if len(data) < 1500 else 7):
        refused(tmp_path / "cut.pth", data[:length])


@FORMATS
def test_a_changed_byte_never_ends_in_another_error(tmp_path: pathlib.Path, is_zip: bool) -> None:
    path = tmp_path / "a.pth"
    save({"weight": torch.randn(5, 3), "bias": torch.randn(5)}, path, is_zip)
    data = path.read_bytes()
    random = np.random.default_rng(0)
    outcomes = set()
    for _ in range(1500):
        changed = bytearray(data)
        for _ in range(random.integers(1, 3)):
            changed[random.integers(len(data))] = random.integers(256)
        (tmp_path / "changed.pth").write_bytes(changed)
        try:
            outcomes.add(len(read_torch(tmp_path / "changed.pth")))
        except ModelError:
            outcomes.add(0)
    assert outcomes == {0, 2} or outcomes == {0, 1, 2}


def legacy(tensor: bytes, storage_length: int = 4, values: bytes = bytes(16)) -> bytes:
    """A file with one tensor, b'(offset, shape, strides)' as opcodes, over one storage of float32."""
    storage = (
        b"((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpu"
        + integer(storage_length)
        + b"tQ"
    )
    state = b"\x80\x02}X\x01\0\0\0actorch._utils\n_rebuild_tensor\n" + storage + tensor + b"tRs."
    return MAGIC + MACHINE + state + pickle.dumps(["0"], 2) + struct.pack("<Q", storage_length) + values


def integer(value: int) -> bytes:
    return pickle.dumps(value, protocol=2)[2:-1]


def described(offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> bytes:
    parts = [integer(offset), *(b"(" + b"".join(map(integer, part)) + b"t" for part in (shape, strides))]
    return b"".join(parts)


def test_a_tensor_written_by_hand_is_read(tmp_path: pathlib.Path) -> None:
    """So that the refusals below are for what they say."""
    path = tmp_path / "a.pth"
    path.write_bytes(legacy(described(1, (3,), (1,)), values=np.arange(4, dtype="<f4").tobytes()))
    assert read_torch(path)["a"].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        (2, (3,), (1,)),
        (0, (2, 2), (3, 1)),
        (0, (5,), (0,)),
        (0, (2, 2), (2**62, 1)),
        (2**62, (1,), (1,)),
        (0, (2**40,), (0,)),
        (0, (2**62, 2**62), (0, 0)),
        (-1, (1,), (1,)),
        (0, (-1,), (1,)),
        (0, (2,), (-1,)),
        (2**200, (1,), (1,)),
        (0, (0, 2**62, 2**62), (1, 1, 1)),
        (0, (1, 2), (1,)),
        (0, (1,) * 33, (1,) * 33),
    ],
)
def test_a_tensor_that_reaches_out_of_its_storage_is_refused(
    tmp_path: pathlib.Path, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
) -> None:
    assert "tensor" in refused(tmp_path / "a.pth", legacy(described(offset, shape, strides)))


@pytest.mark.parametrize("length", [3, 5, 2**40, 2**61, 2**63 - 1])
def test_a_storage_of_another_length_than_the_file_has_is_refused(
    tmp_path: pathlib.Path, length: int
) -> None:
    refused(tmp_path / "a.pth", legacy(described(0, (1,), (1,)), length))


def test_bytes_behind_the_last_storage_are_refused(tmp_path: pathlib.Path) -> None:
    assert "follows" in refused(tmp_path / "a.pth", legacy(described(0, (1,), (1,))) + b"x")


def test_big_endian_files_are_refused(tmp_path: pathlib.Path) -> None:
    data = legacy(described(0, (1,), (1,)))
    big = MACHINE.replace(b"little_endian\x94\x88", b"").replace(b"\x88", b"\x89")
    assert "big-endian" in refused(tmp_path / "a.pth", data.replace(MACHINE, big))
    save({"a": torch.ones(2)}, tmp_path / "b.pth")
    with zipfile.ZipFile(tmp_path / "b.pth") as old, zipfile.ZipFile(tmp_path / "c.pth", "w") as new:
        for name in old.namelist():
            new.writestr(name, b"big" if name.endswith("byteorder") else old.read(name))
    assert "big-endian" in refused(tmp_path / "c.pth", (tmp_path / "c.pth").read_bytes())


def rezipped(path: pathlib.Path, change: Any, compression: int = zipfile.ZIP_STORED) -> bytes:
    """The archive with the (name, bytes) of its members changed by `change`."""
    stream = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(stream, "w", compression) as new:
        for member in change({name: old.read(name) for name in old.namelist()}).items():
            new.writestr(*member)
    return stream.getvalue()


def test_archives_that_pytorch_does_not_write_are_refused(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.pth"
    save({"a": torch.zeros(10_000)}, path)
    (pickled,) = [n for n in zipfile.ZipFile(path).namelist() if n.endswith("data.pkl")]
    storage = pickled.replace("data.pkl", "data/0")
    out = tmp_path / "b.pth"
    assert "larger than the file" in refused(out, rezipped(path, dict, zipfile.ZIP_DEFLATED))
    assert "no data.pkl" in refused(out, rezipped(path, lambda m: {storage: m[storage]}))
    assert f"no {storage}" in refused(out, rezipped(path, lambda m: {pickled: m[pickled]}))
    cut = rezipped(path, lambda m: {**m, storage: m[storage][:-1]})
    assert "expected 40000 bytes, found 39999" in refused(out, cut)
    assert "no data.pkl" in refused(out, rezipped(path, lambda m: {**m, "other/data.pkl": b""}))


HOSTILE = {
    "high memo index": b"\x80\x02Nr\xff\xff\xff\xff.",
    "long bytes": b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"x.",
    "long text": b"\x80\x04\x8d" + struct.pack("<Q", 2**40) + b"x.",
    "long bytearray": b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"x.",
    "long frame": b"\x80\x04\x95" + struct.pack("<Q", 2**40) + b"N.",
    "many dicts": b"\x80\x02" + b"}" * 600_000 + b".",
    "many marks": b"\x80\x02" + b"(" * 600_000 + b".",
    "tuples of tuples as a key": b"\x80\x02}(N" + b"q\0h\0\x86" * 200 + b"Nu.",
    "text numbers": b"\x80\x02I" + b"9" * 100_000 + b"\n.",
    "empty stack": b"\x80\x020.",
    "no mark": b"\x80\x02t.",
    "call of a dict": b"\x80\x02})R.",
    "unknown get": b"\x80\x02h\x07.",
    "build of none": b"\x80\x02N}b.",
    "storage of nothing": b"\x80\x02ctorch\nFloatStorage\n)R.",
    "text persistent id": b"\x80\x02X\x01\0\0\0aQ.",
    "inst": b"\x80\x02(ios\nsystem\n.",
    "dict of itself": b"\x80\x02}q\0X\x01\0\0\0ah\0s.",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pickles_are_refused(tmp_path: pathlib.Path, name: str) -> None:
    refused(tmp_path / "a.pth", HOSTILE[name])
    refused(tmp_path / "a.pth", MAGIC + MACHINE + HOSTILE[name])
    save({"a": torch.ones(2)}, tmp_path / "b.pth")
    data = rezipped(
        tmp_path / "b.pth",
        lambda m: {n: HOSTILE[name] if n.endswith("data.pkl") else d for n, d in m.items()},
    )
    refused(tmp_path / "a.pth", data)


def test_hostile_pickles_need_no_more_memory_than_a_machine_has(tmp_path: pathlib.Path) -> None:
    """Each in a process that may have 300 MB more than Python with NumPy and the reader."""
    for index, data in enumerate(HOSTILE.values()):
        (tmp_path / f"{index}.pth").write_bytes(data)
        (tmp_path / f"{index}l.pth").write_bytes(MAGIC + MACHINE + data)
    program = """if True:
        import glob, resource, sys
        from gluon_resnet.convert.torch_file import read_torch
        from gluon_resnet.errors import ModelError
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 300_000_000,) * 2)
        for path in sorted(glob.glob(sys.argv[1] + "/*.pth")):
            try:
                read_torch(path)
            except ModelError:
                continue
            sys.exit(path)
    """
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
