"""train.py where numbers run out of range: the step is saved, and --replay shows where they do."""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest

from gluon_resnet.cli.train import main
from gluon_resnet.cli.train.options import parser, settings_of
from gluon_resnet.data import Loader
from gluon_resnet.errors import DataError, GluonResnetError, ModelError, UsageError
from gluon_resnet.models.parameters import read_arrays
from gluon_resnet.training.detect import DetectingTrainer
from gluon_resnet.training.schedule import Schedule
from gluon_resnet.training.trainer import Trainer
from tests.support.cluster import cluster
from tests.support.paths import ROOT
from tests.support.small_training import training_options

TOOL = str(ROOT / "tools" / "train.py")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> list[str]:
    return training_options(tmp_path_factory.mktemp("records"))


@pytest.fixture
def cliff(monkeypatch):
    """A learning rate of 1e12 from update 6 on, so that update 7 has numbers out of range; an epoch has 4."""
    original = Schedule.__call__
    monkeypatch.setattr(
        Schedule, "__call__", lambda self, n, observed=None: 1e12 if n >= 5 else original(self, n, observed)
    )


@pytest.fixture
def batches(monkeypatch) -> list:
    """The records and the pixels of all batches that steps get, and the state before each."""
    seen = []
    for kind in (Trainer, DetectingTrainer):
        step = kind.step

        def noted(self, batch, lr, meter, where, iteration=0, step=step, kind=kind):
            if kind is type(self):
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(np, "isfinite", lambda array: np.ones(np.shape(array), bool))
                    state = self.state()
                seen.append((where.iteration, batch.ids.tolist(), batch.data.tobytes(), state))
            step(self, batch, lr, meter, where, iteration)

        monkeypatch.setattr(kind, "step", noted)
    return seen


def failed(arguments) -> str:
    with pytest.raises(GluonResnetError, match="numbers ran out of range") as error:
        main(arguments)
    return str(error.value)


def files(folder) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("cpus", ["1", "2"])
def test_a_replay_rebuilds_the_step_to_the_bit_and_writes_nothing(
    data, tmp_path, capsys, cliff, batches, cpus
):
    prefix = str(tmp_path / "a")
    message = failed([*data, "--cpus", cpus, "--model-prefix", prefix, "--num-epochs", "9"])
    path = f"{prefix}-anomaly-00000007.json"
    assert "iteration 7, batch 3 of epoch 2/9 (learning rate 1e+12)" in message
    assert f"--replay {path}" in message
    step = next(item for item in batches if item[0] == 7)
    content = json.loads(pathlib.Path(path).read_text())
    assert content["records"] == step[1]
    assert content["seed"] == 0
    assert content["settings"]["batch_size"] == 32
    began = settings_of(
        parser().parse_args([*data, "--cpus", cpus, "--model-prefix", prefix, "--num-epochs", "9"])
    )
    assert settings_of(parser().parse_args(content["arguments"])) == began
    assert {"mxnet", "numpy", "gluon_resnet"} == set(content["versions"])

    before = files(tmp_path)
    batches.clear()
    capsys.readouterr()
    assert main(["--replay", path]) == 1
    assert files(tmp_path) == before
    assert [item[0] for item in batches] == [5, 6, 7]
    ids, pixels, state = batches[-1][1:]
    assert (ids, pixels) == step[1:3]
    assert set(state) == set(step[3])
    for name in state:
        np.testing.assert_array_equal(state[name], step[3][name], err_msg=name)
    out = capsys.readouterr().out
    assert "a-anomaly-00000007-resume.json, after iteration 4" in out
    assert "training again on the 2 batches from there to the step" in out
    first = re.search(
        r"^the anomaly appears again in iteration 7, batch 3 of epoch 2/9 .*: first in (.*)$",
        out,
        re.MULTILINE,
    )
    assert first

    other = str(tmp_path / "b")  # checked from the beginning: the same place
    message = failed(
        [*data, "--cpus", cpus, "--model-prefix", other, "--num-epochs", "9", "--detect-anomaly"]
    )
    assert "in iteration 7," in message
    assert first[1].split(":")[0] in message
    arrays = read_arrays(f"{other}-anomaly-00000007.params")
    for name in state:
        np.testing.assert_allclose(arrays[name], state[name], rtol=1e-2, atol=1e-2, err_msg=name)
    capsys.readouterr()
    assert main(["--replay", f"{other}-anomaly-00000007.json"]) == 1
    out = capsys.readouterr().out
    assert "the weights are those before the step" in out
    assert "training again" not in out
    assert f"first in {first[1].split(':')[0]}" in out


