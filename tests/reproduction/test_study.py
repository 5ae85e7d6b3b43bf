"""tools/reproduce.py cifar10 and imagenet in miniature: a stop loses nothing, and what is done stays done."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
import time

import pytest

from gluon_resnet.analysis.responses import Responses
from gluon_resnet.card import ModelCard
from gluon_resnet.cli.reproduce import main
from gluon_resnet.errors import GluonResnetError
from gluon_resnet.runs.files.run import read_run
from tests.support.paths import ROOT
from tests.support.pictures import encode, picture

TOOL = ROOT / "tools" / "reproduce.py"
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def command(*arguments):
    return [sys.executable, str(TOOL), *map(str, arguments)]


def run(folder, *arguments):
    return subprocess.run(command(*arguments), cwd=folder, capture_output=True, text=True, timeout=600)


def started(out):
    """The names of the steps that ran."""
    return [line.split("] ")[1].split(":")[0] for line in out.splitlines() if line.startswith("[")]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """CIFAR-10 in small: 8 pictures of each class to train on and 2 to test on, as folders of JPEG."""
    folder = tmp_path_factory.mktemp("cifar10")
    for label, name in enumerate(CLASSES):
        for number in range(10):
            path = folder / ("train" if number < 8 else "test") / name / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode(picture(32, 32, 10 * label + number)))
    return folder


def test_a_study_is_stopped_goes_on_and_does_everything_once(images, tmp_path):
    arguments = [
        "cifar10",
        "--data",
        images,
        "--nets",
        "plain8,resnet8",
        "--num-epochs",
        2,
        "--output",
        "study",
    ]
    training = ["--", "--batch-size", 16]
    stop_in_first_training(tmp_path, [*arguments, *training])

    done = run(tmp_path, *arguments, *training)
    assert done.returncode == 0, done.stdout + done.stderr
    assert started(done.stdout) == [
        *("train plain8", "test plain8 (1-crop)", "test plain8 (multi-scale)", "responses of plain8"),
        *("train resnet8", "test resnet8 (1-crop)", "test resnet8 (multi-scale)", "responses of resnet8"),
        *("test plain8+resnet8 (1-crop)", "test plain8+resnet8 (multi-scale)", "export the best"),
    ]
    expect_results(tmp_path / "study")
    expect_report(tmp_path / "study")

    again = run(tmp_path, *arguments, *training)
    assert (again.returncode, started(again.stdout)) == (0, [])
    (tmp_path / "study" / "resnet8-1-crop.json").unlink()
    assert started(run(tmp_path, *arguments, *training).stdout) == ["test resnet8 (1-crop)"]

    arguments[4] = "plain8,resnet8,plain14"
    steps = started(run(tmp_path, *arguments, *training).stdout)
    tests = [f"test plain14 ({kind})" for kind in ("1-crop", "multi-scale")]
    assert steps[:4] == ["train plain14", *tests, "responses of plain14"]
    together = {f"test plain8+resnet8+plain14 ({kind})" for kind in ("1-crop", "multi-scale")}
    assert {*steps[4:]} - {"export the best"} == together

    (tmp_path / "study" / "report.md").unlink()
    only = run(tmp_path, *arguments, "--report-only", *training)
    assert (only.returncode, started(only.stdout)) == (0, [])
    assert "plain-14" in (tmp_path / "study" / "report.md").read_text()

    empty = run(tmp_path, *arguments[:-1], "empty", "--report-only", *training)
    assert (empty.returncode, "there is no study in empty" in empty.stderr) == (2, True)
    assert not (tmp_path / "empty").exists()

    arguments[6] = 3
    other = run(tmp_path, *arguments, *training)
    assert other.returncode == 2
    assert (
        "study belongs to a study with other choices (epochs 2 there, 3 now): choose another --output"
        in other.stderr
    )
    assert "Traceback" not in other.stderr


def stop_in_first_training(folder, arguments):
    """Run until the first training has begun, press Ctrl-C, and see that it says how to go on."""
    process = subprocess.Popen(
        command(*arguments),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + 600
    while not (folder / "study" / "plain8-run.json").exists():
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=600)
    assert process.returncode == 130
    assert started(out) == ["pack train", "pack test", "train plain8"]
    typed = " ".join(["python3", *command(*arguments)[1:]])
    assert out.splitlines()[-1] == f"stopped; continue with: {typed}"


def expect_results(study):
    for net in ("plain8", "resnet8"):
        run = read_run(str(study / net))
        assert [record.epoch for record in run.epochs] == [
            1,
            2,
        ]  # each once, the one that was stopped in, too
        assert run.settings["batch_size"] == 16
        layers = Responses.load(study / f"{net}-responses.json").layers
        assert [layer.kernel for layer in layers] == [3] * 7
        crop = json.loads((study / f"{net}-1-crop.json").read_text())
        assert crop["images"] == 20
        assert crop["top1_wrong"] * 5 == pytest.approx(run.epochs[-1].val_top1_error)
    together = json.loads((study / "plain8+resnet8-1-crop.json").read_text())
    assert len(together["networks"]) == 2
    assert ModelCard.load(study / "best-model.json").network in ("plain8", "resnet8")
    pictures = ("example.png", "figure6.svg", "figure7.svg")
    for name in ("report.html", "report.md", *pictures, "best-0000.params"):
        assert (study / name).stat().st_size > 100, name


def expect_report(study):
    for name in ("report.md", "report.html"):
        text = (study / name).read_text()
        for net in ("plain8", "resnet8"):
            crop = json.loads((study / f"{net}-1-crop.json").read_text())
            assert f"{crop['top1_error']:.2f}" in text
            assert f"{net}-1-crop.json" in text
        assert "2 epochs instead of 64,000 iterations" in text
        assert "JPEG copies" in text
        assert "The training data are 80 images instead of 50,000" in text
        assert "batch size: 16 instead of 128" in text


def test_a_network_that_cannot_be_trained_fails_alone(images, tmp_path):
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "plain8-log.jsonl").write_text("not a log\n")
    arguments = ("cifar10", "--data", images, "--nets", "plain8", "--num-epochs", 1, "--output", "study")
    done = run(tmp_path, *arguments)
    assert done.returncode == 1
    assert "plain8-log.jsonl" in done.stderr
    (tmp_path / "study" / "plain8-log.jsonl").unlink()
    # A state that is none.
    (tmp_path / "study" / "plain8-resume.json").write_text("{}")
    done = run(tmp_path, *arguments)
    assert done.returncode == 1
    assert (
        "1 step failed, and 4 that need its results were skipped: train plain8: exit status 1: see"
        in done.stderr
    )
    assert (tmp_path / "study" / "report.md").exists()


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("count", [48, pytest.param(691, marks=pytest.mark.slow)])
def test_imagenet_in_miniature(real_data, tmp_path, count):
    """On real pictures, one of a class, on which it is trained and tested."""
    with (
        tarfile.open(real_data / "imagenet_sample.tar") as sample,
        tarfile.open(tmp_path / "part.tar", "w") as part,
    ):
        for member in [member for member in sample if member.isfile()][:count]:
            part.addfile(member, sample.extractfile(member))
    for name in ("train", "val"):
        pack = [sys.executable, TOOL.with_name("im2rec.py"), name, "part.tar", "--resize", "48"]
        subprocess.run(pack, cwd=tmp_path, check=True, capture_output=True)
    arguments = [
        "imagenet",
        "--data-train",
        "train.rec",
        "--data-val",
        "val.rec",
        "--jobs",
        2,
        "--output",
        "study",
    ]
    arguments += ["--nets", "plain18,resnet34,resnet34-C", "--num-epochs", 1, "--scales", "32,40"]
    done = run(tmp_path, *arguments, "--", "--image-shape", "3,32,32", "--batch-size", 16)
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(started(done.stdout)) == {
        *(f"train {net}" for net in ("plain18", "resnet34", "resnet34-C")),
        *(f"test {net} (10-crop)" for net in ("plain18", "resnet34", "resnet34-C")),
        *(
            "test resnet34 (multi-scale)",
            "test resnet34-C (multi-scale)",
            "test resnet34+resnet34-C (multi-scale)",
        ),
        "export the best",
    }
    study = tmp_path / "study"
    assert json.loads((study / "resnet34+resnet34-C-multi-scale.json").read_text())["scales"] == [32, 40]
    assert json.loads((study / "plain18-10-crop.json").read_text())["images"] == count
    assert read_run(str(study / "resnet34-C")).settings["shortcut"] == "C"
    for name in ("report.html", "figure4.svg", "example.png"):
        assert (study / name).stat().st_size > 100
    text = (study / "report.md").read_text()
    for figure in ("24.52", "24.19", "28.54", "21.53"):  # the paper's, of ResNet-34 B and C and plain-34
        assert figure in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cifar10"], "required: --data"),
        (["cifar10", "--data", "nowhere"], "--data nowhere: expected a folder"),
        (["cifar10", "--data", "DATA", "--nets", "resnet21"], "there is no network 'resnet21'"),
        (["cifar10", "--data", "DATA", "--nets", ""], "there is no network ''"),
        (["cifar10", "--data", "DATA", "--num-epochs", "0"], "--num-epochs: expected at least 1"),
        (["cifar10", "--data", "DATA", "--jobs", "0"], "--jobs: expected at least 1"),
        (
            ["cifar10", "--data", "DATA", "--", "--network", "plain20"],
            "--network after --: reproduce.py chooses this itself",
        ),
        (["cifar10", "--data", "DATA", "--", "--resume"], "--resume after --"),
        (["cifar10", "--data", "DATA", "--", "--lr", "x"], "argument --lr: invalid number value: 'x'"),
        (["cifar10", "--data", "DATA", "--", "--nonsense"], "unrecognized arguments: --nonsense"),
        (["cifar10", "--data", "DATA", "--gpus", "-1"], "--gpus"),
        (["imagenet", "--data-train", "no.rec", "--data-val", "no.rec"], "no.rec"),
        (
            ["imagenet", "--data-train", "a", "--data-val", "a", "--scales", "0"],
            "expected different numbers like",
        ),
        (
            ["imagenet", "--data-train", "a", "--data-val", "a", "--scales", "9,9"],
            "expected different numbers like",
        ),
        (["table1", "--", "--lr", "1"], "table1 trains nothing"),
    ],
)
def test_bad_arguments_are_told_before_the_work(images, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((SystemExit, GluonResnetError, OSError)) as stop:
        main([str(images) if argument == "DATA" else argument for argument in arguments])
    if stop.type is SystemExit:
        assert stop.value.code == 2
    assert message in capsys.readouterr().err + str(stop.value)
    assert not os.listdir(tmp_path)
