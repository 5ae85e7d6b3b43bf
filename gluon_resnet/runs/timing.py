"""tools/train.py --benchmark: how fast this machine trains a network, independently of any data."""

from __future__ import annotations

import os
import statistics
import time
from contextlib import closing
from typing import Any

from gluon_resnet.errors import UsageError
from gluon_resnet.models import get_model, with_normalization
from gluon_resnet.runs.job import build_trainer
from gluon_resnet.runs.plan import Plan
from gluon_resnet.runs.settings import Settings
from gluon_resnet.runs.workers import give_up
from gluon_resnet.terminal import say
from gluon_resnet.training.devices import open_engine
from gluon_resnet.training.distributed.engine import Engine
from gluon_resnet.training.distributed.workers import Workers
from gluon_resnet.training.metrics import Meter
from gluon_resnet.training.progress import Progress
from gluon_resnet.training.synthetic import SyntheticBatch
from gluon_resnet.training.trainer import Trainer

_WARM_UP = 5  # the first one builds the graph and oneDNN's code, and cuDNN tries its algorithms
_ITERATIONS = 50
_LR = 1e-6  # training on noise diverges with a recipe's rate
_MEANINGLESS = (
    "data_train",
    "data_val",
    "num_epochs",
    "pretrained",
    "load_epoch",
    "resume",
    "recompute_statistics",
)


def benchmark(settings: Settings) -> None:
    """Train on one synthetic batch and print milliseconds per step and images per second; no file is written.

    The network, the recipe and the devices are those of a run with the same settings. UsageError for a setting that has
    no meaning here.
    """
    for name in _MEANINGLESS:
        if getattr(settings, name):
            option = "--" + name.replace("_", "-")
            raise UsageError(f"--benchmark trains on noise and discards the result: omit {option}")
    plan = Plan.of(settings)
    engine = open_engine(settings.kv_store, plan.contexts)
    with Workers(engine, give_up):
        _benchmark(plan, engine)


def _benchmark(plan: Plan, engine: Engine) -> None:
    settings, recipe, contexts = plan.settings, plan.recipe, plan.contexts
    iterations = settings.num_iterations or _ITERATIONS
    classes = settings.num_classes or (10 if recipe.name.startswith("cifar10") else 1000)
    inner = get_model(plan.network, classes, settings.shortcut, plan.variant, recipe.zero_gamma)
    net = with_normalization(inner, recipe.rgb_mean, recipe.rgb_std)
    net.initialize(ctx=list(contexts))
    trainer = build_trainer(plan, recipe, net, classes, engine)
    batch = SyntheticBatch(recipe.batch_size, recipe.size, classes, settings.seed)
    devices = "1 device" if len(contexts) == 1 else f"{len(contexts)} devices"
    say(
        f"{plan.network}, {settings.dtype}, batches of {len(batch)} images of {recipe.size}x{recipe.size} on "
        f"{devices}, OMP_NUM_THREADS={os.environ['OMP_NUM_THREADS']}"
    )
    meter = trainer.new_meter()
    _run(trainer, batch, meter, _WARM_UP, settings.disp_batches, "warm-up")
    seconds = _run(trainer, batch, meter, iterations, settings.disp_batches, "step")
    meter.sums()
    rate, median = len(batch) * iterations / sum(seconds), statistics.median(seconds) * 1e3
    say(
        f"{iterations} steps after {_WARM_UP} warm-up steps: {rate:.1f} images/s, {median:.1f} ms per step "
        f"(median; {min(seconds) * 1e3:.1f} to {max(seconds) * 1e3:.1f})"
    )


def _run(trainer: Trainer, batch: Any, meter: Meter, count: int, every: int, title: str) -> list[float]:
    """The seconds of each of `count` steps: `step` returns once the step before it has been computed."""
    seconds = []
    began = time.perf_counter()
    with closing(Progress(every).follow(range(1, count + 1), title, count)) as numbers:
        for number in numbers:
            trainer.step(batch, _LR, meter, f"{title} {number}", number)
            now = time.perf_counter()
            seconds.append(now - began)
            began = now
    return seconds
