"""tools/train.py: train a network on record files."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Optional

from gluon_resnet.cli.train.foreign import translated
from gluon_resnet.cli.train.options import parser
from gluon_resnet.models.earlier import move_aside
from gluon_resnet.models.saved import parameters_path
from gluon_resnet.runs.beginning import find_position, tell_what_to_expect
from gluon_resnet.runs.benchmark import benchmark
from gluon_resnet.runs.card import card_of
from gluon_resnet.runs.environment import environment
from gluon_resnet.runs.files.run_card import RunCard, described_data
from gluon_resnet.runs.job import Job, Request
from gluon_resnet.runs.records import list_holdout
from gluon_resnet.runs.replay import replay_of, reported
from gluon_resnet.runs.told import tell_of_records
from gluon_resnet.runs.writer import TrainReport
from gluon_resnet.terminal import note, say, tell
from gluon_resnet.training.anomaly import Anomaly
from gluon_resnet.training.devices import open_engine
from gluon_resnet.training.distributed.engine import Engine
from gluon_resnet.training.distributed.workers import Workers
from gluon_resnet.training.fit import count_epochs, fit
from gluon_resnet.training.position import Position
from gluon_resnet.training.progress import Progress
from gluon_resnet.training.stall import StallWatch
from gluon_resnet.training.stop import StopRequest


def main(argv: Optional[Sequence[str]] = None) -> Optional[int]:
    """Train as `argv` says (default: the command line); the exit status, None for success."""
    argv = sys.argv[1:] if argv is None else list(argv)
    replay, argv = replay_of(argv)
    args = parser().parse_args(translated(argv, note))
    if replay:
        args.resume = True  # the run's own mean image
    request = Request.of(argv, args)
    if replay:
        # One process in the place of its worker, whose state has the running statistics of all.
        rank, world_size = replay.file.rank, replay.file.world_size
        return replay(Job(request, Engine("device", rank, world_size), rank, world_size, checked=True))
    engine = open_engine(args.kv_store, request.contexts)
    with Workers(engine, _give_up) as workers:
        if args.benchmark:
            benchmark(request, engine)
            return None
        return _train(
            Job(request, engine, workers.rank, workers.count, args.detect_anomaly, workers), workers
        )


def _train(job: Job, workers: Workers) -> Optional[int]:
    """This worker's part; what `main` returns."""
    request, args, prefix = job.request, job.request.args, job.request.prefix
    position = find_position(job, workers)
    if position.done(job.iterations):
        job.checkpoints.complete(job.trainer, position, job.iterations)
        say(f"{prefix}: all {position.epoch} epochs are done already")
        return None
    if workers.rank == 0:
        tell_of_records(job)
    tell_what_to_expect(job, position)
    epochs = count_epochs(position, job.iterations, len(job.train))
    report = _begin_files(job, position, epochs, workers) if workers.rank == 0 else None
    name = f"worker {workers.rank}: " if workers.count > 1 else ""
    try:
        with StopRequest() as stop, StallWatch(args.stall_timeout, name), report or nullcontext():
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
                step_every=args.disp_batches,
                progress=Progress(args.disp_batches) if report else None,
                stop=stop,
            )
            if report and not done:
                report.event("stopped by a signal")
    except Anomaly as anomaly:
        raise reported(anomaly, job) from None
    if done:
        if report:
            say(f"saved {parameters_path(prefix, epochs)}, {prefix}-log.jsonl and {prefix}-report.html")
        return None
    if report:
        going_on = request.command if args.resume else f"{request.command} --resume"
        say(f"stopped; the state is in {job.checkpoints.resume_path}, go on with: {going_on}")
    return 128 + (stop.signal or signal.SIGTERM)  # or another worker had one


def _begin_files(job: Job, position: Position, epochs: int, workers: Workers) -> TrainReport:
    """The files that are written before the first step; by one worker."""
    args, prefix = job.request.args, job.request.prefix
    moved = None if job.checkpoints.resumed else move_aside(prefix, args.load_epoch)
    if moved:
        note(moved)
    data = {"training data": described_data(args.data_train, job.train.num_records)}
    if job.validation:
        data["validation data"] = described_data(args.data_val or args.data_train, job.validation.num_records)
    shown = {"recipe" if name == "name" else name: value for name, value in job.settings.items()}
    run = RunCard(job.request.command, epochs, shown, data, environment(job.request.contexts, workers))
    report = TrainReport(prefix, card_of(job, position, epochs), run, position, job.train)
    if job.recipe.holdout:
        list_holdout(job.records[0], job.validation_records[0], prefix)
    if job.mean:
        job.mean.save(job.mean_path)
        say(f"the mean of {job.mean.images} images is subtracted, and kept in {job.mean_path}")
    return report


def _give_up(rank: int) -> None:
    """Ends this process, whose main thread may wait inside MXNet for a worker that is gone."""
    tell(
        f"train.py: error: worker {rank} has ended, and the others cannot go on: start all of them with --resume"
    )
    os._exit(1)
