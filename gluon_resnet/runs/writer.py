"""What tools/train.py writes while it trains: lines, logs, curves, event files, a report, and the model card."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from types import TracebackType
from typing import Callable, Optional

import numpy as np

from gluon_resnet.card import ModelCard
from gluon_resnet.data import Loader
from gluon_resnet.errors import DataError, EnvironmentProblem, GluonResnetError, ModelError
from gluon_resnet.evaluation.intervals import interval
from gluon_resnet.runs.card import after_epoch
from gluon_resnet.runs.files.curves import draw_curves
from gluon_resnet.runs.files.history import EpochLog, StepLog
from gluon_resnet.runs.files.report import write_report
from gluon_resnet.runs.files.run import read_run
from gluon_resnet.runs.files.run_card import RunCard, worst_classes
from gluon_resnet.runs.files.tensorboard import TensorBoard
from gluon_resnet.terminal import note, say, warn
from gluon_resnet.training.epoch_record import EpochRecord, StepRecord
from gluon_resnet.training.learning import LearningWatch
from gluon_resnet.training.position import Position

_MOST_CLASSES = 2000  # whose confusions are counted: these take 32 MB


class TrainReport:
    """Called with each epoch's record; `step` takes those of the steps. A context manager around the training.

    What goes wrong here (a full disk, a library that is not installed) is told once, and the training goes on.

    Args:
        prefix: beginning of the names of all files.
        card, run: of the model and of the run; what happened to the run before is kept where it goes on.
        position: where it begins.
        train: its loader, or None; it tells how long the training waited for batches.

    Attributes:
        confusion: for fit(), which counts the answers of each validation here; None where there are too many classes.
    """

    def __init__(
        self, prefix: str, card: ModelCard, run: RunCard, position: Position, train: Optional[Loader]
    ) -> None:
        os.makedirs(os.path.dirname(prefix) or ".", exist_ok=True)
        self._prefix, self._card, self._train = prefix, card, train
        self._said: set[str] = set()
        self._iteration = position.iteration
        count = len(card.classes)
        self.confusion = np.zeros((count, count), np.int64) if count <= _MOST_CLASSES else None
        # Now: a folder that cannot be written to is known before the work.
        self._learning = LearningWatch(count, run.epochs, interval)
        self._log = EpochLog(f"{prefix}-log.jsonl", position.epoch)
        self._steps = StepLog(f"{prefix}-steps.jsonl", position.iteration)
        self._run = run.happened(0, "begun")
        if position.iteration:
            before = run
            with contextlib.suppress(OSError, DataError):  # none, or of another version: it begins here
                before = RunCard.load(self._run_path)
            text = f"gone on with, in epoch {position.epoch + 1}"
            kept = replace(run, events=before.events, worst_classes=before.worst_classes)
            self._run = kept.happened(position.iteration, text)
        self._run.save(self._run_path)
        card.save(self._card_path)
        self._board: Optional[TensorBoard] = None
        self._beside(self._open_board)

    def __enter__(self) -> TrainReport:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        if error is not None:
            why = (
                str(error)
                if isinstance(error, GluonResnetError)
                else f"{type(error).__name__} {error}".strip()
            )
            self.event(f"ended: {why}")
        if self._board:
            self._beside(self._board.close)

    def event(self, text: str) -> None:
        """Something happened: a stop, a warning. It is kept, and stands in the report."""
        self._run = self._run.happened(self._iteration, text)
        self._beside(lambda: self._run.save(self._run_path))
        self._beside(self._show)

    def step(self, record: StepRecord) -> None:
        """Take the record of some updates."""
        self._iteration = record.iteration
        self._beside(lambda: self._steps.append(record))
        if self._board:
            board = self._board
            self._beside(lambda: board.step(record))

    def __call__(self, record: EpochRecord) -> None:
        """Take the record of an epoch: its line is printed, all files are brought up to date."""
        self._iteration = record.iteration
        say(record.line(self._run.epochs, len(self._card.classes)))
        loading = self._train.stats() if self._train else None
        if loading and loading.batches:  # none where a run goes on with an epoch's validation
            say(f"  loader: {loading}")
            record = replace(record, data_wait=round(loading.consumer_wait_share, 3))
        if self.confusion is not None and record.val_loss is not None:
            self._run = replace(self._run, worst_classes=worst_classes(self.confusion, self._card.classes))
        with contextlib.suppress(OSError, ModelError):  # evaluate.py may have added some
            self._card = replace(self._card, errors=ModelCard.load(self._card_path).errors)
        self._card = after_epoch(self._card, record)
        self._beside(lambda: self._log.append(record))
        self._beside(lambda: self._card.save(self._card_path))
        self._beside(lambda: self._run.save(self._run_path))
        if self._board:
            board = self._board
            self._beside(lambda: board.epoch(record))
        warnings = self._learning(record, *self._tested(record))
        for warning in warnings:
            warn(warning)
            self._run = self._run.happened(self._iteration, f"warning: {warning}")
        if warnings:
            self._beside(lambda: self._run.save(self._run_path))
        self._beside(self._show)

    def _tested(self, record: EpochRecord) -> tuple[int, Optional[float]]:
        """How many images the errors of an epoch are of, and the part of its largest class, if known."""
        data = self._card.data
        validated = record.val_loss is not None
        tested = (data.validation if validated else data.training) if data else None
        images = tested.images if tested else 0
        if self.confusion is None or not validated or not images:
            return images, None
        return images, float(self.confusion.sum(axis=1).max()) / images or None

    @property
    def _card_path(self) -> str:
        return f"{self._prefix}-model.json"

    @property
    def _run_path(self) -> str:
        return f"{self._prefix}-run.json"

    def _open_board(self) -> None:
        # Points of epochs that are over have reached the disk; those of steps since then may not have.
        epochs = self._log.records
        begin = epochs[-1].iteration if epochs else 0
        board = TensorBoard(f"{self._prefix}-tensorboard", begin + 1)
        self._board = board
        board.settings("command", {"": self._run.command})
        board.settings("settings", self._run.settings)
        for record in self._steps.records:
            if record.iteration > begin:
                board.step(record)

    def _show(self) -> None:
        """Draw the curves and write the report."""
        run = read_run(self._prefix)
        self._beside(lambda: draw_curves(f"{self._prefix}-curves.png", [run], self._card.network))
        self._beside(lambda: write_report(f"{self._prefix}-report.html", run))

    def _beside(self, work: Callable[[], None]) -> None:
        """Do what the training does not depend on."""
        try:
            work()
        except (EnvironmentProblem, DataError, OSError) as problem:
            sentence = str(problem)
            if isinstance(problem, OSError) and problem.strerror:
                sentence = f"{problem.filename or self._prefix}: {problem.strerror}"
            if sentence not in self._said:
                self._said.add(sentence)
                note(sentence)
