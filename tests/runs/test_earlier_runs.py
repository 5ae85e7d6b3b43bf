"""What lies under a prefix and is of another run: it is moved or named, and never taken for this run's."""

from __future__ import annotations

import json
import pathlib
import shutil
from dataclasses import replace

import pytest

from gluon_resnet.card import ModelCard
from gluon_resnet.cli import evaluate, export
from gluon_resnet.cli.train import main
from gluon_resnet.errors import UsageError
from gluon_resnet.files import sha256
from gluon_resnet.models.earlier import move_aside
from gluon_resnet.models.saved import chosen_epoch, load_network, newest_epoch, saved_epochs
from gluon_resnet.provenance import Exported, Source
from tests.support.small_training import CLASSES, pack, training_options


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> list[str]:
    return training_options(tmp_path_factory.mktemp("records"))


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory) -> pathlib.Path:
    """The folder of a run `a` of three epochs."""
    folder = tmp_path_factory.mktemp("trained")
    assert main([*data, "--num-epochs", "3", "--model-prefix", str(folder / "a")]) is None
    return folder


@pytest.fixture
def prefix(trained, tmp_path) -> str:
    """Of a copy of this run, to be changed."""
    shutil.copytree(trained, tmp_path / "run", symlinks=True)
    return str(tmp_path / "run" / "a")


def test_a_shorter_run_of_another_network_is_what_is_tested_and_exported(data, prefix, tmp_path, capsys):
    """Both have the same parameters: the weights of one would load into the other."""
    earlier = pathlib.Path(f"{prefix}-earlier-1")
    assert main([*data, "--network", "plain", "--num-epochs", "2", "--model-prefix", prefix]) is None
    assert (
        f"an earlier run (3 networks, 2 states), which has been moved: it is now --model-prefix {earlier}/a"
        in (capsys.readouterr().err)
    )
    assert export.main(["--model-prefix", prefix, "--output", str(tmp_path / "out")]) is None
    assert "exported epoch 2" in capsys.readouterr().out
    assert (saved_epochs(prefix), chosen_epoch(prefix), ModelCard.load(f"{prefix}-model.json").network) == (
        [1, 2],
        2,
        "plain8",
    )
    # The earlier one is whole: it can be tested, and gone on with.
    card, _ = load_network(earlier / "a", 3)
    assert (card.network, card.epoch, chosen_epoch(earlier / "a")) == ("resnet8", 3, 3)
    assert chosen_epoch(earlier / "a", "best") in (1, 2, 3)
    assert (earlier / "a-log.jsonl").exists()
    assert main([*data, "--num-epochs", "3", "--model-prefix", str(earlier / "a"), "--resume"]) is None
    assert "all 3 epochs are already done" in capsys.readouterr().out


def test_a_run_from_an_earlier_epoch_leaves_the_later_ones_out(data, prefix, capsys):
    first = pathlib.Path(f"{prefix}-0001.params").read_bytes()
    assert main([*data, "--load-epoch", "1", "--num-epochs", "2", "--model-prefix", prefix]) is None
    assert (
        "an earlier run (2 networks, 2 states), which has been moved, except for epochs up to 1: it is"
        in capsys.readouterr().err
    )
    assert (saved_epochs(prefix), chosen_epoch(prefix)) == ([1, 2], 2)
    assert ModelCard.load(f"{prefix}-model.json").epoch == 2
    assert pathlib.Path(f"{prefix}-0001.params").read_bytes() == first
    earlier = f"{prefix}-earlier-1/a"
    assert (saved_epochs(earlier), ModelCard.load(f"{earlier}-model.json").epoch) == ([2, 3], 3)
    assert len(pathlib.Path(f"{earlier}-log.jsonl").read_text().splitlines()) == 3


def test_a_file_that_was_copied_there_is_named_and_not_taken(data, prefix, capsys):
    shutil.copy(f"{prefix}-0001.params", f"{prefix}-0007.params")
    said = f"{prefix}-0007.params is not of the network of {prefix}-model.json, which has been trained for 3 epochs"
    options = ["--model-prefix", prefix, "--data-val", data[-1], "--update-card"]
    assert evaluate.main(options) is None
    assert f"note: {said}: left out\n" in capsys.readouterr().err
    assert {error.epoch for error in ModelCard.load(f"{prefix}-model.json").errors} <= {1, 2, 3}
    assert newest_epoch(prefix) == 3
    assert chosen_epoch(prefix, 7) == 7  # as was asked
    assert f"note: {said}\n" in capsys.readouterr().err
    with pytest.raises(UsageError, match=r"--update-card would put errors of epoch 7 into .*a-model\.json"):
        evaluate.main([*options, "--epoch", "7"])
    for epoch in (1, 2, 3):
        pathlib.Path(f"{prefix}-{epoch:04d}.params").unlink()
    with pytest.raises(UsageError, match=r"a-0007\.params is not of .*: give --epoch 7 if that is"):
        chosen_epoch(prefix)
    pathlib.Path(f"{prefix}-model.json").unlink()  # copied by hand, without it
    assert chosen_epoch(prefix) == 7


