"""tools/train.py: train a network on record files."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import zlib
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from typing import Any, Optional

import numpy as np

from gluon_resnet._mxnet import mx
from gluon_resnet.cli.command import as_typed
from gluon_resnet.cli.train_environment import environment, versions
from gluon_resnet.cli.train_mean import mean_image
from gluon_resnet.cli.train_options import chosen_recipe, parser
from gluon_resnet.cli.train_pretrained import Pretrained, fill_in, with_resize
from gluon_resnet.cli.train_records import class_names, list_holdout, open_records
from gluon_resnet.cli.train_report import TrainReport
from gluon_resnet.data import ColourJitter, EvalTransform, Loader, RecordFile, TrainTransform
from gluon_resnet.errors import UsageError
from gluon_resnet.models import ModelCard
from gluon_resnet.models.parameters import load_parameters, parameter_value, read_arrays
from gluon_resnet.models.registry import describe
from gluon_resnet.models.saved import newest_epoch, parameters_path
from gluon_resnet.training.checkpoint import Checkpoints
from gluon_resnet.training.devices import cpu_contexts, gpu_contexts, open_kvstore
from gluon_resnet.training.fit import count_epochs, fit
from gluon_resnet.training.mixup import Mixup
from gluon_resnet.training.position import Position
from gluon_resnet.training.progress import Progress
from gluon_resnet.training.recipes import Recipe
from gluon_resnet.training.run_card import RunCard
from gluon_resnet.training.schedule import Observed
from gluon_resnet.training.stop import StopRequest
from gluon_resnet.training.trainer import Trainer
from gluon_resnet.training.transfer import freeze
from gluon_resnet.training.workers import Workers


def main(argv: Optional[Sequence[str]] = None) -> Optional[int]:
    """Train as `argv` says (default: the command line); the exit status, None for success."""
    argv = sys.argv[1:] if argv is None else list(argv)
    args = parser().parse_args(argv)
    pretrained = fill_in(args)
    command = as_typed(argv)
    prefix = args.model_prefix or os.path.join("runs", args.network)
    recipe = with_resize(chosen_recipe(args, args.network), pretrained)

    contexts = gpu_contexts(args.gpus) if args.gpus else cpu_contexts(args.cpus)
    if recipe.batch_size < len(contexts):
        raise UsageError(f"a batch of {recipe.batch_size} cannot be split over {len(contexts)} devices")
    store = open_kvstore(args.kv_store, contexts)
    with Workers(store, _give_up) as workers:
        return _train(args, command, prefix, recipe, pretrained, contexts, store, workers)


def _train(
    args: argparse.Namespace,
    command: str,
    prefix: str,
    recipe: Recipe,
    pretrained: Optional[Pretrained],
    contexts: Sequence[Any],
    store: Any,
    workers: Workers,
) -> Optional[int]:
    """This worker's part; what `main` returns."""
    card = ModelCard(
        network=args.network,
        classes=class_names([*args.data_train, *(args.data_val or [])], args.num_classes),
        resize=recipe.resize,
        size=recipe.size,
        mean=recipe.rgb_mean,
        std=recipe.rgb_std,
        interpolation=args.interpolation,
        per_pixel_mean=args.keeps_mean_image,
        shortcut=args.shortcut,
        variant=args.variant,
        training={"command": command, "recipe": recipe.name, "versions": versions()},
    )
    describe(card.network, card.shortcut, card.variant, recipe.zero_gamma)  # told before any work
    if args.load_epoch is not None and not args.resume:
        os.stat(parameters_path(prefix, args.load_epoch))  # now: the mean may take an hour to measure
    records, validation_records = open_records(args.data_train, args.data_val, recipe.holdout)
    mean_path = f"{prefix}-mean.npz"
    mean = mean_image(args, recipe, records, mean_path)
    if mean:
        recipe = replace(recipe, rgb_mean=mean.mean)
        card = replace(card, mean=mean.mean, per_pixel_mean=True)
    train = _training_loader(args, recipe, records, workers)
    validation = None
    if validation_records and workers.rank == 0:  # every image counts once
        transform = EvalTransform(recipe.resize, recipe.size, args.interpolation)
        validation = Loader(validation_records, recipe.batch_size, transform, threads=args.data_nthreads)
    iterations, schedule = recipe.total_iterations(len(train)), recipe.schedule(len(train))
    mx.random.seed(args.seed)
    net = card.build(mean.mean_image if mean else None, recipe.zero_gamma)
    net.initialize(ctx=contexts)
    if pretrained:
        pretrained.give_to(net, args.keeps_mean_image)
    if args.freeze:
        freeze(net)
    trainer = Trainer(
        net,
        contexts,
        len(card.classes),
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        decay_bn_and_bias=recipe.decay_bn_and_bias,
        label_smoothing=recipe.label_smoothing,
        mixup=Mixup(recipe.mixup_alpha, args.seed) if recipe.mixup_alpha else None,
        kvstore=store,
        recompute=args.recompute,
        dtype=args.dtype,
        seed=args.seed,
        top_k=args.top_k,
    )
    settings = {  # what the numbers of a run depend on, besides the data
        **asdict(recipe),
        "epochs": None,
        "iterations": iterations if recipe.lr_mode == "cosine" else None,  # another run can be made longer
        "network": args.network,
        "shortcut": args.shortcut,
        "variant": args.variant,
        "classes": len(card.classes),
        "pretrained": args.pretrained,
        "freeze": args.freeze or None,
        "records": train.num_records,
        "seed": args.seed,
        "devices": len(contexts),
        "world_size": workers.count,
        "dtype": args.dtype,
        "top_k": args.top_k,
    }
    checkpoints = Checkpoints(
        prefix,
        settings,
        save_period=args.save_period,
        save_every=args.save_every,
        keep=args.keep,
        writes=workers.rank == 0,
    )
    position = _position(args, checkpoints, trainer, iterations, len(train))
    _expect_the_same(workers, trainer, position)
    epochs = count_epochs(position, iterations, len(train))
    if pretrained and not position.iteration:
        _note(
            f"the weights are those of {pretrained.path}; the head, for {len(card.classes)} classes, is new"
        )
    if position.done(iterations):
        print(f"{prefix}: all {position.epoch} epochs are done already")
        return None
    if recipe.lr_mode == "step" and schedule.steps and schedule.steps[-1] >= iterations:
        _note(f"the run ends before the learning rate's step at iteration {schedule.steps[-1]}")
    if (
        recipe.lr_mode == "plateau"
        and position.iteration
        and not position.batch
        and position.observed == Observed()
    ):
        _note(f"parameters do not know of plateaus: the learning rate begins at {schedule.lr:g}, see --lr")
    if schedule.warming(position.observed):
        _note(
            f"the learning rate is {schedule.warmup_lr:g} until the training error is below {schedule.warmup_error:g} %"
        )
    # One worker writes.
    report = None
    if workers.rank == 0:
        data = {"training data": _described(args.data_train, train.num_records)}
        if validation:
            data["validation data"] = _described(args.data_val or args.data_train, validation.num_records)
        shown = {"recipe" if name == "name" else name: value for name, value in settings.items()}
        run = RunCard(command, epochs, shown, data, environment(contexts, workers))
        report = TrainReport(prefix, card, run, position, train)
    if report and recipe.holdout:
        list_holdout(records[0], validation_records[0], prefix)
    if report and mean:
        mean.save(mean_path)
        print(f"the mean of {mean.images} images is subtracted, and kept in {mean_path}")
    with StopRequest() as stop, report or nullcontext():
        done = fit(
            trainer,
            train,
            validation,
            iterations,
            schedule,
            position=position,
            workers=workers,
            checkpoints=checkpoints,
            confusion=report.confusion if report else None,
            on_epoch=report or (lambda record: None),
            on_step=report.step if report else (lambda record: None),
            step_every=args.disp_batches,
            progress=Progress(args.disp_batches) if report else None,
            stop=stop,
        )
        if report and not done:
            report.event("stopped by a signal")
    if done:
        print(f"saved {parameters_path(prefix, epochs)}, {prefix}-log.jsonl and {prefix}-report.html")
        return None
    going_on = command if args.resume else f"{command} --resume"
    print(f"stopped; the state is in {checkpoints.resume_path}, go on with: {going_on}")
    return 128 + (stop.signal or signal.SIGTERM)  # or another worker had one


