"""One worker's part of a run, built: data, network, trainer, and checkpoints."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any, Optional

from gluon_resnet._mxnet import mx
from gluon_resnet.card import ModelCard
from gluon_resnet.data import ColorJitter, EvalTransform, Loader, RecordFile, TrainTransform
from gluon_resnet.data.labels import check_labels
from gluon_resnet.errors import UsageError
from gluon_resnet.evaluation.card_entries import card_versions, data_set
from gluon_resnet.models.batch_statistics import normalizations
from gluon_resnet.models.build import build_network, describe_network
from gluon_resnet.models.saved import parameters_path
from gluon_resnet.runs.fitted import fitted, usual_size
from gluon_resnet.runs.mean import mean_image
from gluon_resnet.runs.plan import Plan
from gluon_resnet.runs.records import class_names, open_records
from gluon_resnet.terminal import note
from gluon_resnet.training.checkpoints.checkpoint import Checkpoints
from gluon_resnet.training.checkpoints.run_data import RunData
from gluon_resnet.training.checkpoints.states import States
from gluon_resnet.training.detect import DetectingTrainer
from gluon_resnet.training.distributed.engine import Engine
from gluon_resnet.training.distributed.workers import Workers
from gluon_resnet.training.mixup import Mixup
from gluon_resnet.training.recipes import Recipe
from gluon_resnet.training.trainer import Trainer
from gluon_resnet.training.transfer import freeze


class Job:
    """One worker's part of a run, ready to begin or to resume. Nothing is written yet.

    Args:
        plan: the plan of the run.
        engine: the engine that combines gradients over devices and workers.
        rank, world_size: this worker's rank and the number of workers.
        workers: the workers, which must all have been given the same command line; None to replay a step alone.
        checked: whether every number of every step is checked (see DetectingTrainer).

    Attributes:
        card: the model card of the network.
        mean: the mean image to subtract if it was measured or read, otherwise None.
        usual_size: the width and height of a typical training image; None if not known.
        fitted: the plan's recipe, fitted to the number and size of the training images.
        recipe: that recipe, with the mean.
        records, validation_records: the record files, as open_records returns them.
        train, validation: the loaders; `validation` is None on a worker that does not validate.
        iterations, schedule: the number of iterations and the learning rate schedule of the run.
        trainer: the trainer, with the initial weights.
        settings: everything that the numbers of the run depend on, besides the data.
        data: the run's classes and records.
        checkpoints: the checkpoints of the run.
    """

    def __init__(
        self,
        plan: Plan,
        engine: Engine,
        rank: int,
        world_size: int,
        checked: bool = False,
        workers: Optional[Workers] = None,
    ) -> None:
        settings, recipe = plan.settings, plan.recipe
        self.plan, self.rank, self.world_size, self._engine = plan, rank, world_size, engine
        if settings.save_every and not engine.in_step:
            raise UsageError("--save-every needs workers that run in step: omit it with dist_async")
        if settings.load_epoch is not None and not settings.resume:
            # Checked now, since measuring the mean may take an hour.
            os.stat(parameters_path(plan.prefix, settings.load_epoch))
        classes = class_names([*settings.data_train, *settings.data_val], settings.num_classes)
        self.records, self.validation_records = open_records(
            settings.data_train, settings.data_val, recipe.holdout
        )
        self.usual_size = usual_size(self.records)
        devices = len(plan.contexts)
        self.fitted = fitted(settings, recipe, self.records, self.usual_size, world_size, devices)
        recipe = self.fitted.recipe
        self.card = _card(plan, recipe, classes)
        left = check_labels([*self.records, *self.validation_records], len(classes))
        if left and rank == 0:
            note(f"the labels of {left:,} records will be checked as they are read, to save time now")
        self.mean_path = f"{plan.prefix}-mean.npz"
        # Without a state a run starts afresh, and a mean on disk is an earlier run's; a replay uses its own run's.
        going_on = settings.resume and (workers is None or bool(States(plan.prefix).iterations()))
        self.mean = mean_image(plan, recipe, self.records, self.mean_path if going_on else None)
        if self.mean:
            recipe = replace(recipe, rgb_mean=self.mean.mean)
            self.card = replace(self.card, mean=self.mean.mean, per_pixel_mean=True)
        self.recipe = recipe
        self.train = _training_loader(plan, recipe, self.records, rank, world_size)
        self.validation = None
        if self.validation_records and rank == 0:  # every image counts once
            transform = EvalTransform(recipe.resize, recipe.size, plan.interpolation)
            self.validation = Loader(
                self.validation_records, recipe.batch_size, transform, threads=settings.data_nthreads
            )
        self.iterations = recipe.total_iterations(len(self.train))
        self.schedule = recipe.schedule(len(self.train))
        self.settings = self._settings()
        validated = data_set(self.validation) if self.validation else None
        self.data = RunData(self.card.classes, data_set(self.train), validated)
        if workers:  # before they share a network, which would make them wait
            workers.require_same(self._common())
        mx.random.seed(settings.seed)
        net = build_network(self.card, self.mean.mean_image if self.mean else None, recipe.zero_gamma)
        net.initialize(ctx=plan.contexts)
        if plan.pretrained:
            plan.pretrained.give_to(net, plan.keeps_mean_image)
        if settings.freeze:
            freeze(net)
        if settings.recompute_statistics:
            _require_statistics(settings.recompute_statistics, net, plan.network, len(self.train))
        self.trainer = build_trainer(plan, recipe, net, len(self.card.classes), engine, checked)
        self.checkpoints = Checkpoints(
            plan.prefix,
            self.settings,
            save_period=settings.save_period or self.fitted.save_period or 1,
            save_every=settings.save_every,
            keep=settings.keep,
            writes=rank == 0,
            data=self.data,
        )

    def _settings(self) -> dict[str, Any]:
        settings = self.plan.settings
        return {
            **asdict(self.recipe),
            "epochs": None,
            # With other modes a run can be extended.
            "iterations": self.iterations if self.recipe.lr_mode == "cosine" else None,
            "network": self.plan.network,
            "shortcut": settings.shortcut,
            "variant": self.plan.variant,
            "classes": len(self.card.classes),
            "pretrained": settings.pretrained,
            "freeze": settings.freeze or None,
            "records": self.train.num_records,
            "seed": settings.seed,
            "devices": len(self.plan.contexts),
            "world_size": self.world_size,
            "asynchronous": None if self._engine.in_step else True,
            "dtype": settings.dtype,
            "top_k": settings.top_k,
            "recompute_statistics": settings.recompute_statistics or None,
        }

    def _common(self) -> dict[str, Any]:
        """Everything that has to be the same for all workers of this run."""
        settings, training = self.plan.settings, self.data.training
        return {
            **self.settings,
            "iterations": self.iterations,
            "save_every": settings.save_every,
            "resume": settings.resume,
            "load_epoch": settings.load_epoch,
            "recompute": settings.recompute,
            "training images": training.images,
            "training data's fingerprint": training.fingerprint,
            **{f"class {label}": name for label, name in enumerate(self.card.classes)},
        }


def build_trainer(
    plan: Plan, recipe: Recipe, net: Any, classes: int, engine: Engine, checked: bool = False
) -> Trainer:
    """The trainer of an initialized network, as `recipe` and the settings ask."""
    settings = plan.settings
    return (DetectingTrainer if checked else Trainer)(
        net,
        plan.contexts,
        classes,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        decay_bn_and_bias=recipe.decay_bn_and_bias,
        label_smoothing=recipe.label_smoothing,
        mixup=Mixup(recipe.mixup_alpha, settings.seed) if recipe.mixup_alpha else None,
        engine=engine,
        recompute=settings.recompute,
        dtype=settings.dtype,
        seed=settings.seed,
        top_k=settings.top_k,
    )


def _card(plan: Plan, recipe: Recipe, classes: tuple[str, ...]) -> ModelCard:
    """The model card of the network to be built, perhaps with no known mean; UsageError if there is no such network."""
    settings = plan.settings
    card = ModelCard(
        network=plan.network,
        classes=classes,
        resize=recipe.resize,
        size=recipe.size,
        mean=recipe.rgb_mean,
        std=recipe.rgb_std,
        interpolation=plan.interpolation,
        per_pixel_mean=plan.keeps_mean_image,
        shortcut=settings.shortcut,
        variant=plan.variant,
        versions=card_versions(),
    )
    describe_network(card, recipe.zero_gamma)
    return card


def _require_statistics(batches: int, net: Any, network: str, epoch: int) -> None:
    """UsageError unless `net` has statistics to recompute, and an epoch has that many batches."""
    if not normalizations(net):
        raise UsageError(
            f"--recompute-statistics: {network} has no batch normalization that is trained: omit it"
        )
    if batches > epoch:
        raise UsageError(
            f"--recompute-statistics {batches}: an epoch has {epoch} batches: give at most {epoch}"
        )


def _training_loader(
    plan: Plan, recipe: Recipe, records: Sequence[RecordFile], rank: int, world_size: int
) -> Loader:
    """The loader of augmented batches for one worker."""
    (red, green, blue), jitter = recipe.rgb_mean, recipe.color_jitter
    augmented = TrainTransform(
        size=recipe.size,
        crop=recipe.crop,
        interpolation=plan.interpolation,
        scale=recipe.shorter_side,
        padding=recipe.padding,
        fill=(round(red), round(green), round(blue)),  # 0 after normalization
        flip=recipe.flip,
        color=ColorJitter(jitter, jitter, jitter, pca_noise=recipe.pca_noise),
    )
    return Loader(
        records,
        recipe.batch_size,
        augmented,
        shuffle=True,
        seed=plan.settings.seed,
        threads=plan.settings.data_nthreads,
        rank=rank,
        world_size=world_size,
        last_batch="discard",
    )
