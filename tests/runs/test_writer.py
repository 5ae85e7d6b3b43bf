"""What train.py keeps beside the training: logs, card, event files, curves and report, over stops, kills and faults."""

from __future__ import annotations

import errno
import json
import os
import pathlib
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest

from gluon_resnet.card import ModelCard
from gluon_resnet.errors import DataError, GluonResnetError
from gluon_resnet.evaluation.card_entries import measured_error
from gluon_resnet.evaluation.intervals import interval
from gluon_resnet.provenance import DataSet, TrainedOn
from gluon_resnet.runs.files.run import read_run
from gluon_resnet.runs.files.run_card import RunCard
from gluon_resnet.runs.writer import TrainReport
from gluon_resnet.training.epoch_record import StepRecord
from gluon_resnet.training.position import Position
from tests.support.event_files import shown
from tests.support.paths import ROOT
from tests.support.recorded_runs import epoch_record

VALIDATION = DataSet(("val.rec",), 50, "0123456789abcdef")
CARD = ModelCard(
    "resnet20",
    ("cat", "dog"),
    32,
    (1.0, 2.0, 3.0),
    (1.0, 1.0, 1.0),
    data=TrainedOn(DataSet(("train.rec",), 900, "fedcba9876543210"), VALIDATION),
)
RUN = RunCard("python tools/train.py", 3, {"recipe": "cifar10", "network": "resnet20"})
STEP = StepRecord(0, 1, 0.1, 1.0, 50.0, 900.0, gradient_norm=2.0)


def begin(folder: pathlib.Path, epoch: int = 0, iteration: int = 0, **other) -> TrainReport:
    position = Position(epoch=epoch, iteration=iteration, **other)
    return TrainReport(str(folder / "a"), CARD, RUN, position, None)


