"""What a run shows as it goes: the epoch's line, JSON lines, the progress; and what Ctrl-C does to it."""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict, replace

import pytest

from gluon_resnet.errors import DataError
from gluon_resnet.runs.files.history import EpochLog, StepLog, read_epochs, read_steps
from gluon_resnet.signals import StopRequest
from gluon_resnet.training.epoch_record import EpochRecord, StepRecord
from gluon_resnet.training.metrics import Sums
from gluon_resnet.training.progress import Progress
from tests.support.paths import ROOT

TRAIN, VALIDATION = Sums(50.0, 60, 90, 100), Sums(5.0, 15, 19, 20)
RECORD = EpochRecord.of(3, 1200, 0.01, 8.0, 5, TRAIN, VALIDATION)


def test_a_record_is_one_line_to_read():
    line = RECORD.line(epochs=12, classes=1000)
    assert line == (
        "epoch  3/12  lr 0.01     train: loss 0.5000 error 40.00 % (top-5 10.00 %)"
        "  val: loss 0.2500 error 25.00 % (top-5 5.00 %)  12 images/s"
    )
    assert "(top" not in RECORD.line(epochs=12, classes=5)  # all five are within the top five
    assert "val" not in EpochRecord.of(3, 1200, 0.01, 8.0, 5, TRAIN, None).line(12, 1000)


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
        **dict.fromkeys(("data_wait", "communication", "gradient_norm", "loss_scale", "skipped_steps")),
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


def test_epochs_that_come_again_are_dropped_at_once(tmp_path):
    path = str(tmp_path / "log.jsonl")
    log = EpochLog(path, 0)
    assert read_epochs(path) == []  # who looks at a run in its first epoch finds it
    for epoch in (1, 2, 3):
        log.append(replace(RECORD, epoch=epoch))
    EpochLog(path, 2)
    assert [record.epoch for record in read_epochs(path)] == [1, 2]


def test_the_log_of_an_older_version_goes_on(tmp_path):
    old = ROOT / "results" / "cifar10" / "resnet20" / "log.jsonl"
    (tmp_path / "log.jsonl").write_bytes(old.read_bytes())
    log = EpochLog(str(tmp_path / "log.jsonl"), 19)
    log.append(replace(RECORD, epoch=20, gradient_norm=0.5))
    records = read_epochs(str(tmp_path / "log.jsonl"))
    assert [record.epoch for record in records] == list(range(1, 21))
    assert (records[0].val_top1_error, records[0].gradient_norm, records[-1].gradient_norm) == (
        52.09,
        None,
        0.5,
    )


@pytest.mark.parametrize(
    "line",
    [
        '{"epoch": 1}',
        "[1]",
        "null",
        "",
        "[" * 100_000,
        "not JSON",
        json.dumps({**asdict(RECORD), "epoch": "1"}),
        json.dumps({**asdict(RECORD), "epoch": 1.5}),
        json.dumps({**asdict(RECORD), "lr": None}),
        json.dumps({**asdict(RECORD), "lr": True}),
        json.dumps({**asdict(RECORD), "val_loss": "0.1"}),
        json.dumps({**asdict(RECORD), "new": 1}),
        "\udcff",
    ],
)
def test_another_file_is_no_log(tmp_path, line):
    path = tmp_path / "log.jsonl"
    content = f"{json.dumps(asdict(RECORD))}\n{line}\n".encode(errors="surrogateescape")
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"log\.jsonl: line 2 is not an epoch's record"):
        EpochLog(str(path), 1)
    assert path.read_bytes() == content


STEP = StepRecord.of(20, 1, 0.1, TRAIN, 0.5, gradient_norm=2.5)


def steps(*iterations: int) -> list[StepRecord]:
    return [replace(STEP, iteration=iteration) for iteration in iterations]


