"""tools/train.py: train a network on record files."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Optional

import numpy as np

import gluon_resnet
from gluon_resnet._mxnet import mx
from gluon_resnet.analysis.curves import draw_curves
from gluon_resnet.cli.train_options import chosen_recipe, parser
from gluon_resnet.cli.train_pretrained import fill_in, with_resize
from gluon_resnet.data import ColourJitter, EvalTransform, Loader, TrainTransform
from gluon_resnet.errors import DataError, EnvironmentProblem, UsageError
from gluon_resnet.models import ModelCard
from gluon_resnet.models.parameters import load_parameters
from gluon_resnet.models.saved import newest_epoch, parameters_path
from gluon_resnet.training.checkpoint import Checkpoints, Position
from gluon_resnet.training.devices import cpu_contexts, gpu_contexts, open_kvstore
from gluon_resnet.training.fit import fit
from gluon_resnet.training.log import EpochLog, EpochRecord
from gluon_resnet.training.progress import Progress
from gluon_resnet.training.recipes import Recipe
from gluon_resnet.training.stop import StopRequest
from gluon_resnet.training.trainer import Trainer
from gluon_resnet.training.transfer import freeze


def main(argv: Optional[Sequence[str]] = None) -> Optional[int]:
    """Train as `argv` says (default: the command line); the exit status, None for success."""
    argv = sys.argv[1:] if argv is None else list(argv)
    args = parser().parse_args(argv)
    pretrained = fill_in(args)
    command = shlex.join([os.path.basename(sys.executable), sys.argv[0], *argv])
    network = args.network if args.num_layers is None else f"{args.network}{args.num_layers}"
    prefix = args.model_prefix or os.path.join("runs", network)
    recipe = with_resize(chosen_recipe(args), pretrained)

    contexts = gpu_contexts(args.gpus) if args.gpus else cpu_contexts(args.cpus)
    if recipe.batch_size < len(contexts):
        raise UsageError(f"a batch of {recipe.batch_size} cannot be split over {len(contexts)} devices")
    store = open_kvstore(args.kv_store, contexts)
    rank, world_size = (0, 1) if isinstance(store, str) else (store.rank, store.num_workers)

    train, validation = _loaders(args, recipe, rank, world_size)
    card = ModelCard(
        network=network,
        classes=_class_names([*args.data_train, *(args.data_val or [])], args.num_classes),
        resize=recipe.resize,
        size=recipe.size,
        mean=recipe.rgb_mean,
        std=recipe.rgb_std,
        interpolation=args.interpolation,
        per_pixel_mean=args.mean_image,
        shortcut=args.shortcut,
        variant=args.variant,
        training={"command": command, "recipe": recipe.name, "versions": _versions()},
    )
    mx.random.seed(args.seed)
    net = card.build()
    net.initialize(ctx=contexts)
    if pretrained:
        pretrained.give_to(net, args.mean_image)
    if args.freeze:
        freeze(net)
    trainer = Trainer(
        net,
        contexts,
        len(card.classes),
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        decay_bn_and_bias=recipe.decay_bn_and_bias,
        kvstore=store,
        dtype=args.dtype,
        top_k=args.top_k,
    )
    settings = {  # what the numbers of a run depend on, besides the data
        **asdict(recipe),
        "network": network,
        "shortcut": args.shortcut,
        "variant": args.variant,
        "classes": len(card.classes),
        "pretrained": args.pretrained,
        "freeze": args.freeze or None,
        "records": train.num_records,
        "seed": args.seed,
        "devices": len(contexts),
        "world_size": world_size,
        "dtype": args.dtype,
        "top_k": args.top_k,
    }
    checkpoints = Checkpoints(prefix, settings, args.save_period)
    epochs = args.num_epochs or recipe.epochs(len(train))
    schedule = recipe.schedule(len(train))
    position = _position(args, checkpoints, trainer, epochs, len(train))
    if pretrained and not position.iteration:
        _note(
            f"the weights are those of {pretrained.path}; the head, for {len(card.classes)} classes, is new"
        )
    if position.epoch >= epochs:
        print(f"{prefix}: all {epochs} epochs are done already")
        return None
    if schedule.steps and schedule.steps[-1] >= epochs * len(train):
        _note(f"the run ends before the learning rate's step at iteration {schedule.steps[-1]}")

    report = _Report(prefix, card, epochs, position.epoch, train) if rank == 0 else None  # one worker writes
    with StopRequest() as stop:
        done = fit(
            trainer,
            train,
            validation,
            epochs,
            schedule,
            position=position,
            seed=args.seed,
            checkpoints=checkpoints if report else None,
            on_epoch=report or (lambda record: None),
            progress=Progress(args.disp_batches) if report else None,
            stop=stop,
        )
    if done:
        print(f"saved {parameters_path(prefix, epochs)}, {prefix}-log.jsonl and {prefix}-curves.png")
        return None
    going_on = command if args.resume else f"{command} --resume"
    print(f"stopped; the state is in {checkpoints.resume_path}, go on with: {going_on}")
    return 128 + (stop.signal or 0)


class _Report:
    """Called with each epoch's record: the lines, the log, the curves, and the errors in the model card."""

    def __init__(self, prefix: str, card: ModelCard, epochs: int, done: int, train: Loader) -> None:
        os.makedirs(os.path.dirname(prefix) or ".", exist_ok=True)
        self._prefix, self._card, self._epochs, self._curves = prefix, card, epochs, True
        self._train = train
        self._log = EpochLog(f"{prefix}-log.jsonl", done)
        card.save(f"{prefix}-model.json")  # now: a folder that cannot be written to is known before the work

    def __call__(self, record: EpochRecord) -> None:
        print(record.line(self._epochs), flush=True)
        loading = self._train.stats()
        if loading.batches:  # none where a run goes on with an epoch's validation
            print(f"  loader: {loading}", flush=True)
            record = replace(record, data_wait=round(loading.consumer_wait_share, 3))
        self._log.append(record)
        replace(self._card, training={**self._card.training, **asdict(record)}).save(
            f"{self._prefix}-model.json"
        )
        records = self._log.records
        try:
            if self._curves:
                draw_curves(
                    f"{self._prefix}-curves.png",
                    [r.iteration for r in records],
                    [r.train_top1_error for r in records],
                    [r.val_top1_error for r in records],
                    title=self._card.network,
                )
        except EnvironmentProblem as problem:
            self._curves = False
            _note(str(problem))