def steps(report: TrainReport, first: int, last: int) -> None:
    """Records every 100 iterations; an epoch has 400."""
    for iteration in range(first, last + 1, 100):
        report.step(replace(STEP, iteration=iteration, epoch=(iteration - 1) // 400 + 1))


def events(folder: pathlib.Path) -> list[tuple[int, str]]:
    return [(event.iteration, event.text) for event in RunCard.load(str(folder / "a-run.json")).events]


def test_all_files_are_there_after_an_epoch(tmp_path, capsys):
    with begin(tmp_path / "new") as report:
        steps(report, 100, 400)
        report.confusion[:] = [[3, 1], [0, 4]]
        report(epoch_record(1))
        folders = {path.name for path in (tmp_path / "new").iterdir()}
        names = "log.jsonl steps.jsonl run.json model.json curves.png report.html tensorboard"
        assert folders == {f"a-{name}" for name in names.split()}
    out, err = capsys.readouterr()
    assert out.startswith("epoch 1/3  lr 0.1")
    assert err == ""
    run = read_run(str(tmp_path / "new" / "a"))
    assert ([r.iteration for r in run.steps], [r.epoch for r in run.epochs]) == ([100, 200, 300, 400], [1])
    assert run.card.worst_classes[0].taken_for == (("dog", 1),)
    assert events(tmp_path / "new") == [(0, "begun")]
    assert shown(tmp_path / "new" / "a-tensorboard")["gradient_norm"] == [
        (n, 2.0) for n in (100, 200, 300, 400)
    ]
    card = ModelCard.load(tmp_path / "new" / "a-model.json")
    (error,) = card.errors
    assert (card.epoch, error.epoch, error.data, error.protocol) == (1, 1, VALIDATION, "1-crop")
    assert (error.top1_error, error.topk_error, error.top_k) == (40.0, 6.0, 5)
    assert error.top1_interval == interval(20, 50)


def test_the_card_has_the_errors_of_the_best_and_the_last_epoch_and_what_evaluate_adds(tmp_path):
    path = tmp_path / "a-model.json"
    elsewhere = measured_error(DataSet(("b.rec",), 9, "0" * 16), "1-crop", 1, 1, 5, 0)
    with begin(tmp_path) as report:
        for epoch, percent in enumerate([50, 40, 44, 40, 42], 1):
            report(epoch_record(epoch, percent))
            if epoch == 2:
                ModelCard.load(path).with_error(elsewhere).save(path)
            card = ModelCard.load(path)
            assert card.epoch == epoch
            ours = [(error.epoch, error.top1_error) for error in card.errors if error != elsewhere]
            assert (
                ours
                == [
                    [(1, 50)],
                    [(1, 50), (2, 40)],
                    [(2, 40), (3, 44)],
                    [(2, 40), (4, 40)],
                    [(2, 40), (5, 42)],
                ][epoch - 1]
            )
    assert elsewhere in card.errors


def test_without_validation_the_card_tells_the_epoch_alone(tmp_path):
    with begin(tmp_path) as report:
        report(epoch_record(1, val_loss=None, val_top1_error=None, val_topk_error=None))
    card = ModelCard.load(tmp_path / "a-model.json")
    assert (card.epoch, card.errors) == (1, ())


@pytest.mark.parametrize(
    ("position", "kept"),
    [
        ({"epoch": 1, "iteration": 500, "batch": 100}, 500),  # in the second epoch
        ({"epoch": 1, "iteration": 400}, 400),  # between the two
        ({"epoch": 1, "iteration": 800, "trained": True}, 800),  # before the validation of the second
    ],
)
def test_a_run_that_was_killed_goes_on_without_a_gap_or_a_point_twice(tmp_path, position, kept):
    report = begin(tmp_path)
    steps(report, 100, 400)
    report(epoch_record(1))
    steps(report, 500, 800)
    report(epoch_record(2))  # not closed: kill -9, and the state saved last is older
    with begin(tmp_path, **position) as report:
        steps(report, kept + 100, 800)
        report(epoch_record(2, error=33.0))
    run = read_run(str(tmp_path / "a"))
    assert [record.iteration for record in run.steps] == list(range(100, 801, 100))
    assert [record.val_top1_error for record in run.epochs] == [40.0, 33.0]
    board = shown(tmp_path / "a-tensorboard")
    assert [step for step, _ in board["train/loss"]] == list(range(100, 801, 100))
    assert board["validation/top1_error"] == [(400, 40.0), (800, 33.0)]
    assert events(tmp_path) == [(0, "begun"), (kept, "resumed in epoch 2")]


def test_steps_that_had_not_reached_the_event_files_come_from_the_log(tmp_path):
    report = begin(tmp_path / "alive")
    steps(report, 100, 300)
    shutil.copytree(tmp_path / "alive", tmp_path / "killed")  # what is there before anything is closed
    for path in (tmp_path / "killed" / "a-tensorboard").iterdir():
        path.write_bytes(path.read_bytes()[:-5])  # as it wrote
    with begin(tmp_path / "killed", iteration=300, batch=300) as report:
        steps(report, 400, 400)
    points = shown(tmp_path / "killed" / "a-tensorboard")["train/loss"]
    assert [step for step, _ in points] == [100, 200, 300, 400]


def test_a_new_run_forgets_the_old_one(tmp_path):
    with begin(tmp_path) as report:
        steps(report, 100, 400)
        report(epoch_record(1))
        report.event("stopped by a signal")
    with begin(tmp_path):
        run = read_run(str(tmp_path / "a"))
        assert (run.epochs, run.steps) == ([], [])
    assert events(tmp_path) == [(0, "begun")]
    assert shown(tmp_path / "a-tensorboard") == {}


def test_events_and_the_error_that_ended_a_run_stand_in_the_report(tmp_path):
    with pytest.raises(GluonResnetError, match="numbers ran out of range"), begin(tmp_path) as report:
        report.confusion[:] = [[3, 1], [0, 4]]
        report(replace(epoch_record(1), iteration=100))
        steps(report, 200, 200)
        report.event("the loader stood still for 60 s")
        raise GluonResnetError("numbers ran out of range in batch 7")
    assert RunCard.load(str(tmp_path / "a-run.json")).worst_classes[0].name == "cat"
    with pytest.raises(KeyboardInterrupt), begin(tmp_path, iteration=200, batch=200):
        assert (
            RunCard.load(str(tmp_path / "a-run.json")).worst_classes[0].name == "cat"
        )  # until the next validation
        raise KeyboardInterrupt
    assert events(tmp_path) == [
        (0, "begun"),
        (200, "the loader stood still for 60 s"),
        (200, "ended: numbers ran out of range in batch 7"),
        (200, "resumed in epoch 1"),
        (200, "ended: KeyboardInterrupt"),
    ]
    page = (tmp_path / "a-report.html").read_text()
    assert "ended: numbers ran out of range in batch 7" in page
    assert "ended: KeyboardInterrupt" in page


@pytest.mark.parametrize(
    ("module", "package", "missing"),
    [
        ("matplotlib.style", "matplotlib", "a-curves.png"),
        ("jinja2", "Jinja2", "a-report.html"),
        ("tensorboardX.record_writer", "tensorboardX", "a-tensorboard"),
    ],
)
def test_a_missing_library_is_told_once_and_training_goes_on(
    tmp_path, monkeypatch, capsys, module, package, missing
):
    monkeypatch.setitem(sys.modules, module, None)
    with begin(tmp_path) as report:
        steps(report, 100, 400)
        report(epoch_record(1))
        report(epoch_record(2))
    notes = capsys.readouterr().err.splitlines()
    assert len(notes) == 1
    assert notes[0].startswith("note: ")
    assert f"{package}: pip install 'gluon-resnet[" in notes[0]
    assert not (tmp_path / missing).exists()
    assert len(read_run(str(tmp_path / "a")).epochs) == 2


def test_a_full_disk_is_told_once_and_what_was_missed_is_written_later(tmp_path, monkeypatch, capsys):
    report = begin(tmp_path)

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path / "a-log.jsonl"))

    with monkeypatch.context() as patch:
        patch.setattr("gluon_resnet.files.tempfile.mkstemp", full)
        report(epoch_record(1))
        report(epoch_record(2))
    assert read_run(str(tmp_path / "a")).epochs == []
    notes = capsys.readouterr().err.splitlines()
    assert f"note: {tmp_path / 'a-log.jsonl'}: No space left on device" in notes
    assert len(notes) == len(set(notes))
    with report:
        report(epoch_record(3))
    assert [record.epoch for record in read_run(str(tmp_path / "a")).epochs] == [1, 2, 3]
    assert (tmp_path / "a-report.html").exists()