def _give_up(rank: int) -> None:
    """Ends this process, whose main thread may wait inside MXNet for a worker that is gone."""
    print(
        f"train.py: error: worker {rank} has ended, and the others cannot go on: start all of them with --resume",
        file=sys.stderr,
        flush=True,
    )
    os._exit(1)


def _expect_the_same(workers: Workers, trainer: Trainer, position: Position) -> None:
    """UsageError where the workers begin at different points, having found different files."""
    crc = zlib.crc32(repr(position).encode())
    if workers.count > 1:
        for array in trainer.state().values():
            crc = zlib.crc32(array.tobytes(), crc)
    if not workers.agree(crc):
        raise UsageError(
            f"the workers would begin with different states, worker {workers.rank} with that after iteration "
            f"{position.iteration}: the files of --model-prefix have to be the same on every machine"
        )


def _position(
    args: argparse.Namespace, checkpoints: Checkpoints, trainer: Trainer, iterations: int, batches: int
) -> Position:
    """Where to begin, with `trainer` set to it."""
    if args.resume:
        position = checkpoints.resume(trainer)
        if position:
            return position
        newest = newest_epoch(checkpoints.prefix)
        if newest is not None and args.load_epoch is None:
            raise UsageError(
                f"there is no {checkpoints.resume_path}, but {parameters_path(checkpoints.prefix, newest)}: "
                f"go on from that with --load-epoch {newest}, or choose another --model-prefix"
            )
        _note(f"there is no {checkpoints.resume_path} yet: a new run begins")
    elif args.load_epoch is None and checkpoints.unfinished(iterations):
        raise UsageError(
            f"{checkpoints.resume_path} is of a run that is not finished: go on with --resume, "
            "or remove that file to begin anew, or choose another --model-prefix"
        )
    if args.load_epoch is None:
        return Position()
    path = parameters_path(checkpoints.prefix, args.load_epoch)
    _require_same_normalization(trainer.net, path)
    load_parameters(trainer.net, path)
    return Position(epoch=args.load_epoch, iteration=args.load_epoch * batches)