def _position(
    args: argparse.Namespace, checkpoints: Checkpoints, trainer: Trainer, epochs: int, batches: int
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
    elif args.load_epoch is None and checkpoints.unfinished(epochs):
        raise UsageError(
            f"{checkpoints.resume_path} is of a run that is not finished: go on with --resume, "
            "or remove that file to begin anew, or choose another --model-prefix"
        )
    if args.load_epoch is None:
        return Position()
    load_parameters(trainer.net, parameters_path(checkpoints.prefix, args.load_epoch))
    return Position(epoch=args.load_epoch, iteration=args.load_epoch * batches)


def _loaders(
    args: argparse.Namespace, recipe: Recipe, rank: int, world_size: int
) -> tuple[Loader, Optional[Loader]]:
    """Training batches of this rank; all validation batches on rank 0 (every image counts once)."""
    red, green, blue = recipe.rgb_mean
    augmented = TrainTransform(
        size=recipe.size,
        crop=recipe.crop,
        interpolation=args.interpolation,
        scale=recipe.shorter_side,
        padding=recipe.padding,
        fill=(round(red), round(green), round(blue)),  # 0 after normalization
        flip=recipe.flip,
        colour=ColourJitter(pca_noise=recipe.pca_noise),
    )
    train = Loader(
        args.data_train,
        recipe.batch_size,
        augmented,
        shuffle=True,
        seed=args.seed,
        threads=args.data_nthreads,
        rank=rank,
        world_size=world_size,
        last_batch="discard",
    )
    if not args.data_val or rank:
        return train, None
    transform = EvalTransform(resize=recipe.resize, size=recipe.size, interpolation=args.interpolation)
    return train, Loader(args.data_val, recipe.batch_size, transform, threads=args.data_nthreads)


def _class_names(records: Sequence[str], count: Optional[int]) -> tuple[str, ...]:
    """The names in the .classes files beside `records`, which have to agree; numbers where there is none."""
    names: Optional[tuple[str, ...]] = None
    for path in (os.path.splitext(record)[0] + ".classes" for record in records):
        if not os.path.exists(path):
            continue
        with open(path, encoding="utf-8") as stream:
            found = tuple(stream.read().splitlines())
        if names is None:
            names, first = found, path
        elif names != found:
            raise DataError(
                f"{path} has other classes than {first}: labels would mean different things", path
            )
    if names is None:
        if count is None:
            raise UsageError(f"there is no .classes file beside {records[0]}: give --num-classes")
        return tuple(str(label) for label in range(count))
    if count is not None and count != len(names):
        raise UsageError(f"--num-classes is {count}, and {first} has {len(names)} names")
    return names


def _versions() -> dict[str, str]:
    return {"gluon_resnet": gluon_resnet.__version__, "mxnet": mx.__version__, "numpy": np.__version__}


def _note(message: str) -> None:
    print(f"note: {message}", file=sys.stderr)
