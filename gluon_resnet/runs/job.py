"""What the command line of train.py asks for, built: data, network, trainer, and where its state is kept."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Optional

from gluon_resnet._mxnet import mx
from gluon_resnet.card import ModelCard
from gluon_resnet.cli.command import as_typed
from gluon_resnet.cli.train.options import chosen_recipe
from gluon_resnet.data import ColourJitter, EvalTransform, Loader, RecordFile, TrainTransform
from gluon_resnet.data.labels import check_labels
from gluon_resnet.errors import UsageError
from gluon_resnet.evaluation.card_entries import card_versions, data_set
from gluon_resnet.models.build import build_network, describe_network
from gluon_resnet.models.saved import parameters_path
from gluon_resnet.runs.fitted import fitted, usual_size
from gluon_resnet.runs.mean import mean_image
from gluon_resnet.runs.pretrained import Pretrained, fill_in, with_resize
from gluon_resnet.runs.records import class_names, open_records
from gluon_resnet.terminal import note
from gluon_resnet.training.checkpoints.checkpoint import Checkpoints
from gluon_resnet.training.checkpoints.run_data import RunData
from gluon_resnet.training.checkpoints.states import States
from gluon_resnet.training.detect import DetectingTrainer
from gluon_resnet.training.devices import cpu_contexts, gpu_contexts
from gluon_resnet.training.distributed.engine import Engine
from gluon_resnet.training.distributed.horovod_engine import own_share
from gluon_resnet.training.distributed.workers import Workers
from gluon_resnet.training.mixup import Mixup
from gluon_resnet.training.recipes import Recipe
from gluon_resnet.training.trainer import Trainer
from gluon_resnet.training.transfer import freeze


@dataclass(frozen=True)
class Request:
    """A command line that was looked at as a whole; nothing is opened yet.

    Attributes:
        argv, args: as they were given, and parsed; `args.network` is known.
        recipe: the preset and what was given in its place.
        pretrained: the network to begin with, if any.
        contexts: the devices of this process.
    """

    argv: Sequence[str]
    args: argparse.Namespace
    recipe: Recipe
    pretrained: Optional[Pretrained]
    contexts: Sequence[Any]

    @staticmethod
    def of(argv: Sequence[str], args: argparse.Namespace) -> Request:
        """UsageError for options that do not go together, EnvironmentProblem for devices that are not there."""
        pretrained = fill_in(args)
        recipe = with_resize(chosen_recipe(args, args.network), pretrained)
        contexts = gpu_contexts(own_share(args.gpus)) if args.gpus else cpu_contexts(args.cpus)
        if recipe.batch_size < len(contexts):
            raise UsageError(f"a batch of {recipe.batch_size} cannot be split over {len(contexts)} devices")
        return Request(argv, args, recipe, pretrained, contexts)

    @property
    def prefix(self) -> str:
        """The beginning of the names of all files of the run."""
        return self.args.model_prefix or os.path.join("runs", self.args.network)

    @property
    def command(self) -> str:
        """The command line, to be typed again."""
        return as_typed(self.argv)


class Job:
    """One worker's part of a run, ready to begin or to go on. Nothing is written yet.

    Args:
        request: the command line.
        engine: what combines gradients over devices and workers.
        rank, world_size: of this worker.
        workers: that have to be given the same command line; None: nobody is asked, a step is replayed.
        checked: every number of every step is looked at (see DetectingTrainer).

    Attributes:
        card: of the network; mean: what is subtracted, where that was measured or read, else None.
        usual_size: width and height of a usual image that trains; None: not known.
        fitted: what became of the request's recipe by the number and size of the images that train.
        recipe: that, with the mean.
        records, validation_records: files, as open_records gives them.
        train, validation: loaders; None for a worker that does not validate.
        iterations, schedule: of the run.
        trainer: with the first weights.
        settings: what the numbers of the run depend on, besides the data.
        data: its classes and records.
        checkpoints: of the run.
    """

    def __init__(
        self,
        request: Request,
        engine: Engine,
        rank: int,
        world_size: int,
        checked: bool = False,
        workers: Optional[Workers] = None,
    ) -> None:
        args, recipe = request.args, request.recipe
        self.request, self.rank, self.world_size, self._engine = request, rank, world_size, engine
        if args.save_every and not engine.in_step:
            raise UsageError("--save-every needs workers that are in step: leave it out with dist_async")
        if args.load_epoch is not None and not args.resume:
            # Now: the mean may take an hour to measure.
            os.stat(parameters_path(request.prefix, args.load_epoch))
        classes = class_names([*args.data_train, *(args.data_val or [])], args.num_classes)
        self.records, self.validation_records = open_records(args.data_train, args.data_val, recipe.holdout)
        self.usual_size = usual_size(self.records)
        devices = len(request.contexts)
        self.fitted = fitted(args, recipe, self.records, self.usual_size, world_size, devices)
        recipe = self.fitted.recipe
        self.card = _card(request, recipe, classes)
        left = check_labels([*self.records, *self.validation_records], len(classes))
        if left and rank == 0:
            note(f"the labels of {left:,} records are looked at as they come, to lose no time now")
        self.mean_path = f"{request.prefix}-mean.npz"
        # Without a state a run begins anew, and a mean that is there is of an earlier one; a replay has no other.
        going_on = args.resume and (workers is None or bool(States(request.prefix).iterations()))
        self.mean = mean_image(args, recipe, self.records, self.mean_path if going_on else None)
        if self.mean:
            recipe = replace(recipe, rgb_mean=self.mean.mean)
            self.card = replace(self.card, mean=self.mean.mean, per_pixel_mean=True)
        self.recipe = recipe
        self.train = _training_loader(args, recipe, self.records, rank, world_size)
        self.validation = None
        if self.validation_records and rank == 0:  # every image counts once
            transform = EvalTransform(recipe.resize, recipe.size, args.interpolation)
            self.validation = Loader(
                self.validation_records, recipe.batch_size, transform, threads=args.data_nthreads
            )
        self.iterations = recipe.total_iterations(len(self.train))
        self.schedule = recipe.schedule(len(self.train))
        self.settings = self._settings()
        validated = data_set(self.validation) if self.validation else None
        self.data = RunData(self.card.classes, data_set(self.train), validated)
        if workers:  # before they share a network, for which they would wait
            workers.require_same(self._common())
        mx.random.seed(args.seed)
        net = build_network(self.card, self.mean.mean_image if self.mean else None, recipe.zero_gamma)
        net.initialize(ctx=request.contexts)
        if request.pretrained:
            request.pretrained.give_to(net, args.keeps_mean_image)
        if args.freeze:
            freeze(net)
        self.trainer = build_trainer(request, recipe, net, len(self.card.classes), engine, checked)
        self.checkpoints = Checkpoints(
            request.prefix,
            self.settings,
            save_period=args.save_period or self.fitted.save_period or 1,
            save_every=args.save_every,
            keep=args.keep,
            writes=rank == 0,
            data=self.data,
        )

    def _settings(self) -> dict[str, Any]:
        args = self.request.args
        return {
            **asdict(self.recipe),
            "epochs": None,
            # Another run can be made longer.
            "iterations": self.iterations if self.recipe.lr_mode == "cosine" else None,
            "network": args.network,
            "shortcut": args.shortcut,
            "variant": args.variant,
            "classes": len(self.card.classes),
            "pretrained": args.pretrained,
            "freeze": args.freeze or None,
            "records": self.train.num_records,
            "seed": args.seed,
            "devices": len(self.request.contexts),
            "world_size": self.world_size,
            "asynchronous": None if self._engine.in_step else True,
            "dtype": args.dtype,
            "top_k": args.top_k,
        }

    def _common(self) -> dict[str, Any]:
        """What has to be the same for all workers of this run."""
        args, training = self.request.args, self.data.training
        return {
            **self.settings,
            "iterations": self.iterations,
            "save_every": args.save_every,
            "resume": args.resume,
            "load_epoch": args.load_epoch,
            "recompute": args.recompute,
            "training images": training.images,
            "training data's fingerprint": training.fingerprint,
            **{f"class {label}": name for label, name in enumerate(self.card.classes)},
        }


def build_trainer(
    request: Request, recipe: Recipe, net: Any, classes: int, engine: Engine, checked: bool = False
) -> Trainer:
    """The trainer of an initialized network, as `recipe` and the command line have it."""
    args = request.args
    return (DetectingTrainer if checked else Trainer)(
        net,
        request.contexts,
        classes,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        decay_bn_and_bias=recipe.decay_bn_and_bias,
        label_smoothing=recipe.label_smoothing,
        mixup=Mixup(recipe.mixup_alpha, args.seed) if recipe.mixup_alpha else None,
        engine=engine,
        recompute=args.recompute,
        dtype=args.dtype,
        seed=args.seed,
        top_k=args.top_k,
    )


def _card(request: Request, recipe: Recipe, classes: tuple[str, ...]) -> ModelCard:
    """The model card of the network to be, whose mean may not be known yet; UsageError where there is no such one."""
    args = request.args
    card = ModelCard(
        network=args.network,
        classes=classes,
        resize=recipe.resize,
        size=recipe.size,
        mean=recipe.rgb_mean,
        std=recipe.rgb_std,
        interpolation=args.interpolation,
        per_pixel_mean=args.keeps_mean_image,
        shortcut=args.shortcut,
        variant=args.variant,
        versions=card_versions(),
    )
    describe_network(card, recipe.zero_gamma)
    return card


def _training_loader(
    args: argparse.Namespace, recipe: Recipe, records: Sequence[RecordFile], rank: int, world_size: int
) -> Loader:
    """Augmented batches of one worker."""
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
        rank=rank,
        world_size=world_size,
        last_batch="discard",
    )
