"""Parameter files: MXNet's format to the byte, and every damage told in one sentence."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pathlib
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gluon_resnet._mxnet import mx
from gluon_resnet.errors import GluonResnetError, ModelError, UsageError
from gluon_resnet.models.parameters import load_parameters, read_arrays, save_parameters, write_arrays
from gluon_resnet.models.saved import chosen_epoch, newest_epoch, parameters_path
from gluon_resnet.training.checkpoints.background import BackgroundWriter
from gluon_resnet.training.checkpoints.checkpoint import Checkpoints
from gluon_resnet.training.fit import fit
from gluon_resnet.training.metrics import Sums
from gluon_resnet.training.position import Position
from gluon_resnet.training.schedule import Schedule
from gluon_resnet.training.trainer import Trainer
from tests.support.fakes import FakeLoader, random_batch, tiny_net


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


def go_on(prefix, **options) -> bool:
    """Go on with the run of two epochs at `prefix`, or begin it."""
    trainer = Trainer(tiny_net(), [mx.cpu()], 4)
    checkpoints = Checkpoints(prefix, {}, **options)
    position = checkpoints.resume(trainer) or Position()
    return fit(
        trainer,
        FakeLoader(),
        [random_batch(8)],
        10,
        Schedule(0.1),
        position=position,
        checkpoints=checkpoints,
    )


@pytest.fixture(params=[1, 2], ids=["one state", "two states"])
def finished(request, tmp_path) -> tuple[str, str]:
    """The prefix of a run with so many states, and how an error is to say what to do if the last one is damaged."""
    prefix = str(tmp_path / "run[1]")  # brackets mean something to glob
    assert go_on(prefix, keep=request.param)
    if request.param == 1:
        return prefix, r"remove .*resume\.json and continue with --load-epoch 2, without --resume$"
    return (
        prefix,
        r"remove .*-00000010\.json, and --resume continues from the state before it, of iteration 5$",
    )


def resume(prefix):
    return Checkpoints(prefix, {}).resume(Trainer(tiny_net(), [mx.cpu()], 4))


def test_nothing_to_resume(tmp_path):
    assert resume(str(tmp_path / "none")) is None
    assert newest_epoch(tmp_path / "none") is None


def test_a_run_knows_its_files(finished):
    prefix = finished[0]
    checkpoints = Checkpoints(prefix, {})
    position = resume(prefix)
    assert (position.epoch, position.batch, position.iteration) == (2, 0, 10)
    assert newest_epoch(prefix) == 2
    assert checkpoints.unfinished(11)
    assert not checkpoints.unfinished(10)


@pytest.mark.parametrize(("keep", "every", "kept"), [(1, 0, [10]), (2, 0, [5, 10]), (3, 2, [6, 8, 10])])
def test_so_many_states_are_kept(tmp_path, monkeypatch, keep, every, kept):
    monkeypatch.setattr(BackgroundWriter, "busy", False)  # so that none is left out
    assert go_on(str(tmp_path / "a"), keep=keep, save_every=every)
    for suffix in ("json", "params"):
        names = sorted(path.name for path in tmp_path.glob(f"a-resume-0*.{suffix}"))
        assert names == [f"a-resume-{iteration:08d}.{suffix}" for iteration in kept]
    assert os.readlink(tmp_path / "a-resume.json") == "a-resume-00000010.json"


def test_what_another_run_left_under_this_name_is_gone(tmp_path):
    """Also what kills left in the middle of a write; other files stay."""
    prefix = str(tmp_path / "a")
    assert go_on(prefix, keep=5, save_every=1)
    left = (
        ".a-resume-00000003.params.x.tmp",
        "..a-resume-00000003.params.x.tmp.y.tmp",
        ".a-0002.params.x.tmp",
        "a-resume.json.17.tmp",
        "a-last.params.17.tmp",
    )
    others = ("a-resume-1.json", "b-resume-00000003.json", ".a-log.jsonl.x.tmp", "a-resume-00000003.txt")
    for name in (*left, *others):
        (tmp_path / name).touch()
    assert fit(
        Trainer(tiny_net(), [mx.cpu()], 4),
        FakeLoader(),
        None,
        4,
        Schedule(0.1),
        checkpoints=Checkpoints(prefix, {}, keep=5, save_every=3),
    )
    states = sorted(path.name for path in tmp_path.glob("a-resume-0*.json"))
    assert states == ["a-resume-00000003.json", "a-resume-00000004.json"]
    assert not any((tmp_path / name).exists() for name in left)
    assert all((tmp_path / name).exists() for name in others)


def test_links_to_the_best_and_the_last_network(tmp_path, monkeypatch):
    """The best is kept also where the period leaves it out, until there is a better one."""
    right = iter([3, 5, 4, 5, 8, 2])
    monkeypatch.setattr(
        Trainer, "evaluate", lambda self, batches, confusion: list(batches) and Sums(1.0, next(right), 8, 8)
    )
    seen = []

    class Noting(Checkpoints):
        def validated(self, trainer, position):
            super().validated(trainer, position)
            self.flush()
            networks = sorted(path.name[2:6] for path in tmp_path.glob("a-0*.params"))
            seen.append(
                (networks, *(os.readlink(f"{self.prefix}-{n}.params")[2:6] for n in ("best", "last")))
            )

    checkpoints = Noting(str(tmp_path / "a"), {}, save_period=3)
    net = Trainer(tiny_net(), [mx.cpu()], 4)
    assert fit(net, FakeLoader(), [random_batch(8)], 30, Schedule(0.1), checkpoints=checkpoints)
    assert seen == [
        (["0001"], "0001", "0001"),
        (["0002"], "0002", "0002"),
        (["0002", "0003"], "0002", "0003"),
        (["0002", "0003"], "0002", "0003"),  # as good is not better
        (["0003", "0005"], "0005", "0005"),
        (["0003", "0005", "0006"], "0005", "0006"),
    ]
    assert [chosen_epoch(tmp_path / "a", wanted) for wanted in ("best", None, 3)] == [5, 6, 3]
    os.remove(tmp_path / "a-best.params")
    with pytest.raises(
        UsageError, match=r"there is no link .*a-best\.params, which training with validation"
    ):
        chosen_epoch(tmp_path / "a", "best")


def test_the_best_network_is_none_that_another_run_left_under_this_name(tmp_path):
    """The first epoch is the best one of both, and the second run saves after every other epoch."""
    old = parameters_path(str(tmp_path / "a"), 1)
    networks = []
    for lr, save_period in ((0.1, 1), (0.2, 2)):
        trainer = Trainer(tiny_net(), [mx.cpu()], 4)
        trainer.evaluate = lambda batches, confusion: Sums(1.0, 4, 8, 8)
        checkpoints = Checkpoints(str(tmp_path / "a"), {}, save_period=save_period)
        assert fit(trainer, FakeLoader(), [], 10, Schedule(lr), checkpoints=checkpoints)
        assert chosen_epoch(tmp_path / "a", "best") == 1
        networks.append(pathlib.Path(old).read_bytes())
    assert networks[0] != networks[1]


@pytest.mark.parametrize("damage", ["cut", "changed", "missing"])
def test_damaged_arrays_are_refused_with_a_way_on(finished, damage):
    prefix, way_on = finished
    path = pathlib.Path(f"{prefix}-resume-00000010.params")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(content if damage == "changed" else content[:-20])
    with pytest.raises(ModelError, match=rf"-00000010\.params cannot be resumed from: it.* is .*; {way_on}"):
        resume(prefix)


def test_the_way_on_leads_to_the_same_bits(tmp_path):
    prefix = str(tmp_path / "a")
    assert go_on(prefix, keep=3)
    whole = pathlib.Path(f"{prefix}-resume-00000010.params").read_bytes()
    pathlib.Path(f"{prefix}-resume-00000010.params").write_bytes(b"")
    pathlib.Path(f"{prefix}-resume-00000010.json").unlink()
    assert resume(prefix).iteration == 5
    assert go_on(prefix)
    assert pathlib.Path(f"{prefix}-resume-00000010.params").read_bytes() == whole


def test_a_copy_in_place_of_the_link_is_as_good(tmp_path, monkeypatch):
    """On file systems without symbolic links, and where a folder was copied without them."""

    def refused(*arguments, **options):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "symlink", refused)
    prefix = str(tmp_path / "a")
    assert go_on(prefix)
    assert not os.path.islink(f"{prefix}-resume.json")
    assert resume(prefix).iteration == 10
    networks = [pathlib.Path(f"{prefix}-{name}.params").read_bytes() for name in ("0002", "last")]
    assert networks[0] == networks[1]
    pathlib.Path(f"{prefix}-resume-00000010.params").write_bytes(b"")
    way_on = r"remove .*-00000010\.json, and --resume continues from the state before it, of iteration 5$"
    with pytest.raises(ModelError, match=way_on):
        resume(prefix)
    pathlib.Path(f"{prefix}-resume-00000010.json").unlink()
    pathlib.Path(f"{prefix}-resume.json").unlink()
    assert resume(prefix).iteration == 5


@pytest.mark.parametrize("link", ["none", "nowhere", "itself"])
def test_a_link_that_was_lost_costs_no_state(tmp_path, link):
    """As where rsync leaves links out. A run that begins anew, without --resume, is not held up by them."""
    prefix = str(tmp_path / "a")
    assert go_on(prefix)
    path = pathlib.Path(f"{prefix}-resume.json")
    path.unlink()
    if link != "none":
        path.symlink_to({"nowhere": "nowhere", "itself": path.name}[link])
    assert resume(prefix).iteration == 10
    assert Checkpoints(prefix, {}).unfinished(11) == (link != "none")


@pytest.mark.parametrize(
    ("module", "function", "kept"),
    [
        ("states", "write_arrays", 6),
        ("checkpoint", "write_arrays", 10),  # the network, which comes behind the state
        ("states", "temporary_name", 6),
        ("states", "asdict", 6),
    ],
)
def test_a_full_disk_is_told_and_training_goes_on(tmp_path, monkeypatch, module, function, kept):
    """The states before stay; with the last one missing the run does not end as if all were well."""
    prefix, told, steps = str(tmp_path / "a"), [], []
    trainer = Trainer(tiny_net(), [mx.cpu()], 4)
    checkpoints = Checkpoints(prefix, {}, save_every=2, warn=told.append)
    original = getattr(sys.modules[f"gluon_resnet.training.checkpoints.{module}"], function)
    step = trainer.step

    def full(*arguments):
        if len(steps) > 6:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return original(*arguments)

    def counted(*arguments):
        checkpoints._writer.flush()  # so that none is left out
        step(*arguments)
        steps.append(None)

    monkeypatch.setattr(trainer, "step", counted)
    with monkeypatch.context() as patch:
        patch.setattr(f"gluon_resnet.training.checkpoints.{module}.{function}", full)
        with pytest.raises(
            GluonResnetError, match=rf"not be written .*No space.* of iteration {kept} is kept"
        ):
            fit(trainer, FakeLoader(), None, 10, Schedule(0.1), checkpoints=checkpoints)
    assert len(steps) == 10
    assert told
    assert all("No space left on device" in line and f"iteration {kept} is kept" in line for line in told)
    assert not list(tmp_path.glob(".*tmp"))
    assert resume(prefix).iteration == kept
    assert go_on(prefix)  # once there is room
    assert go_on(str(tmp_path / "whole"))
    for name in ("resume-00000010", "0002"):
        ends = [pathlib.Path(f"{p}-{name}.params").read_bytes() for p in (prefix, tmp_path / "whole")]
        assert ends[0] == ends[1]


def test_no_network_is_there_before_a_state_of_its_epoch(tmp_path, monkeypatch):
    """Else a run that is killed between them could neither go on, nor begin anew."""
    names, replace = [], os.replace

    def noted(old, new):
        names.append(os.path.basename(new))
        replace(old, new)

    monkeypatch.setattr(os, "replace", noted)
    assert go_on(str(tmp_path / "a"))
    assert names.index("a-resume-00000005.json") < names.index("a-0001.params")
    assert names.index("a-resume-00000010.json") < names.index("a-0002.params")


@pytest.mark.parametrize("validated", [True, False])
def test_a_network_that_was_not_written_with_its_state_is_written_when_the_run_goes_on(
    tmp_path, monkeypatch, validated
):
    """Killed between the two files: the state says whether the epoch's validation is done."""
    prefix = str(tmp_path / "a")
    assert go_on(prefix)
    network, state = (pathlib.Path(f"{prefix}-{name}") for name in ("0002.params", "resume.json"))
    expected = network.read_bytes()
    network.unlink()
    if not validated:
        content = json.loads(state.read_text())
        content["position"].update(epoch=1, batch=5, trained=True, seconds=1.0)
        state.resolve().write_text(json.dumps(content))
    assert go_on(prefix)
    assert network.read_bytes() == expected
    assert os.readlink(f"{prefix}-last.params") == network.name


