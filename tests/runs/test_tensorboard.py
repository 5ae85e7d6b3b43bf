"""Event files for TensorBoard: what is read back from them, and what a run that goes on shows."""

from __future__ import annotations

import sys
import time
from dataclasses import replace

import pytest

from gluon_resnet.errors import EnvironmentProblem
from gluon_resnet.runs.files.tensorboard import TensorBoard
from gluon_resnet.training.epoch_record import EpochRecord, StepRecord
from gluon_resnet.training.metrics import Sums
from tests.support.event_files import shown, texts

STEP = StepRecord(20, 1, 0.5, 2.0, 75.0, 200.0, gradient_norm=1.5)
EPOCH = EpochRecord.of(1, 40, 0.5, 8.0, 5, Sums(50.0, 60, 90, 100), Sums(5.0, 15, 18, 20))


def test_every_number_is_read_back_at_its_iteration(tmp_path):
    board = TensorBoard(str(tmp_path / "new" / "events"), 1)
    board.settings("settings", {"network": "resnet20", "lr": "a|b\nc", "steps": [1, 2]})
    board.step(STEP)
    board.step(replace(STEP, iteration=40, loss=1.0, gradient_norm=None, loss_scale=1024.0, skipped_steps=1))
    board.epoch(replace(EPOCH, data_wait=0.25))
    board.close()
    assert shown(tmp_path / "new" / "events") == {
        "train/loss": [(20, 2.0), (40, 1.0)],
        "train/top1_error": [(20, 75.0), (40, 75.0)],
        "learning_rate": [(20, 0.5), (40, 0.5)],
        "gradient_norm": [(20, 1.5)],
        "loss_scale": [(40, 1024.0)],
        "skipped_steps": [(40, 1.0)],
        "images_per_second": [(20, 200.0), (40, 200.0)],
        "epoch/train_loss": [(40, 0.5)],
        "epoch/train_top1_error": [(40, 40.0)],
        "epoch/train_top5_error": [(40, 10.0)],
        "epoch/data_wait": [(40, 0.25)],
        "validation/loss": [(40, 0.25)],
        "validation/top1_error": [(40, 25.0)],
        "validation/top5_error": [(40, 10.0)],
    }
    (table,) = texts(tmp_path / "new" / "events")["settings/text_summary"]
    assert table.splitlines()[2:] == ["| network | resnet20 |", "| lr | a\\|b c |", "| steps | [1, 2] |"]


def test_an_epoch_has_reached_the_disk_when_the_process_is_killed(tmp_path):
    board = TensorBoard(str(tmp_path), 1)
    board.step(STEP)
    board.epoch(EPOCH)
    assert shown(tmp_path)["train/loss"] == [(20, 2.0)]  # not closed
    assert shown(tmp_path)["validation/loss"] == [(40, 0.25)]


def test_a_run_that_goes_on_has_no_point_twice(tmp_path):
    for begin, end in ((0, 100), (60, 140), (60, 80), (80, 200)):
        board = TensorBoard(str(tmp_path), begin + 1)
        for iteration in range(begin + 20, end + 1, 20):
            board.step(replace(STEP, iteration=iteration, loss=float(begin)))
        board.close()
    points = shown(tmp_path)["train/loss"]
    assert [step for step, _ in points] == list(range(20, 201, 20))
    assert [loss for _, loss in points] == [0.0] * 3 + [60.0] + [80.0] * 6
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("back", [0.0, 1.0, 1e6])
def test_a_clock_that_was_set_back_hides_no_step(tmp_path, monkeypatch, back):
    """TensorBoard reads the files in the order of their names."""
    now = time.time()
    for begin, clock in ((0, now), (40, now - back), (60, now - 2 * back)):
        monkeypatch.setattr(time, "time", lambda clock=clock: clock)
        board = TensorBoard(str(tmp_path), begin + 1)
        board.step(replace(STEP, iteration=begin + 20, loss=float(begin)))
        board.close()
    assert shown(tmp_path)["train/loss"] == [(20, 0.0), (60, 40.0), (80, 60.0)]


def test_without_tensorboardx_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX.record_writer", None)
    with pytest.raises(EnvironmentProblem, match=r"gluon-resnet\[tensorboard\]"):
        TensorBoard(str(tmp_path), 1)