def test_what_a_replay_prints(data, tmp_path, capsys, monkeypatch):
    folder = os.getcwd()
    failed([*data, "--model-prefix", str(tmp_path / "a"), "--num-epochs", "1", "--lr", "1e12"])
    path = tmp_path / "a-anomaly-00000002.json"
    capsys.readouterr()
    monkeypatch.chdir(tmp_path)
    assert main(["--replay", str(path)]) == 1
    out = capsys.readouterr().out
    assert f"note: that run was started in {folder}; relative paths are now taken from here" in out
    assert out.startswith(f"{path}: numbers ran out of range in iteration 2, batch 2 of epoch 1/1")
    assert "the weights are those that the run began with, since there is no state beside the file" in out
    for block in ("images", r"0 \(Normalize\)", r"1\.features\.3\.0\.body\.1 \(BatchNorm\)", "loss"):
        assert re.search(rf"^{block} +32", out, re.MULTILINE), block
    assert re.search(r"^1\.output\.weight +4x64( +\S+){3}", out, re.MULTILINE)
    shown = re.findall(r"^ +(\d+)  (?:top|bottom|red|blue) +\S+ +\d+ +\d+$", out, re.MULTILINE)
    records = json.loads(path.read_text())["records"]
    assert len(shown) == 10
    assert set(map(int, shown)) <= set(records)


def test_a_step_that_is_sound_now_ends_with_0(data, tmp_path, capsys):
    """By another learning rate in the step before, for example."""
    failed([*data, "--model-prefix", str(tmp_path / "a"), "--num-epochs", "1", "--lr", "1e12"])
    path = str(tmp_path / "a-anomaly-00000002.json")
    capsys.readouterr()
    assert main(["--replay", path, "--lr", "0.05"]) == 0
    out = capsys.readouterr().out
    assert (
        "the anomaly does not appear again: all numbers of iteration 2, batch 2 of epoch 1/1 (learning rate 0.05)"
        in out
    )


def test_weights_of_a_run_that_began_with_load_epoch(data, tmp_path, capsys, batches):
    options = [*data, "--model-prefix", str(tmp_path / "a")]
    assert main([*options, "--num-epochs", "1"]) is None
    failed([*options, "--num-epochs", "3", "--load-epoch", "1", "--lr", "1e12"])
    number, *step = batches[-2]
    path = tmp_path / f"a-anomaly-{number:08d}.json"
    assert path.exists()
    assert not path.with_name(f"a-anomaly-{number:08d}-resume.json").exists()
    batches.clear()
    assert main(["--replay", str(path)]) == 1
    assert "that the run began with" in capsys.readouterr().out
    assert batches[0][0] == 5
    assert batches[-1][1:3] == tuple(step[:2])
    for name, array in step[2].items():
        np.testing.assert_array_equal(batches[-1][3][name], array, err_msg=name)


def test_files_and_data_that_do_not_fit(data, tmp_path):
    failed([*data, "--model-prefix", str(tmp_path / "a"), "--num-epochs", "1", "--lr", "1e12"])
    path = tmp_path / "a-anomaly-00000002.json"
    with pytest.raises(DataError, match=r"batch 2 of epoch 1 has other records now"):
        main(["--replay", str(path), "--seed", "1"])
    with pytest.raises(OSError, match="nowhere"):
        main(["--replay", str(path), "--data-train", "nowhere.rec"])
    with pytest.raises(OSError, match="missing"):
        main(["--replay", str(tmp_path / "missing.json")])
    path.write_text(path.read_text()[:-20])
    with pytest.raises(ModelError, match="a-anomaly-00000002.json is not an anomaly file"):
        main([f"--replay={path}"])