def test_a_step_is_one_json_object(tmp_path):
    path = tmp_path / "steps.jsonl"
    StepLog(str(path), 0).append(STEP)
    assert json.loads(path.read_text()) == {
        "iteration": 20,
        "epoch": 1,
        "lr": 0.1,
        "loss": 0.5,
        "top1_error": 40.0,
        "images_per_second": 200.0,
        "gradient_norm": 2.5,
        "loss_scale": None,
        "skipped_steps": None,
    }


def test_a_number_that_json_does_not_have_is_null(tmp_path):
    path = tmp_path / "steps.jsonl"
    StepLog(str(path), 0).append(replace(STEP, gradient_norm=float("inf"), loss_scale=float("nan")))
    assert json.loads(path.read_text(), parse_constant=pytest.fail)["gradient_norm"] is None
    assert read_steps(str(path)) == [replace(STEP, gradient_norm=None)]


@pytest.mark.parametrize("iteration", [0, 19, 20, 59, 60, 61, 100])
@pytest.mark.parametrize("torn", [b"", b"{", b'{"iteration": 80, "epoch": 1, "lr": 0.1, "loss": 1.0}'])
def test_steps_go_on_where_the_run_does(tmp_path, iteration, torn):
    path = tmp_path / "steps.jsonl"
    log = StepLog(str(path), 0)
    for record in steps(20, 40, 60):
        log.append(record)
    with open(path, "ab") as stream:
        stream.write(torn)  # a process was killed as it wrote
    assert read_steps(str(path)) == steps(20, 40, 60)
    log = StepLog(str(path), iteration)
    kept = [record for record in steps(20, 40, 60) if record.iteration <= iteration]
    assert log.records == kept
    assert read_steps(str(path)) == kept
    log.append(replace(STEP, iteration=iteration + 20, epoch=2))
    assert read_steps(str(path)) == [*kept, replace(STEP, iteration=iteration + 20, epoch=2)]


def test_a_damaged_line_among_the_steps_is_named(tmp_path):
    path = tmp_path / "steps.jsonl"
    path.write_text('{"iteration": 20\n' + json.dumps(asdict(STEP)) + "\n")
    with pytest.raises(DataError, match=r"steps\.jsonl: line 1 is not a step's record"):
        StepLog(str(path), 20)
    StepLog(str(path), 0).append(STEP)  # a new run does not read it
    assert read_steps(str(path)) == [STEP]


def test_a_disk_that_is_full_leaves_whole_lines(tmp_path):
    # A limit of the file's size is a disk that is full, for one process.
    path = tmp_path / "steps.jsonl"
    program = """
import json, resource, signal, sys
from gluon_resnet.runs.files.history import StepLog
from gluon_resnet.training.epoch_record import StepRecord
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
log, step = StepLog(sys.argv[1], 0), StepRecord(**json.loads(sys.argv[2]))
limit = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
log.append(step)
resource.setrlimit(resource.RLIMIT_FSIZE, (300, limit))
try:
    log.append(step)
except OSError as error:
    print(error.errno)
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
log.append(step)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(path), json.dumps(asdict(STEP))],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    assert done.stdout == f"{errno.EFBIG}\n"
    assert read_steps(str(path)) == [STEP, STEP]


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


def test_two_signals_at_once_are_one_request(capfd, monkeypatch):
    """As where a terminal and a launcher both send one: both wait for their handler when the first one's runs."""
    complaints = []
    monkeypatch.setattr(sys, "unraisablehook", complaints.append)
    both = {signal.SIGINT, signal.SIGTERM}
    with StopRequest() as stop:
        signal.pthread_sigmask(signal.SIG_BLOCK, both)
        for number in both:
            os.kill(os.getpid(), number)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, both)
        assert stop()
        assert stop.signal in both
    assert complaints == []
    assert capfd.readouterr().err == "\nstopping after this step; another signal stops at once\n"


def test_a_later_signal_ends_before_the_request_was_seen(monkeypatch):
    monkeypatch.setattr("gluon_resnet.signals._BURST", 0.0)
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with StopRequest(), pytest.raises(KeyboardInterrupt):
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