def test_a_slow_disk_does_not_hold_training_up(tmp_path, monkeypatch):
    """A state within an epoch is left out while an earlier one is being written; one after an epoch is not."""
    told, gate = [], threading.Event()

    def slow(*arguments):
        assert gate.wait(600)
        return write_arrays(*arguments)

    monkeypatch.setattr("gluon_resnet.training.checkpoints.states.write_arrays", slow)
    trainer = Trainer(tiny_net(), [mx.cpu()], 4)
    step, count = trainer.step, iter(range(1, 100))

    def opening(*arguments):
        step(*arguments)
        if next(count) == 5:  # all of the first epoch was trained on while the first state was being written
            gate.set()

    monkeypatch.setattr(trainer, "step", opening)
    checkpoints = Checkpoints(str(tmp_path / "a"), {}, save_every=1, keep=9, warn=told.append)
    assert fit(trainer, FakeLoader(), None, 5, Schedule(0.1), checkpoints=checkpoints)
    assert [line.partition(" is not")[0] for line in told] == [
        f"the state of iteration {n}" for n in (2, 3, 4)
    ]
    assert [path.name[9:17] for path in sorted(tmp_path.glob("a-resume-*.params"))] == [
        "00000001",
        "00000005",
    ]


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "[]",
        lambda text: "null",
        lambda text: "[" * 100_000,
        lambda text: text.replace("resume 3", "resume 9"),
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
    prefix, way_on = finished
    path = pathlib.Path(f"{prefix}-resume.json")
    text = json.dumps(json.loads(path.read_text()))
    assert change(text) != text
    path.write_text(change(text))
    with pytest.raises(ModelError, match=rf"-00000010\.json cannot be resumed from: .*; {way_on}"):
        resume(prefix)