def test_a_state_of_other_settings_is_refused_by_name(data, tmp_path, cliff):
    failed([*data, "--model-prefix", str(tmp_path / "a"), "--num-epochs", "9"])
    with pytest.raises(UsageError, match=r"another devices \(1, now 2\)"):
        main(["--replay", str(tmp_path / "a-anomaly-00000007.json"), "--cpus", "2"])


def test_a_folder_that_cannot_be_written_to_leaves_the_message(data, tmp_path, monkeypatch):
    from gluon_resnet.runs import anomaly_file

    def full(*arguments):
        raise OSError(28, "No space left on device", "a-anomaly-00000002.json")

    monkeypatch.setattr(anomaly_file, "whole_file", full)
    message = failed([*data, "--model-prefix", str(tmp_path / "a"), "--num-epochs", "1", "--lr", "1e12"])
    assert "iteration 2" in message
    assert "the step could not be saved ([Errno 28] No space left on device" in message


def test_a_stall_of_the_program_is_told_and_does_not_end_it(data, tmp_path, capfd):
    options = [*data, "--model-prefix", str(tmp_path / "a"), "--num-epochs", "1"]
    assert main([*options, "--stall-timeout", "0.002"]) is None  # the first step takes longer
    assert "\nstall watch: nothing has happened for 0 s (since " in capfd.readouterr().err
    assert main([*options, "--num-epochs", "2", "--resume", "--stall-timeout", "0"]) is None
    assert "stall watch" not in capfd.readouterr().err


def test_at_the_terminal_it_is_one_sentence_and_the_command_in_it_works(data, tmp_path):
    run = [sys.executable, TOOL]
    options = [*data, "--model-prefix", "a", "--num-epochs", "1", "--lr", "1e12"]
    ended = subprocess.run(
        [*run, *options], cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False
    )
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    last = ended.stderr.splitlines()[-1]
    assert last.startswith(
        "train.py: error: numbers ran out of range in iteration 2, batch 2 of epoch 1/1 (learning"
    )
    command = re.search(r"train\.py (--replay \S+);", last)[1].split()
    ended = subprocess.run(
        [*run, *command], cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False
    )
    assert (ended.returncode, ended.stderr) == (1, "")
    assert ended.stdout.splitlines()[-1].startswith("the anomaly appears again in iteration 2")


@pytest.mark.slow
def test_each_of_two_workers_saves_its_part(data, tmp_path, capsys, monkeypatch):
    options = [*data, "--model-prefix", "a", "--num-epochs", "1", "--lr", "1e12", "--kv-store", "dist_sync"]
    command = [TOOL, *options, "--batch-size", "8"]
    with cluster([command, command], tmp_path) as processes:
        ended = [process.communicate(timeout=600)[1] for process in processes[:2]]
        assert [process.returncode for process in processes[:2]] == [1, 1]
    texts = [text for text in ended if "numbers ran out of range" in text]
    assert len(texts) == 2, ended
    names = sorted(path.name for path in tmp_path.glob("a-anomaly*.json"))
    assert names == ["a-anomaly-00000002-worker1.json", "a-anomaly-00000002.json"]
    parts = [json.loads((tmp_path / name).read_text()) for name in names[::-1]]
    assert [(part["rank"], part["world_size"]) for part in parts] == [(0, 2), (1, 2)]
    assert parts[0]["iteration"] == parts[1]["iteration"] == 2

    records = data[data.index("--data-train") + 1]
    from tests.support.batches import TRAIN

    for part in parts:
        loader = Loader(
            records, 8, TRAIN, shuffle=True, rank=part["rank"], world_size=2, last_batch="discard"
        )
        expected = [batch.ids.tolist() for batch in loader][part["batch"] - 1]
        assert part["records"] == expected
    monkeypatch.chdir(tmp_path)
    assert main(["--replay", names[0]]) in (0, 1)
    out = capsys.readouterr().out
    assert "one worker alone cannot train the network of 2 workers up to it" in out
