"""PyTorch's files that are damaged or hostile: refused by name, and nothing in them is run."""

from __future__ import annotations

import io
import json
import os
import pathlib
import pickle
import re
import struct
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Callable

import numpy as np
import pytest

from gluon_resnet.convert.torch_file import read_torch
from gluon_resnet.errors import ModelError
from tests.support.paths import ROOT
from tests.support.torch_files import FORMATS, refused, save

torch = pytest.importorskip("torch")

MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03."
MACHINE = pickle.dumps({"protocol_version": 1001, "little_endian": True, "type_sizes": {}}, protocol=2)


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
    "call without arguments": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.",
    "call with too many": b"\x80\x02ccollections\nOrderedDict\n(NNtR.",
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


def test_what_a_message_shows_is_bounded_and_of_letters(tmp_path: pathlib.Path) -> None:
    """A tuple of two tuples of two ... has 2^200 elements, and a name may be a command for the terminal."""
    bomb = b"N\x85q\0" + b"h\0h\0\x86q\0" * 200
    data = legacy(integer(0) + bomb + bomb)
    assert len(refused(tmp_path / "a.pth", data)) < 500
    state = b"\x80\x02}X\x05\0\0\0\x1b[31mc\x1b[31m\nx\ns."
    assert refused(tmp_path / "a.pth", MAGIC + MACHINE + state).startswith(
        "this file would run code: \\u001b[31m.x"
    )


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


# What no writer makes, beside the hostile pickles; with why it is refused.
BOMBS: dict[str, tuple[Callable[[], bytes], str]] = {
    "tuples of tuples.th": (
        lambda: legacy(integer(0) + 2 * (b"(N\x85q\0" + b"h\0h\0\x86q\0" * 30 + b"t")),
        "impossible tensor: offset 0, shape",
    ),
    "too many values.pth": (
        lambda: zipped({"a/data.pkl": b"\x80\x02}.", "a/data/0": b""}, {"a/data.pkl": 1 << 40}),
        "larger than the file",
    ),
    "members that grow.pth": (lambda: zipped({"a/data.pkl": bytes(40 << 20)}), "more than 16 times larger"),
    "many members.pth": (lambda: zipped({f"b/{i}": b"" for i in range(20_000)}), "has no data.pkl"),
    "a long number.pth": (
        lambda: b"\x80\x02\x8b" + struct.pack("<i", 4_000_000) + bytes(4_000_000) + b".",
        "LONG4",
    ),
    "a longer name.pth": (
        lambda: b"\x80\x02cposix\n" + b"x" * 4_000_000 + b"\n.",
        "would run code: posix.xxx",
    ),
    "long keys.pth": (
        lambda: (
            MAGIC
            + MACHINE
            + b"\x80\x02}X"
            + struct.pack("<i", 4_000_000)
            + b"k" * 4_000_000
            + b"Ns."
            + pickle.dumps([], 2)
        ),
        "found something else as 'kkk",
    ),
    "networks around.safetensors": (
        lambda: tensors({"module." * 140_000 + "a": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}}),
        "has tensors like module.",
    ),
    "heads.safetensors": (
        lambda: tensors(
            {
                "a" * i + "dense0_weight": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
                for i in range(1, 2000)
            }
        ),
        "has tensors like",
    ),
    "40 dimensions.safetensors": (
        lambda: tensors({"a": {"dtype": "F32", "shape": [0] * 40, "data_offsets": [0, 0]}}),
        r"tensor a: impossible shape \[0, 0, 0, 0, 0, 0, 0, 0, \.\.\.\]",
    ),
    "huge.safetensors": (
        lambda: tensors({"a": {"dtype": "F32", "shape": [0, 1 << 62, 1 << 62], "data_offsets": [0, 0]}}),
        "tensor a: impossible shape",
    ),
    "long header.safetensors": (lambda: struct.pack("<Q", 1 << 60) + b"{}", "not a whole safetensors"),
    "nested.safetensors": (lambda: struct.pack("<Q", 300_000) + b'{"a":' * 60_000, "not a whole safetensors"),
    "overlap.safetensors": (
        lambda: tensors({n: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} for n in "ab"}, bytes(4)),
        "not a whole safetensors",
    ),
    "surrogate.safetensors": (
        lambda: (
            struct.pack("<Q", 60) + b'{"\\ud800":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}'.ljust(60)
        ),
        "not a whole safetensors",
    ),
    "escape.safetensors": (
        lambda: tensors({"\x1b[31m\n": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}}),
        r"has tensors like \\u001b\[31m\\n",
    ),
}


def tensors(header: dict[str, Any], values: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + values


def zipped(members: dict[str, bytes], sizes: Mapping[str, int] = MappingProxyType({})) -> bytes:
    """A deflated archive; `sizes` are what its directory says instead."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        for information in archive.infolist():
            information.file_size = sizes.get(information.filename, information.file_size)
    return stream.getvalue()


def test_a_small_file_costs_little(tmp_path: pathlib.Path) -> None:
    """At most 50 MB beside eight times its own length; and it is refused in a sentence."""
    longest = 0
    for number, (name, (make, _)) in enumerate(BOMBS.items()):
        data = make()
        longest = max(longest, len(data))
        (tmp_path / f"{number:02d} {name}").write_bytes(data)
    files = sorted(os.listdir(tmp_path))
    program = """if True:
        import json, resource, sys
        from gluon_resnet.cli.convert import main
        from gluon_resnet.errors import ModelError
        peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
        options = ["--network", "resnet8", "--rgb-mean", "1,1,1", "--rgb-std", "1,1,1", "--model-prefix", "out"]
        before = None
        for name in [sys.argv[-1], *sys.argv[1:]]:  # the first time something is loaded
            try:
                main([name, *options])
            except ModelError as error:
                before = before or peak()
                print(json.dumps([name, str(error)[:2000], peak() - before]))
    """
    command = [sys.executable, "-c", program, *files]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=True, timeout=600, cwd=tmp_path, env=env
    )
    _, *seen = map(json.loads, done.stdout.splitlines())
    assert [name for name, _, _ in seen] == files
    for (name, said, rise), (_, expected) in zip(seen, BOMBS.values()):
        assert re.search(expected, said), name
        assert said.isprintable(), name
        assert len(said) < 1000, name
        assert rise < (50 << 20) + 8 * longest, name
    assert sorted(os.listdir(tmp_path)) == files
