"""tools/train.py from the outside: a whole run, stops and resumes, and bad arguments in one sentence."""

from __future__ import annotations

import json
import os
import pathlib
import platform
import re
import shlex
import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest

from gluon_resnet._mxnet import mx
from gluon_resnet.card import ModelCard
from gluon_resnet.cli.train import main
from gluon_resnet.data import EvalTransform, Loader, RecordFile
from gluon_resnet.errors import DataError, EnvironmentProblem, ModelError, UsageError
from gluon_resnet.evaluation.card_entries import measured_error
from gluon_resnet.models import build_network
from gluon_resnet.models.parameters import load_parameters, read_arrays
from gluon_resnet.provenance import DataSet, Source
from gluon_resnet.runs import job as train_job
from gluon_resnet.runs.files.run import read_run
from tests.support.paths import ROOT
from tests.support.small_training import CLASSES, break_image, pack, training_options

TOOL = ROOT / "tools" / "train.py"


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> list[str]:
    return training_options(tmp_path_factory.mktemp("records"))


def tool(arguments, **options) -> subprocess.Popen:
    """The program itself, in a process of its own."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, str(TOOL), *arguments], **pipes, **options)


def test_recomputed_statistics_of_a_run(data, tmp_path):
    """They are saved, and they are a setting that a resumed run must have, too."""
    prefix = str(tmp_path / "net")
    options = [*data, "--model-prefix", prefix, "--num-epochs", "2"]
    for batches, saved in (("0", "plain"), ("4", "recomputed")):
        assert main([*options, "--recompute-statistics", batches]) is None
        shutil.copy(f"{prefix}-0002.params", tmp_path / saved)
    plain, recomputed = (read_arrays(tmp_path / name) for name in ("plain", "recomputed"))
    for name, array in plain.items():
        assert np.array_equal(array, recomputed[name]) == ("running" not in name), name
    assert read_run(prefix).settings["recompute_statistics"] == 4
    with pytest.raises(UsageError, match=r"another recompute_statistics \(4, now None\)"):
        main([*options, "--resume"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--recompute-statistics", "5"], "an epoch has 4 batches: give at most 4"),
        (
            ["--recompute-statistics", "1", "--network", "googlenet", "--image-shape", "3,224,224"],
            "googlenet has no batch normalization that is trained: omit it",
        ),
    ],
)
def test_statistics_that_cannot_be_recomputed(data, tmp_path, options, message):
    arguments = [word for word in data if word not in ("--num-layers", "8")]
    chosen = data if "--network" not in options else arguments
    with pytest.raises(UsageError, match=message):
        main([*chosen, *options, "--model-prefix", str(tmp_path / "net"), "--num-epochs", "1"])
    assert list(tmp_path.iterdir()) == []


def test_a_whole_run(data, tmp_path, capsys):
    prefix = str(tmp_path / "new folder" / "net")
    assert main([*data, "--model-prefix", prefix, "--num-epochs", "8", "--lr-step-epochs", "7"]) is None
    out, err = capsys.readouterr()
    lines = [line for line in out.splitlines() if line.startswith("epoch")]
    assert len(lines) == 8
    assert re.fullmatch(
        r"epoch 8/8  lr 0\.005  +train: loss \S+ error \S+ %"
        r"  val: loss \S+ error \S+ %  \d+ images/s",
        lines[-1],
    )
    loading = [line for line in out.splitlines() if line.startswith("  loader: ")]
    assert len(loading) == 8
    assert all("images/s; workers: " in line for line in loading)
    assert f"{prefix}-0008.params" in out
    assert "Traceback" not in err

    with open(f"{prefix}-log.jsonl", encoding="utf-8") as stream:
        records = [json.loads(line) for line in stream]
    assert [record["lr"] for record in records] == pytest.approx([0.05] * 7 + [0.005])
    assert all(0 <= record["data_wait"] <= 1 for record in records)
    assert records[-1]["iteration"] == 8 * (132 // 32)
    assert records[-1]["val_top1_error"] < 20  # 75 is chance
    assert cv2.imread(f"{prefix}-curves.png") is not None
    assert pathlib.Path(f"{prefix}-report.html").read_text().rstrip().endswith("</html>")
    run = read_run(prefix)
    assert (run.planned, run.settings["network"], run.settings["recipe"]) == (8, "resnet8", "cifar10")
    path = os.path.relpath(data[-1])  # whose absolute one is nobody's business
    fingerprint = Loader(data[-1], 1, EvalTransform()).fingerprint
    assert run.card.data["validation data"] == f"{path} (50 images, fingerprint {fingerprint})"
    assert run.card.environment["devices"] == "cpu(0)"

    card = ModelCard.load(f"{prefix}-model.json")
    assert (card.network, card.classes, card.size, card.resize) == ("resnet8", CLASSES, 16, None)
    best = min(records, key=lambda record: record["val_top1_error"])
    measured = {error.epoch: error.top1_error for error in card.errors}
    assert measured == {r["epoch"]: pytest.approx(r["val_top1_error"]) for r in (best, records[-1])}
    for part, images, option in (
        (card.data.training, 132, "--data-train"),
        (card.data.validation, 50, "--data-val"),
    ):
        path = data[data.index(option) + 1]
        loader = Loader(path, 1, EvalTransform())
        assert part == DataSet((pathlib.Path(path).name,), images, loader.fingerprint)
    assert card.epoch == 8
    assert card.recipe.name == "cifar10"
    assert card.recipe.settings.items() >= {"batch_size": 32, "lr": 0.05, "epochs": 8, "seed": 0}.items()
    assert card.versions["python"] == platform.python_version()
    assert re.fullmatch(r"[23]\.\d+\.\d+", card.versions["libjpeg-turbo"])
    net = build_network(card)
    net.initialize()
    load_parameters(net, f"{prefix}-0008.params")
    top = np.full((1, 3, 16, 16), 40, "float32")
    top[:, :, :8] = 160
    assert card.classes[int(net(mx.nd.array(top)).asnumpy().argmax())] == "top"


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """Options of a run on two devices with many steps, and the weights that it ends with."""
    options = [*data, "--batch-size", "4", "--num-epochs", "3", "--cpus", "2"]
    prefix = tmp_path_factory.mktemp("whole") / "a"
    assert main([*options, "--model-prefix", str(prefix)]) is None
    return options, pathlib.Path(f"{prefix}-0003.params").read_bytes()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_the_printed_command_goes_on(whole, tmp_path, number):
    options, expected = whole
    process = tool([*options, "--disp-batches", "1", "--model-prefix", "a"], cwd=tmp_path)
    while not process.stderr.readline().startswith("epoch 1/3  "):
        assert process.poll() is None
    process.send_signal(number)
    out, err = process.communicate(timeout=600)
    assert process.returncode == 128 + number
    assert "Traceback" not in err
    assert json.loads((tmp_path / "a-resume.json").read_text())["position"]["iteration"] < 3 * 33
    command = re.search(r"stopped; the state is in a-resume\.json; continue with: (.*)", out)[1]
    assert command.endswith(" --resume")
    subprocess.run([sys.executable, *shlex.split(command)[1:]], cwd=tmp_path, check=True, timeout=600)
    assert (tmp_path / "a-0003.params").read_bytes() == expected


def test_going_on(data, tmp_path, capsys):
    options = [*data, "--model-prefix", str(tmp_path / "a")]
    assert main([*options, "--num-epochs", "1", "--resume"]) is None
    assert "a-resume.json yet, so a new run begins" in capsys.readouterr().err
    run = read_run(str(tmp_path / "a"))
    wrong = sum(row.wrong for row in run.card.worst_classes)  # all four classes stand there
    assert wrong == 0.5 * run.best.val_top1_error > 0  # of 50 images
    with pytest.raises(UsageError, match=r"unfinished run: continue it with --resume"):
        main([*options, "--num-epochs", "2"])
    with pytest.raises(UsageError, match=r"another lr \(0\.05, now 0\.01\)"):
        main([*options, "--num-epochs", "2", "--resume", "--lr", "0.01"])
    with pytest.raises(UsageError, match=r"another network \(resnet8, now resnet14\)"):
        main([*options, "--num-epochs", "2", "--resume", "--num-layers", "14"])
    assert main([*options, "--num-epochs", "2", "--resume"]) is None
    assert main([*options, "--num-epochs", "2", "--resume"]) is None
    assert "all 2 epochs are already done" in capsys.readouterr().out
    assert main([*options, "--num-epochs", "3", "--load-epoch", "2", "--lr", "0.01"]) is None
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()[1:-2]] == ["3/3"]
    assert len((tmp_path / "a-log.jsonl").read_text().splitlines()) == 3
    assert main([*options, "--num-epochs", "3", "--load-epoch", "2", "--lr", "0.01", "--resume"]) is None
    assert "a-resume.json is resumed; --load-epoch 2 is ignored" in capsys.readouterr().err
    for path in tmp_path.glob("a-resume*.json"):
        path.unlink()
    with pytest.raises(UsageError, match=r"but .*a-0003\.params: continue from that with --load-epoch 3"):
        main([*options, "--num-epochs", "4", "--resume"])


def test_the_card_of_a_run_that_goes_on_keeps_what_was_measured_and_where_it_is_from(data, tmp_path):
    options, path = [*data, "--model-prefix", str(tmp_path / "a")], tmp_path / "a-model.json"
    elsewhere = measured_error(DataSet(("b.rec",), 9, "0" * 16), "10-crop", 1, 1, 4, 0)
    source = Source("torchvision", "/a/b.pth", "0" * 64, "convert.py b.pth")
    assert main([*options, "--num-epochs", "1"]) is None
    card = ModelCard.load(path)
    own = card.errors
    replace(card.with_error(elsewhere), source=source).save(path)
    assert main([*options, "--num-epochs", "3", "--resume"]) is None
    card = ModelCard.load(path)
    assert (card.epoch, card.source, card.recipe.settings["epochs"]) == (3, source, 3)
    assert elsewhere in card.errors
    assert {error.epoch for error in card.errors if error.data == own[0].data} >= {3}

    # What comes after epoch 1 is trained anew.
    assert main([*options, "--num-epochs", "2", "--load-epoch", "1"]) is None
    card = ModelCard.load(path)
    assert (card.epoch, card.source) == (2, source)
    assert elsewhere in card.errors
    assert {error.epoch for error in card.errors} <= {1, 2}

    # A new run knows nothing of the one that it replaces.
    for state in tmp_path.glob("a-resume*"):
        state.unlink()
    assert main([*options, "--num-epochs", "1"]) is None
    card = ModelCard.load(path)
    assert (card.epoch, card.source) == (1, None)
    assert [error.epoch for error in card.errors] == [1]
    assert elsewhere not in card.errors


def test_weights_that_do_not_fit(data, tmp_path):
    options = [*data, "--model-prefix", str(tmp_path / "a"), "--num-epochs", "1"]
    assert main(options) is None
    path = tmp_path / "a-0001.params"
    with pytest.raises(ModelError, match=r"a-0001\.params: parameter 1\.features\.\S+ is missing"):
        main([*options, "--load-epoch", "1", "--num-epochs", "2", "--num-layers", "14"])
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ModelError, match=r"a-0001\.params: expected \d+ bytes of .*, found \d+"):
        main([*options, "--load-epoch", "1", "--num-epochs", "2"])
    with pytest.raises(FileNotFoundError, match=r"a-0007\.params"):
        main([*options, "--load-epoch", "7", "--num-epochs", "8"])


def test_weights_keep_the_normalization_that_they_were_trained_with(data, tmp_path, capsys):
    options = [*data, "--model-prefix", str(tmp_path / "a"), "--num-epochs"]
    channel = ["--rgb-mean", "10,20,30", "--rgb-std", "0.4,0.5,0.6"]
    assert main([*options, "1", *channel]) is None
    assert (
        "note: --rgb-std is taken to be for pixels from 0 to 255; if meant for 0 to 1, multiply by 255"
        in capsys.readouterr().err
    )
    card, going_on = tmp_path / "a-model.json", [*options, "2", "--load-epoch", "1"]
    before = card.read_bytes()
    for others, message in (
        (["--rgb-mean", "1,2,3", *channel[2:]], r"another mean than this run uses: give --rgb-mean 10,20,30"),
        ([*channel[:2], "--rgb-std", "1,2,3"], r"another std than this run uses: give --rgb-std 0.4,0.5,0.6"),
        (channel[2:], r"a-0001\.params was trained with another mean .* --rgb-mean 10,20,30"),  # a mean image
    ):
        with pytest.raises(UsageError, match=message):
            main([*going_on, *others])
        assert card.read_bytes() == before
    assert main([*going_on, *channel]) is None
    assert main([*options[:-2], str(tmp_path / "b"), "--num-epochs", "1"]) is None
    with pytest.raises(
        UsageError, match=r"b-0001\.params was trained with another mean than .* give its mean image"
    ):
        main([*options[:-2], str(tmp_path / "b"), "--num-epochs", "2", "--load-epoch", "1", *channel])


@pytest.mark.parametrize("option", ["--data-train", "--data-val"])
def test_labels_that_are_no_class_are_named_before_the_mean_is_measured(data, tmp_path, option, monkeypatch):
    def label(index):
        return 4 if index == 17 else 0

    path = break_image(pack(tmp_path / "bad.rec", 64, 0, label), 3)  # which measuring would find first
    monkeypatch.setattr(train_job, "mean_image", lambda *_: pytest.fail("the mean is measured"))
    offset = RecordFile(path).offset(17)
    message = rf"bad\.rec: record with key 17 at offset {offset}: label 4 is not one of 0 to 3"
    with pytest.raises(DataError, match=message):
        main([*data, option, path, "--model-prefix", str(tmp_path / "out" / "a"), "--num-epochs", "1"])
    assert not (tmp_path / "out").exists()


def test_what_is_there_twice_is_told(data, tmp_path, capsys):
    train = data[data.index("--data-train") + 1]
    copy = tmp_path / "copy.rec"
    shutil.copy(train, copy)
    (tmp_path / "copy.classes").write_text("top\nbottom\ntop\nblue\n")
    network = [
        *data[: data.index("--data-train")],
        "--num-iterations",
        "1",
        "--model-prefix",
        str(tmp_path / "a"),
    ]
    assert main([*network, "--data-train", str(copy), "--data-val", str(copy)]) is None
    err = capsys.readouterr().err
    assert "warning: classes 0 and 2 are both called 'top'" in err
    assert f"warning: {copy} for validation contains the same records as {copy} for training" in err
    (tmp_path / "copy.classes").unlink()
    assert main([*network, "--data-train", train, str(copy), "--holdout", "0"]) is None
    assert (
        f"warning: {train} and {copy} contain the same records, which are trained on twice"
        in capsys.readouterr().err
    )


def test_classes_have_to_be_known_and_agree(data, tmp_path):
    train, prefix = (
        pack(tmp_path / "t.rec", 64, 0),
        ["--model-prefix", str(tmp_path / "a"), "--num-epochs", "1"],
    )
    with pytest.raises(UsageError, match=r"--num-classes is 3, but .*t\.classes has 4 names"):
        main([*data, "--data-train", train, "--num-classes", "3", *prefix])
    (tmp_path / "t.classes").write_text("top\nbottom\nblue\nred\n")
    with pytest.raises(DataError, match="other classes"):
        main([*data, "--data-train", train, *prefix])
    (tmp_path / "t.classes").unlink()
    alone = [*data[:-2], "--holdout", "0", "--data-train", train, *prefix]
    with pytest.raises(UsageError, match="give --num-classes"):
        main(alone)
    assert main([*alone, "--num-classes", "4"]) is None
    assert ModelCard.load(tmp_path / "a-model.json").classes == ("0", "1", "2", "3")


@pytest.mark.parametrize(
    "arguments",
    [
        "--batch-size 0",
        "--batch-size many",
        "--lr nan",
        "--lr -1",
        "--lr 1e50",
        "--wd inf",
        "--mom 2",
        "--gpus 0,0",
        "--gpus all",
        "--gpus 0 --cpus 2",
        "--rgb-mean 1,2",
        "--lr-step-epochs 3,x",
        "--lr-step-epochs nan",
        "--lr-step-epochs 3,inf",
        "--rgb-mean 1,nan,2",
        "--rgb-std 1,1,inf",
        "--warmup-epochs inf",
        "--stall-timeout nan",
        "--image-shape 1,28,28",
        "--image-shape 3,16,32",
        "--image-shape 3,16",
        "--recipe coffee",
        "--num-epoch 3",  # no abbreviations: a flag of tomorrow could change their meaning
        "--dtype int8",
        "--lr-mode poly",
        "--num-epochs 3 --num-iterations 9",
        "--label-smoothing 2",
        "--mixup 0.2",  # that is --mixup-alpha
        "--warmup-error 0",
    ],
)
def test_arguments_that_cannot_be(data, arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*data, *arguments.split()])
    assert stop.value.code == 2
    assert "train.py: error: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ("--network coffee8", UsageError, "there is no network 'coffee88'"),
        ("--kv-store byteps", UsageError, "there is no KVStore 'byteps'"),
        ("--kv-store nccl", UsageError, "nccl combines GPUs"),
        ("--dtype float16", UsageError, "float16 needs a GPU"),
        ("--cpus 33", UsageError, "a batch of 32 cannot be split over 33 devices"),
        ("--rgb-std 1,0,1", UsageError, "std"),
        ("--batch-size 200", UsageError, "132 records do not fill one batch of 200"),
        ("--data-train missing.rec", FileNotFoundError, r"missing\.rec"),
        ("--holdout 5", UsageError, "--holdout replaces --data-val"),
        ("--lr-mode cosine --lr-step-epochs 3", UsageError, "cannot be used with --lr-mode cosine"),
        ("--warmup-error 80", UsageError, "--warmup-error needs --warmup-lr"),
        ("--warmup-error 80 --warmup-epochs 1", UsageError, "choose one"),
        ("--network plain --last-gamma", UsageError, "plain8 has no shortcuts"),
        ("--gpus 0", EnvironmentProblem, "without CUDA|no NVIDIA driver|no GPU|compute capability"),
    ],
)
def test_what_cannot_work_is_told_before_any_file(data, tmp_path, arguments, error, message):
    if "--gpus" in arguments and mx.runtime.Features().is_enabled("CUDA"):
        pytest.skip("this machine could have a GPU that works")
    with pytest.raises(error, match=message):
        main([*data, "--num-epochs", "1", "--model-prefix", str(tmp_path / "out" / "a"), *arguments.split()])
    assert list(tmp_path.iterdir()) == []


def test_errors_are_one_sentence_and_a_status(data, tmp_path):
    shutil.copy(data[-1], tmp_path / "validation.rec")
    runs = [
        (status, words, tool([*data, "--model-prefix", prefix, *extra.split()], cwd=tmp_path))
        for status, prefix, extra, words in (
            (2, "a", "--kv-store foo", "there is no KVStore"),
            (1, "/proc/nowhere/a", "--num-epochs 1", "/proc/nowhere"),
            # Not that it lacks classes: what is there instead.
            (
                1,
                "a",
                "--data-train valdation.rec",
                "No such file or directory; the nearest name is validation.rec",
            ),
        )
    ]
    for status, words, process in runs:
        out, err = process.communicate(timeout=600)
        assert process.returncode == status
        assert out == ""
        assert words in err.splitlines()[-1]
        assert err.splitlines()[-1].startswith("train.py: error: ")
        assert "Traceback" not in err