def test_what_killed_processes_left_is_removed(tmp_path):
    """Other runs may write beside this one, also one whose prefix begins with this one's."""
    left = [f".a-{name}.x1y2z3w4.tmp" for name in ("log.jsonl", "run.json", "model.json")]  # written at once
    others = [".a-b-curves.png.x1y2z3w4.tmp", ".b-report.html.x1y2z3w4.tmp", "a-curves.png.tmp"]
    for name in (*left, *others):
        (tmp_path / name).touch()
    begin(tmp_path)
    assert not any((tmp_path / name).exists() for name in left)
    assert all((tmp_path / name).exists() for name in others)


def test_a_damaged_log_is_refused_before_the_work(tmp_path):
    with begin(tmp_path) as report:
        report(epoch_record(1))
    (tmp_path / "a-log.jsonl").write_text("{}\n")
    with pytest.raises(DataError, match="line 1 is not an epoch's record"):
        begin(tmp_path, epoch=1, iteration=400)
    with pytest.raises(OSError):
        TrainReport("/proc/nothing/a", CARD, RUN, Position(), None)


def test_a_run_of_an_older_version_goes_on(tmp_path):
    old = ROOT / "results" / "cifar10" / "resnet20" / "log.jsonl"
    (tmp_path / "a-log.jsonl").write_bytes(old.read_bytes())
    with begin(tmp_path, epoch=20, iteration=7800) as report:
        report.step(replace(STEP, iteration=7900, epoch=21))
        report(replace(epoch_record(21, 10.0), iteration=8190))
    run = read_run(str(tmp_path / "a"))
    assert (len(run.epochs), len(run.steps), len(run.train_curve)) == (21, 1, 21)
    assert events(tmp_path) == [(7800, "resumed in epoch 21")]


def test_confusions_of_very_many_classes_are_not_counted(tmp_path, capsys):
    card = replace(CARD, classes=tuple(map(str, range(2001))))
    with TrainReport(str(tmp_path / "a"), card, RUN, Position(), None) as report:
        assert report.confusion is None
        report(epoch_record(1))
    assert json.loads((tmp_path / "a-run.json").read_text())["worst_classes"] == []
    with begin(tmp_path) as report:
        assert (report.confusion.shape, report.confusion.dtype) == ((2, 2), np.int64)
