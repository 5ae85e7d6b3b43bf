"""One worker's part of a run, built: data, network, trainer, and where its state is kept."""

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
    """One worker's part of a run, ready to begin or to go on. Nothing is written yet.

    Args:
        plan: of the run.
        engine: what combines gradients over devices and workers.
        rank, world_size: of this worker.
        workers: that have to be given the same command line; None: nobody is asked, a step is replayed.
        checked: every number of every step is looked at (see DetectingTrainer).

    Attributes:
        card: of the network; mean: what is subtracted, where that was measured or read, else None.
        usual_size: width and height of a usual image that trains; None: not known.
        fitted: what became of the plan's recipe by the number and size of the images that train.
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
            raise UsageError("--save-every needs workers that are in step: leave it out with dist_async")
        if settings.load_epoch is not None and not settings.resume:
            # Now: the mean may take an hour to measure.
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
            note(f"the labels of {left:,} records are looked at as they come, to lose no time now")
        self.mean_path = f"{plan.prefix}-mean.npz"
        # Without a state a run begins anew, and a mean that is there is of an earlier one; a replay has no other.
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
        if workers:  # before they share a network, for which they would wait
            workers.require_same(self._common())
        mx.random.seed(settings.seed)
        net = build_network(self.card, self.mean.mean_image if self.mean else None, recipe.zero_gamma)
        net.initialize(ctx=plan.contexts)
        if plan.pretrained:
            plan.pretrained.give_to(net, plan.keeps_mean_image)
        if settings.freeze:
            freeze(net)
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
            # Another run can be made longer.
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
        }

    def _common(self) -> dict[str, Any]:
        """What has to be the same for all workers of this run."""
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
    """The trainer of an initialized network, as `recipe` and the command line have it."""
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
    """The model card of the network to be, whose mean may not be known yet; UsageError where there is no such one."""
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


def _training_loader(
    plan: Plan, recipe: Recipe, records: Sequence[RecordFile], rank: int, world_size: int
) -> Loader:
    """Augmented batches of one worker."""
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