def test_the_best_of_another_run_is_refused(prefix):
    shutil.copy(f"{prefix}-0001.params", f"{prefix}-0007.params")
    best = pathlib.Path(f"{prefix}-best.params")
    best.unlink()
    best.symlink_to("a-0007.params")
    with pytest.raises(
        UsageError, match=r"a-best\.params does not belong to this run: .*a-0007\.params is not of"
    ):
        chosen_epoch(prefix, "best")


def test_exported_and_converted_networks_are_epoch_0(prefix):
    card, path = ModelCard.load(f"{prefix}-model.json"), f"{prefix}-model.json"
    shutil.copy(f"{prefix}-0001.params", f"{prefix}-0000.params")
    digest = sha256(f"{prefix}-0003.params")
    replace(card, exported=Exported(digest, {"mxnet": "1.9.1"})).save(path)
    assert newest_epoch(prefix) == 3  # the checkpoint that was exported stands there, too
    replace(card, exported=Exported("0" * 64, {"mxnet": "1.9.1"})).save(path)
    assert newest_epoch(prefix) == 0
    replace(
        card, epoch=None, recipe=None, source=Source("torchvision", "b.pth", "0" * 64, "convert.py")
    ).save(path)
    assert newest_epoch(prefix) == 0


def test_an_exported_graph_goes_with_the_run_that_it_is_of(prefix):
    for end in ("-0000.params", "-symbol.json", ".onnx", "-anomaly-00000007.json"):
        pathlib.Path(prefix + end).touch()
    others = [f"{prefix}2-0001.params", f"{prefix}-1-crop.json"]
    for path in others:
        pathlib.Path(path).touch()
    pathlib.Path(f"{prefix}-earlier-1").mkdir()
    moved = move_aside(prefix)
    assert "(4 networks, 2 states, 2 exported graphs)" in moved
    assert moved.endswith(f"--model-prefix {prefix}-earlier-2/a")
    left = {path.name for path in pathlib.Path(prefix).parent.iterdir()}
    assert left == {"a-earlier-1", "a-earlier-2", "a2-0001.params", "a-1-crop.json"}
    assert move_aside(prefix) is None


def renamed(data: list[str], folder: pathlib.Path) -> list[str]:
    """Options for records of as many classes with the names in another order."""
    paths = [pack(folder / "t.rec", 132, 0), pack(folder / "v.rec", 50, 1)]
    for path in paths:
        pathlib.Path(path).with_suffix(".classes").write_text("".join(f"{name}\n" for name in CLASSES[::-1]))
    return [*data, "--data-train", paths[0], "--data-val", paths[1]]


def test_a_run_goes_on_with_its_classes_and_records_alone(data, prefix, tmp_path, capsys):
    going_on = ["--model-prefix", prefix, "--num-epochs", "4"]
    before = sorted(pathlib.Path(prefix).parent.iterdir())
    other = renamed(data, tmp_path)
    for how in (["--resume"], ["--load-epoch", "3"]):
        with pytest.raises(UsageError, match=r"other classes.*: class 0 was 'top', and is 'blue' now"):
            main([*other, *going_on, *how])
    records = pack(tmp_path / "other.rec", 132, 9)
    said = r"training data would be different records: 'train\.rec' \(132 images, fingerprint \w{16}\) then, 'other"
    with pytest.raises(UsageError, match=said):
        main([*data, "--data-train", records, *going_on, "--resume"])
    with pytest.raises(
        UsageError, match=r"the validation data would be different records: 'val\.rec' \(50 images"
    ):
        main([*data, "--data-val", pack(tmp_path / "w.rec", 50, 9), *going_on, "--resume"])
    assert sorted(pathlib.Path(prefix).parent.iterdir()) == before
    new = ["--model-prefix", str(tmp_path / "new"), "--num-epochs", "1", "--pretrained", prefix]
    assert main([*other, *new]) is None
    assert "the head, for 4 classes, is new (class 0 was 'top', and is 'blue' now)" in capsys.readouterr().err

    # The same records elsewhere are the same.
    moved = tmp_path / "elsewhere" / "images.rec"
    moved.parent.mkdir()
    for end in (".rec", ".idx", ".classes"):
        shutil.copy(pathlib.Path(data[-3]).with_suffix(end), moved.with_suffix(end))
    assert main([*data, "--data-train", str(moved), *going_on, "--resume"]) is None
    capsys.readouterr()
    mean = ["--mean-image", f"{prefix}-mean.npz"]
    assert main([*data, "--data-train", records, *going_on, *mean, "--load-epoch", "3"]) is None
    assert "note: the training data would be different records" in capsys.readouterr().err


def test_a_state_of_an_older_version_knows_no_data_and_goes_on(data, prefix):
    path = pathlib.Path(f"{prefix}-resume.json").resolve()
    state = json.loads(path.read_text())
    assert state["format"] == "gluon-resnet resume 3"
    del state["data"]
    path.write_text(json.dumps(state))
    assert main([*data, "--model-prefix", prefix, "--num-epochs", "4", "--resume"]) is None
    assert json.loads(pathlib.Path(f"{prefix}-resume.json").read_text())["data"]["classes"] == list(CLASSES)
