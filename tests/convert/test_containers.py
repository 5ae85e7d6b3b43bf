"""The weights as people have them: beside optimizers and options, behind prefixes, averaged, packed again."""

from __future__ import annotations

import argparse
import collections
import os
import pathlib
import pickle
import zipfile
from typing import Any, Callable

import numpy as np
import pytest
from safetensors.numpy import load_file

from gluon_resnet.cli.convert import main
from gluon_resnet.convert import Weights, import_weights
from gluon_resnet.convert.torch_file import read_torch
from gluon_resnet.errors import UsageError
from tests.support.foreign import STATISTICS, akamaster_file
from tests.support.torch_files import FORMATS, refused, save

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return akamaster_file(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def state(source: pathlib.Path) -> dict[str, Any]:
    """The state_dict of a ResNet-20 in PyTorch."""
    return {name: torch.from_numpy(array.copy()) for name, array in load_file(source).items()}


@pytest.fixture(scope="module")
def expected(source: pathlib.Path) -> dict[str, np.ndarray]:
    return import_weights(source, "resnet20").arrays


def averaged(state: dict[str, Any]) -> dict[str, Any]:
    """What AveragedModel saves of a network in DataParallel: other weights, and how many it has seen."""
    result = {
        f"module.module.{name}": tensor + 1 if tensor.is_floating_point() else tensor
        for name, tensor in state.items()
    }
    return {"n_averaged": torch.tensor(7), **result}


def assert_same(found: Weights, expected: dict[str, np.ndarray], more: int = 0) -> None:
    assert list(found.arrays) == list(expected)
    for name, array in expected.items():
        assert np.array_equal(found.arrays[name], array + np.float32(more)), name


def imported(path: pathlib.Path, **options: Any) -> tuple[Weights, list[str]]:
    told: list[str] = []
    return import_weights(path, "resnet20", tell=told.append, **options), told


@pytest.mark.parametrize(
    "key",
    ["model", "net", "model_state_dict", "model_state", "state_dict", "weights", "model_ema", "student"],
)
def test_the_only_dict_of_tensors_is_taken_whatever_its_name(
    tmp_path: pathlib.Path, state: dict[str, Any], expected: dict[str, np.ndarray], key: str
) -> None:
    save({"epoch": 3, key: state, "best": [0.5]}, tmp_path / "a.pth")
    found, told = imported(tmp_path / "a.pth")
    assert_same(found, expected)
    assert told == []


@pytest.mark.parametrize(
    "prefix",
    ["_orig_mod.", "model.", "backbone.", "module.module.", "module._orig_mod.", "model.net.backbone."],
)
def test_the_names_of_networks_around_the_network_are_left_out(
    tmp_path: pathlib.Path, state: dict[str, Any], expected: dict[str, np.ndarray], prefix: str
) -> None:
    save({f"{prefix}{name}": tensor for name, tensor in state.items()}, tmp_path / "a.pth")
    assert_same(imported(tmp_path / "a.pth")[0], expected)


def training_options(folder: pathlib.Path) -> argparse.Namespace:
    return argparse.Namespace(
        lr=0.1,
        milestones=[30, 60],
        device=torch.device("cpu"),
        dtype=torch.float32,
        size=torch.Size([3, 2]),
        output=folder,
        seen={"a", "b"},
        nested=argparse.Namespace(amp=True),
        best=np.float64(0.5),
    )


@FORMATS
@pytest.mark.parametrize("raw", ["model", "state_dict"])  # torchvision's references, and timm
def test_a_checkpoint_of_a_training_script_gives_its_network_and_says_how_to_get_the_average(
    tmp_path: pathlib.Path, state: dict[str, Any], expected: dict[str, np.ndarray], is_zip: bool, raw: str
) -> None:
    ema = {"model": "model_ema", "state_dict": "state_dict_ema"}[raw]
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([weight], 0.1, momentum=0.9)
    weight.sum().backward()
    optimizer.step()
    content = {
        raw: state,
        "optimizer": optimizer.state_dict(),
        "lr_scheduler": torch.optim.lr_scheduler.MultiStepLR(optimizer, [30, 60]).state_dict(),
        "scaler": {},
        "epoch": 3,
        "args": training_options(tmp_path),
        "history": collections.defaultdict(list, {"loss": [1.0, 0.5]}),
        "metric": np.float64(76.1),
        ema: averaged(state),
    }
    path = tmp_path / "checkpoint.pth"
    save(content, path, is_zip)
    found, told = imported(path)
    assert_same(found, expected)
    assert told == [f"{path}: the weights of '{raw}' are used; --weights {ema} would use the moving average"]
    found, told = imported(path, entry=ema)
    assert found.arrays["1.output.bias"].tolist() == (expected["1.output.bias"] + np.float32(1)).tolist()
    assert told == []
    with pytest.raises(UsageError, match=f"no weights called 'optimizer' .*; it has '{raw}', '{ema}'"):
        imported(path, entry="optimizer")


def test_the_tool_says_which_weights_it_took(
    tmp_path: pathlib.Path,
    source: pathlib.Path,
    state: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = str(tmp_path / "a.pth")
    save({"model": state, "model_ema": averaged(state), "args": argparse.Namespace(lr=1)}, tmp_path / "a.pth")
    argv = ["--network", "resnet20", "--model-prefix", str(tmp_path / "net"), *STATISTICS]
    main([path, *argv])
    assert f"{path}: the weights of 'model' are used; --weights model_ema" in capsys.readouterr().err
    main([path, *argv, "--weights", "model_ema"])
    assert "--weights" not in capsys.readouterr().err
    with pytest.raises(UsageError, match="is not a PyTorch file and has no entries: omit --weights model"):
        main([str(source), *argv, "--weights", "model"])
    with pytest.raises(UsageError, match="--weights cannot be used with --to"):
        main([path, "--to", "akamaster", "--weights", "model", "--model-prefix", str(tmp_path / "net")])


def test_several_dicts_that_nobody_knows_are_named_and_none_is_taken(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.pth"
    save({"one": {"a": torch.ones(1)}, "two": {"a": torch.zeros(1)}}, path)
    message = refused(path, path.read_bytes())
    assert message == "expected one dict of tensors, found 'one', 'two': choose with --weights"
    assert read_torch(path, "two")["a"].tolist() == [0]
    save({"model": {"state_dict": {"a": torch.ones(1)}, "epoch": 3}}, path)
    assert read_torch(path)["a"].tolist() == [1]


class Options:
    """Pickled as an argparse.Namespace with something in it."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __reduce__(self) -> tuple[Any, ...]:
        return argparse.Namespace, (), {"value": self.value}


class Malice:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch HACKED",)


@FORMATS
def test_nothing_in_the_options_is_run_and_options_are_no_weights(
    tmp_path: pathlib.Path, is_zip: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.pth"
    save({"model": {"a": torch.ones(2)}, "args": Options(Malice())}, path, is_zip)
    assert "would run code: posix.system" in refused(path, path.read_bytes())
    save({"a": torch.ones(2), "args": Options(1)}, path, is_zip)
    assert "found something else as 'args'" in refused(path, path.read_bytes())
    save(Options({"a": torch.ones(2)}), path, is_zip)
    assert "expected a dict of tensors, found an object of another kind" in refused(path, path.read_bytes())
    assert os.listdir(tmp_path) == ["a.pth"]


NAMESPACE = b"cargparse\nNamespace\n"


IMPOSSIBLE = {
    "object of a storage": b"ctorch\nFloatStorage\n)\x81.",
    "object of a dict": b"ccollections\nOrderedDict\n)\x81.",
    "object with no arguments": NAMESPACE + b"N\x81.",
    "items of a dict": b"}(N\x90.",
    "many options": NAMESPACE + b"(NtR" * 300_000 + b".",
    "dict with items": b"ccollections\ndefaultdict\nNX\x01\0\0\0a\x86R.",
    "dict with more": b"ccollections\ndefaultdict\n(NNNtR.",
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_objects_that_cannot_be_made_are_refused(tmp_path: pathlib.Path, name: str) -> None:
    magic = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2)
    machine = pickle.dumps({"little_endian": True}, 2)
    refused(tmp_path / "a.pth", magic + machine + b"\x80\x02" + IMPOSSIBLE[name])


def test_a_dict_that_is_there_many_times_is_looked_at_once(tmp_path: pathlib.Path) -> None:
    """60,000 names of a dict of 60,000 names of one tensor: looking at all of them would take hours."""
    many = 60_000
    tensor = torch.ones(1)
    state = {str(number): tensor for number in range(many)}
    state[str(many)] = "no tensor"
    path = tmp_path / "a.pth"
    save({f"model{number}": state for number in range(many)}, path)
    assert "found something else as 'model0'" in refused(path, path.read_bytes())


def packed_again(path: pathlib.Path, compression: int) -> bytes:
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(path.with_suffix(".zip"), "w", compression) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    return path.with_suffix(".zip").read_bytes()


def test_an_archive_that_was_packed_again_is_read(
    tmp_path: pathlib.Path, state: dict[str, Any], expected: dict[str, np.ndarray]
) -> None:
    save(state, tmp_path / "a.pth")
    (tmp_path / "b.pth").write_bytes(packed_again(tmp_path / "a.pth", zipfile.ZIP_DEFLATED))
    assert_same(imported(tmp_path / "b.pth")[0], expected)
    message = refused(tmp_path / "c.pth", packed_again(tmp_path / "a.pth", zipfile.ZIP_BZIP2))
    assert "in the archive is not compressed with deflate" in message


def lie(old: int, new: int) -> Callable[[bytes], bytes]:
    return lambda data: data.replace(old.to_bytes(4, "little"), new.to_bytes(4, "little"))


def test_an_archive_that_unpacks_to_much_more_is_refused_before_it_is_unpacked(
    tmp_path: pathlib.Path,
) -> None:
    save({"a": torch.zeros(10_000_019)}, tmp_path / "a.pth")
    data = packed_again(tmp_path / "a.pth", zipfile.ZIP_DEFLATED)
    assert "more than 16 times larger than the file" in refused(tmp_path / "b.pth", data)
    # One that says that it is small is unpacked as far as it says.
    assert "zip archive" in refused(tmp_path / "b.pth", lie(40_000_076, 4)(data))
    for place in range(100, len(data), 997):
        damaged = bytearray(data)
        damaged[place] ^= 0x55
        refused(tmp_path / "b.pth", bytes(damaged))
