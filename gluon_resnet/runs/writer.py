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

_MOST_CLASSES = 2000  # the most whose confusions are counted, in 32 MB


class TrainReport:
    """Called with each epoch's record; `step` takes those of the steps. A context manager around the training.

    A problem here (a full disk, a library that is not installed) is reported once, and the training continues.

    Args:
        prefix: the beginning of the names of all files.
        card, run: the cards of the model and of the run; a resumed run keeps its earlier events.
        position: the position at which the training begins.
        train: the training loader, which knows how long the training waited for batches, or None.

    Attributes:
        confusion: the array in which fit() counts the answers of each validation; None if there are too many classes.
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
        # Opened now, so that a folder that cannot be written to is reported before the work.
        self._learning = LearningWatch(count, run.epochs, interval)
        self._log = EpochLog(f"{prefix}-log.jsonl", position.epoch)
        self._steps = StepLog(f"{prefix}-steps.jsonl", position.iteration)
        self._run = run.happened(0, "begun")
        if position.iteration:
            before = run
            with contextlib.suppress(
                OSError, DataError
            ):  # if there is none, or one of another version, it begins here
                before = RunCard.load(self._run_path)
            text = f"resumed in epoch {position.epoch + 1}"
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
        """Record an event, such as a stop or a warning, and show it in the report."""
        self._run = self._run.happened(self._iteration, text)
        self._beside(lambda: self._run.save(self._run_path))
        self._beside(self._show)

    def step(self, record: StepRecord) -> None:
        """Take the record of some steps."""
        self._iteration = record.iteration
        self._beside(lambda: self._steps.append(record))
        if self._board:
            board = self._board
            self._beside(lambda: board.step(record))

    def __call__(self, record: EpochRecord) -> None:
        """Take the record of an epoch: print its line and bring all files up to date."""
        self._iteration = record.iteration
        say(record.line(self._run.epochs, len(self._card.classes)))
        loading = self._train.stats() if self._train else None
        if loading and loading.batches:  # there are none if a run resumes with an epoch's validation
            say(f"  loader: {loading}")
            record = replace(record, data_wait=round(loading.consumer_wait_share, 3))
        if self.confusion is not None and record.val_loss is not None:
            self._run = replace(self._run, worst_classes=worst_classes(self.confusion, self._card.classes))
        with contextlib.suppress(OSError, ModelError):  # evaluate.py may have added errors
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
        """The number of images that the errors of an epoch refer to, and the share of the largest class, if known."""
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
        # The points of finished epochs have reached the disk; those of later steps may not have.
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
        """Do something that the training does not depend on."""
        try:
            work()
        except (EnvironmentProblem, DataError, OSError) as problem:
            sentence = str(problem)
            if isinstance(problem, OSError) and problem.strerror:
                sentence = f"{problem.filename or self._prefix}: {problem.strerror}"
            if sentence not in self._said:
                self._said.add(sentence)
                note(sentence)
