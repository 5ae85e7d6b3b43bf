"""A training from records to parameters, as train.py runs it."""

from __future__ import annotations

import shlex
import signal
from contextlib import nullcontext
from typing import NamedTuple, Optional

from gluon_resnet.errors import UsageError
from gluon_resnet.models.earlier import move_aside
from gluon_resnet.models.saved import parameters_path
from gluon_resnet.runs.anomaly_report import reported
from gluon_resnet.runs.beginning import find_position, tell_what_to_expect
from gluon_resnet.runs.card import card_of
from gluon_resnet.runs.environment import environment
from gluon_resnet.runs.files.run_card import RunCard, described_data
from gluon_resnet.runs.job import Job
from gluon_resnet.runs.plan import Plan
from gluon_resnet.runs.records import list_holdout
from gluon_resnet.runs.settings import Settings
from gluon_resnet.runs.told import tell_of_records
from gluon_resnet.runs.workers import give_up
from gluon_resnet.runs.writer import TrainReport
from gluon_resnet.signals import StopRequest
from gluon_resnet.terminal import note, say
from gluon_resnet.training.anomaly import Anomaly
from gluon_resnet.training.devices import open_engine
from gluon_resnet.training.distributed.workers import Workers
from gluon_resnet.training.fit import count_epochs, fit
from gluon_resnet.training.position import Position
from gluon_resnet.training.progress import Progress
from gluon_resnet.training.stall import StallWatch


class Outcome(NamedTuple):
    """How a training ended.

    Attributes:
        prefix: the beginning of the names of all its files.
        epochs: the number of epochs when it is finished; the last one may be partial.
        stopped_by: the number of the signal that stopped it early; None if it is finished.
    """

    prefix: str
    epochs: int
    stopped_by: Optional[int] = None

    @property
    def parameters_path(self) -> str:
        """The file of the last epoch's parameters, which exists if the training is finished."""
        return parameters_path(self.prefix, self.epochs)


def train(settings: Settings, command: Optional[str] = None) -> Outcome:
    """Train as `settings` say, print the progress, and write the files of a run; see docs/training.md.

    Call it in the main thread: at the first SIGINT or SIGTERM it finishes the step, saves and returns.

    Args:
        settings: the settings of the run.
        command: the command line to record in files that say how they were made; by default one made from `settings`.

    Raises:
        UsageError: settings contradict each other, the records, or the files under the prefix.
        DataError, ModelError: a file is damaged or of the wrong kind.
        EnvironmentProblem: a device or a library is missing.
        GluonResnetError: numbers went out of range.
        OSError: a file cannot be read or written.
    """
    if not settings.data_train:
        raise UsageError("give --data-train, the records to train on, or --benchmark, which needs none")
    plan = Plan.of(settings)
    command = command or shlex.join(["python3", "-m", "gluon_resnet", "train", *settings.arguments()])
    engine = open_engine(settings.kv_store, plan.contexts)
    with Workers(engine, give_up) as workers:
        job = Job(plan, engine, workers.rank, workers.count, settings.detect_anomaly, workers)
        return _train(job, command, workers)


def _train(job: Job, command: str, workers: Workers) -> Outcome:
    """Do this worker's part of the training."""
    settings, prefix = job.plan.settings, job.plan.prefix
    position = find_position(job, workers)
    if position.done(job.iterations):
        job.checkpoints.complete(job.trainer, position, job.iterations)
        say(f"{prefix}: all {position.epoch} epochs are already done")
        return Outcome(prefix, position.epoch)
    if workers.rank == 0:
        tell_of_records(job)
    tell_what_to_expect(job, position)
    epochs = count_epochs(position, job.iterations, len(job.train))
    report = _begin_files(job, command, position, epochs, workers) if workers.rank == 0 else None
    name = f"worker {workers.rank}: " if workers.count > 1 else ""
    try:
        with StopRequest() as stop, StallWatch(settings.stall_timeout, name), report or nullcontext():
            done = fit(
                job.trainer,
                job.train,
                job.validation,
                job.iterations,
                job.schedule,
                position=position,
                workers=workers,
                checkpoints=job.checkpoints,
                confusion=report.confusion if report else None,
                on_epoch=report or (lambda record: None),
                on_step=report.step if report else (lambda record: None),
                step_every=settings.disp_batches,
                recompute_statistics=settings.recompute_statistics,
                progress=Progress(settings.disp_batches) if report else None,
                stop=stop,
            )
            if report and not done:
                report.event("stopped by a signal")
    except Anomaly as anomaly:
        raise reported(anomaly, job, command) from None
    if done:
        if report:
            say(f"saved {parameters_path(prefix, epochs)}, {prefix}-log.jsonl and {prefix}-report.html")
        return Outcome(prefix, epochs)
    if report:
        going_on = command if settings.resume else f"{command} --resume"
        say(f"stopped; the state is in {job.checkpoints.resume_path}; continue with: {going_on}")
    return Outcome(prefix, epochs, stop.signal or signal.SIGTERM)  # None if another worker received it


def _begin_files(job: Job, command: str, position: Position, epochs: int, workers: Workers) -> TrainReport:
    """Write the files that precede the first step, on one worker only."""
    settings, prefix = job.plan.settings, job.plan.prefix
    moved = None if job.checkpoints.resumed else move_aside(prefix, settings.load_epoch)
    if moved:
        note(moved)
    data = {"training data": described_data(settings.data_train, job.data.training)}
    if job.data.validation:
        validated = settings.data_val or settings.data_train
        data["validation data"] = described_data(validated, job.data.validation)
    shown = {"recipe" if name == "name" else name: value for name, value in job.settings.items()}
    run = RunCard(command, epochs, shown, data, environment(job.plan.contexts, workers))
    report = TrainReport(prefix, card_of(job, command, position, epochs), run, position, job.train)
    if job.recipe.holdout:
        list_holdout(job.records[0], job.validation_records[0], prefix)
    if job.mean:
        job.mean.save(job.mean_path)
        say(f"the mean of {job.mean.images} images is subtracted, and saved in {job.mean_path}")
    return report