def _require_same_normalization(net: Any, path: str) -> None:
    """UsageError where the network in `path` sees images otherwise than `net`, whose card would then be wrong."""
    arrays = read_arrays(path)
    for statistic in ("mean", "std"):
        ours, theirs = parameter_value(getattr(net[0], statistic)), arrays.get(f"0.{statistic}")
        if theirs is None or (ours.shape == theirs.shape and np.allclose(ours, theirs, atol=1e-3)):
            continue
        values = ",".join(f"{value:g}" for value in theirs.ravel())
        way_out = f"--rgb-{statistic} {values}" if theirs.size == 3 else "its mean image by --mean-image"
        raise UsageError(f"{path} was trained with another {statistic} than this run's: give {way_out}")


def _training_loader(
    args: argparse.Namespace, recipe: Recipe, records: Sequence[RecordFile], workers: Workers
) -> Loader:
    """Augmented batches of this worker."""
    (red, green, blue), jitter = recipe.rgb_mean, recipe.colour_jitter
    augmented = TrainTransform(
        size=recipe.size,
        crop=recipe.crop,
        interpolation=args.interpolation,
        scale=recipe.shorter_side,
        padding=recipe.padding,
        fill=(round(red), round(green), round(blue)),  # 0 after normalization
        flip=recipe.flip,
        colour=ColourJitter(jitter, jitter, jitter, pca_noise=recipe.pca_noise),
    )
    return Loader(
        records,
        recipe.batch_size,
        augmented,
        shuffle=True,
        seed=args.seed,
        threads=args.data_nthreads,
        rank=workers.rank,
        world_size=workers.count,
        last_batch="discard",
    )


def _described(paths: Sequence[str], images: int) -> str:
    """Data as a run card has it: compare.py sees whether two runs had the same."""
    return f"{', '.join(map(os.path.abspath, paths))} ({images:,} images)"


def _note(message: str) -> None:
    print(f"note: {message}", file=sys.stderr)
