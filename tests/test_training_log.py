"""What a run shows: the epoch's line, JSON lines, the curves, the progress; and what Ctrl-C does to it."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest

from gluon_resnet.analysis.curves import draw_curves
from gluon_resnet.errors import DataError, EnvironmentProblem
from gluon_resnet.training.log import EpochLog, EpochRecord
from gluon_resnet.training.metrics import Sums
from gluon_resnet.training.progress import Progress
from gluon_resnet.training.stop import StopRequest

TRAIN, VALIDATION = Sums(50.0, 60, 90, 100), Sums(5.0, 15, 19, 20)
RECORD = EpochRecord.of(3, 1200, 0.01, 8.0, 5, TRAIN, VALIDATION)


def test_a_record_is_one_line_to_read():
    line = RECORD.line(epochs=12)
    assert line == (
        "epoch  3/12  lr 0.01     train: loss 0.5000 error 40.00 % (top-5 10.00 %)"
        "  val: loss 0.2500 error 25.00 % (top-5 5.00 %)  12 images/s"
    )
    assert "val" not in EpochRecord.of(3, 1200, 0.01, 8.0, 5, TRAIN, None).line(12)


def test_a_record_is_one_json_object(tmp_path):
    EpochLog(str(tmp_path / "log.jsonl"), 0).append(RECORD)
    assert json.loads((tmp_path / "log.jsonl").read_text()) == {
        "epoch": 3,
        "iteration": 1200,
        "lr": 0.01,
        "seconds": 8.0,
        "images_per_second": 12.5,
        "top_k": 5,
        "train_loss": 0.5,
        "train_top1_error": 40.0,
        "train_topk_error": 10.0,
        "val_loss": 0.25,
        "val_top1_error": 25.0,
        "val_topk_error": 5.0,
        "data_wait": None,
    }


def test_a_log_goes_on_without_epochs_that_come_again(tmp_path):
    path = str(tmp_path / "log.jsonl")
    log = EpochLog(path, 0)
    for epoch in (1, 2, 3):
        log.append(replace(RECORD, epoch=epoch))
    log = EpochLog(path, 2)
    log.append(replace(RECORD, epoch=3, lr=0.5))
    assert [(record.epoch, record.lr) for record in EpochLog(path, 9).records] == [
        (1, 0.01),
        (2, 0.01),
        (3, 0.5),
    ]
    assert EpochLog(path, 0).records == []  # a new run


def test_another_file_is_no_log(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"epoch": 1}\n')
    with pytest.raises(DataError, match="line 1 is not an epoch's record"):
        EpochLog(str(path), 1)


def coloured(path) -> int:
    """How many pixels have the colour of the curves."""
    image = cv2.imread(str(path))
    assert image is not None
    assert image.shape == (540, 720, 3)
    return int((np.abs(image.astype(int) - (180, 119, 31)).max(axis=2) < 60).sum())


@pytest.mark.parametrize("step", [390, 5004], ids=["epochs", "iterations"])
def test_curves_are_an_image_with_two_lines(tmp_path, step):
    iterations = [step * epoch for epoch in range(1, 31)]
    train, validation = [60 - epoch for epoch in range(30)], [70.0 - epoch for epoch in range(30)]
    draw_curves(str(tmp_path / "none.png"), iterations, train, [None] * 30)
    draw_curves(str(tmp_path / "both.png"), iterations, train, validation, title="resnet20")
    thin, both = coloured(tmp_path / "none.png"), coloured(tmp_path / "both.png")
    assert thin > 100
    assert both > 2 * thin  # the second line is there, and bold
    draw_curves(str(tmp_path / "short.png"), [step], train[:1], validation[:1])
    assert coloured(tmp_path / "short.png") > 20
    assert sorted(os.listdir(tmp_path)) == ["both.png", "none.png", "short.png"]


def test_curves_without_matplotlib_say_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(EnvironmentProblem, match=r"gluon-resnet\[plot\]"):
        draw_curves(str(tmp_path / "a.png"), [1], [1.0], [None])


def test_progress_is_lines_without_a_terminal(capsys):
    assert list(Progress(2).follow("abcde", "epoch 1", total=7, done=2, status=lambda: "well")) == list(
        "abcde"
    )
    assert capsys.readouterr().err == "epoch 1  4/7  well\nepoch 1  6/7  well\n"
    assert list(Progress(0).follow("abcde", "epoch 1", total=5)) == list("abcde")
    assert capsys.readouterr().err == ""


def test_progress_is_a_bar_on_a_terminal(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    assert list(Progress(2).follow("abc", "epoch 1", total=3, status=lambda: "well")) == list("abc")
    assert "epoch 1" in sys.stderr.getvalue()
    assert "3/3" in sys.stderr.getvalue() or "0/3" in sys.stderr.getvalue()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_ends(number):
    before = signal.getsignal(number)
    signal.signal(number, signal.default_int_handler)
    try:
        with StopRequest() as stop:
            assert not stop()
            os.kill(os.getpid(), number)
            assert stop()
            assert stop.signal == number
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), number)
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, before)
