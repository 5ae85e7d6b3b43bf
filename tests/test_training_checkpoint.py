"""Parameter files: MXNet's format to the byte, and every damage told in one sentence."""

from __future__ import annotations

import contextlib
import json
import pathlib

import numpy as np
import pytest
from fakes import FakeLoader, tiny_net
from hypothesis import given, settings
from hypothesis import strategies as st

from gluon_resnet._mxnet import mx
from gluon_resnet.errors import ModelError
from gluon_resnet.models.parameters import load_parameters, read_arrays, save_parameters, write_arrays
from gluon_resnet.models.saved import newest_epoch
from gluon_resnet.training.checkpoint import Checkpoints, Position
from gluon_resnet.training.fit import fit
from gluon_resnet.training.schedule import Schedule
from gluon_resnet.training.trainer import Trainer


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("saved") / "net.params"
    tiny_net(norm=True).save_parameters(str(path))
    return path.read_bytes()


def test_files_are_mxnets_to_the_byte(tmp_path, saved):
    save_parameters(tiny_net(norm=True), tmp_path / "ours.params")
    assert (tmp_path / "ours.params").read_bytes() == saved
    arrays = {
        name: np.arange(6).reshape(shape).astype(name)
        for name, shape in {"float32": (6,), "float64": (2, 3), "uint8": (6, 1), "int64": (1, 2, 3)}.items()
    }
    write_arrays(tmp_path / "arrays.params", arrays)
    loaded = mx.nd.load(str(tmp_path / "arrays.params"))
    mx.nd.save(str(tmp_path / "theirs.params"), {n: mx.nd.array(a, dtype=a.dtype) for n, a in arrays.items()})
    assert (tmp_path / "theirs.params").read_bytes() == (tmp_path / "arrays.params").read_bytes()
    ours = read_arrays(tmp_path / "theirs.params")
    for name, array in arrays.items():
        assert loaded[name].dtype == ours[name].dtype == array.dtype
        np.testing.assert_array_equal(loaded[name].asnumpy(), array)
        np.testing.assert_array_equal(ours[name], array)


def test_saved_parameters_load_on_every_device(tmp_path):
    net = tiny_net(norm=True)
    net[0].weight.set_data(mx.nd.ones((8, 3, 3, 3)))
    save_parameters(net, tmp_path / "a.params")
    other = tiny_net([mx.cpu(0), mx.cpu(1)], norm=True)
    load_parameters(other, tmp_path / "a.params")
    for copy in other[0].weight.list_data():
        assert (copy.asnumpy() == 1).all()


def test_running_statistics_are_averaged_over_devices(tmp_path):
    net = tiny_net([mx.cpu(i) for i in range(3)], norm=True)
    for device, copy in enumerate(net[1].running_mean.list_data()):
        copy[:] = device
    save_parameters(net, tmp_path / "a.params")
    assert (read_arrays(tmp_path / "a.params")["1.running_mean"] == 1).all()


def test_truncated_at_any_byte(tmp_path, saved):
    path = tmp_path / "cut.params"
    for size in range(len(saved)):
        path.write_bytes(saved[:size])
        with pytest.raises(ModelError, match=r"cut\.params: expected \d+ bytes of .*, found \d+") as error:
            read_arrays(path)
        assert error.value.path == str(path)
        assert 0 <= error.value.offset <= size


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_damaged_anywhere(tmp_path_factory, saved, data):
    """An error of ours, or arrays: no other exception, and no memory that the file does not have."""
    damaged = bytearray(saved)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(saved) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.params"
    path.write_bytes(damaged)
    with contextlib.suppress(ModelError):
        assert sum(array.nbytes for array in read_arrays(path).values()) <= len(saved)


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n" + bytes(100), bytes(24)])
def test_other_files_are_no_parameters(tmp_path, content):
    (tmp_path / "x.params").write_bytes(content)
    with pytest.raises(ModelError, match=r"x\.params"):
        read_arrays(tmp_path / "x.params")


def test_a_file_of_another_network_names_parameter_and_shapes(tmp_path):
    path = tmp_path / "a.params"
    save_parameters(tiny_net(classes=5), path)
    with pytest.raises(
        ModelError, match=r"a\.params: parameter 3\.weight: expected shape \(4, 8\), found \(5, 8\)"
    ):
        load_parameters(tiny_net(classes=4), path)
    with pytest.raises(ModelError, match=r"parameter 1\.gamma is missing, expected with shape \(8,\)"):
        load_parameters(tiny_net(norm=True), path)
    save_parameters(tiny_net(norm=True), path)
    arrays = {name: array for name, array in read_arrays(path).items() if not name.startswith("1.")}
    arrays["3.weight"], arrays["3.bias"] = arrays.pop("4.weight"), arrays.pop("4.bias")
    write_arrays(path, {**arrays, "9.weight": np.zeros(3, "float32")})
    with pytest.raises(ModelError, match=r"parameter 9\.weight .* does not belong to this network"):
        load_parameters(tiny_net(), path)


@pytest.fixture
def finished(tmp_path) -> str:
    """The prefix of a run of two epochs."""
    prefix = str(tmp_path / "run[1]")  # brackets mean something to glob
    trainer = Trainer(tiny_net(), [mx.cpu()], 4)
    assert fit(trainer, FakeLoader(), None, 10, Schedule(0.1), checkpoints=Checkpoints(prefix, {}))
    return prefix


def resume(prefix):
    return Checkpoints(prefix, {}).resume(Trainer(tiny_net(), [mx.cpu()], 4))


def test_nothing_to_resume(tmp_path):
    assert resume(str(tmp_path / "none")) is None
    assert newest_epoch(tmp_path / "none") is None


def test_a_run_knows_its_files(finished):
    checkpoints = Checkpoints(finished, {})
    assert resume(finished) == Position(epoch=2, iteration=10)
    assert newest_epoch(finished) == 2
    assert checkpoints.unfinished(11)
    assert not checkpoints.unfinished(10)
    states = list(pathlib.Path(finished).parent.glob("*-resume-*.params"))
    assert [state.name for state in states] == ["run[1]-resume-00000010.params"]


@pytest.mark.parametrize("damage", ["cut", "changed", "missing"])
def test_damaged_arrays_are_refused_with_a_way_on(finished, damage):
    path = pathlib.Path(f"{finished}-resume-00000010.params")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(content if damage == "changed" else content[:-20])
    with pytest.raises(ModelError, match=r"resume-00000010\.params cannot be resumed.*--load-epoch 2"):
        resume(finished)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "[]",
        lambda text: "null",
        lambda text: text.replace("resume 2", "resume 9"),
        lambda text: text.replace('"iteration": 10', '"iteration": "ten"'),
        lambda text: text.replace('"iteration": 10', '"iteration": -1'),
        lambda text: text.replace('"iteration"', '"another"'),
        lambda text: text.replace('"arrays"', '"another"'),
        lambda text: text.replace('"sums": {', '"sums": 3, "more": {'),
        lambda text: text.replace('"reductions": 0', '"reductions": null'),
        lambda text: text.replace('"bad_epochs"', '"another"'),
    ],
)
def test_a_damaged_resume_file_is_refused_with_a_way_on(finished, change):
    path = pathlib.Path(f"{finished}-resume.json")
    text = json.dumps(json.loads(path.read_text()))
    assert change(text) != text
    path.write_text(change(text))
    with pytest.raises(ModelError, match=r"resume\.json cannot be resumed from: .*--load-epoch 2"):
        resume(finished)
