"""The learning rate as a function of the iteration and of the errors measured before it."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Optional

from gluon_resnet.json_values import is_integer, is_number, require

LR_MODES = ("step", "plateau", "cosine")

WINDOW = 100  # iterations over which the training error that ends a warm-up is measured


@dataclass(frozen=True)
class Observed:
    """What a schedule has observed of its run so far: part of the run's state, saved and resumed with it."""

    warm_from: Optional[int] = None  # the first iteration after the warm-up until an error, once known
    window_wrong: int = 0  # misclassified images in the current window ...
    window_images: int = 0  # ... and all images in it
    best_error: Optional[float] = None  # per cent; the lowest that counted as an improvement
    bad_epochs: int = 0  # consecutive epochs without an improvement
    reductions: int = 0  # of the learning rate at plateaus

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            number = is_integer(value, 0, 1 << 62) or (
                field.name == "best_error" and is_number(value, 0, 1e9)
            )
            require(number or value is field.default is None, field.name, "a number from 0", value)


@dataclass(frozen=True)
class Schedule:
    """A warm-up, and then a rate that falls in steps, at plateaus of the error, or along half a cosine.

    Iterations are updates, counted from 0 over all epochs. Only 'plateau' and `warmup_error` need an `Observed`.

    Attributes:
        lr: the learning rate after the warm-up.
        mode: one of LR_MODES.
        factor: the factor by which each step or plateau multiplies the rate.
        steps: for 'step', the iterations, in ascending order, at which the rate falls.
        patience, threshold: for 'plateau', as in PyTorch's ReduceLROnPlateau: the rate falls after more than `patience`
            consecutive epochs whose error was not below (1 - threshold) times the best one.
        min_lr: for 'plateau' and 'cosine', the lowest rate.
        iterations: for 'cosine', the total number of iterations, including the warm-up; then the rate stays at
            `min_lr`.
        warmup: the number of iterations over which the rate rises linearly from `warmup_lr`; the last one has `lr`.
        warmup_lr: the rate at the beginning of the warm-up or, with `warmup_error`, throughout it.
        warmup_error: an error in per cent: the rate is `warmup_lr` until the training error over WINDOW iterations (0
            to 99, 100 to 199, ...) is below it (He et al. 2015, §4.2). The steps stay where they are.
    """

    lr: float
    mode: str = "step"
    factor: float = 0.1
    steps: tuple[int, ...] = ()
    patience: int = 10
    threshold: float = 1e-4
    min_lr: float = 0.0
    iterations: int = 0
    warmup: int = 0
    warmup_lr: float = 0.0
    warmup_error: Optional[float] = None

    def __call__(self, iteration: int, observed: Optional[Observed] = None) -> float:
        """The learning rate of update number `iteration`; `observed` is None if nothing has been observed yet."""
        observed = observed or Observed()
        warm_from = math.inf if observed.warm_from is None else observed.warm_from
        if self.warmup_error is not None and iteration < warm_from:
            return self.warmup_lr
        if iteration < self.warmup:
            return self.warmup_lr + (self.lr - self.warmup_lr) * (iteration + 1) / self.warmup
        if self.mode == "cosine":
            done = (iteration - self.warmup) / max(1, self.iterations - self.warmup)
            return self.min_lr + (self.lr - self.min_lr) * (1 + math.cos(math.pi * min(done, 1.0))) / 2
        if self.mode == "plateau":
            return max(self.lr * self.factor**observed.reductions, self.min_lr)
        return self.lr * self.factor ** sum(iteration >= step for step in self.steps)

    def warming(self, observed: Observed) -> bool:
        """Whether `after_update` must be called, because the warm-up waits for an error."""
        return self.warmup_error is not None and observed.warm_from is None

    def after_update(self, observed: Observed, iterations: int, wrong: int, images: int) -> Observed:
        """The observations after `iterations` updates, the last of which had `wrong` errors in `images` images."""
        wrong, images = observed.window_wrong + wrong, observed.window_images + images
        if iterations % WINDOW:
            return replace(observed, window_wrong=wrong, window_images=images)
        assert self.warmup_error is not None
        warm_from = iterations if 100.0 * wrong / images < self.warmup_error else None
        return replace(observed, window_wrong=0, window_images=0, warm_from=warm_from)

    def after_epoch(self, observed: Observed, error: float) -> Observed:
        """The observations after an epoch whose error, in per cent, was `error`."""
        if self.mode != "plateau":
            return observed
        if observed.best_error is None or error < observed.best_error * (1 - self.threshold):
            return replace(observed, best_error=error, bad_epochs=0)
        if observed.bad_epochs < self.patience:
            return replace(observed, bad_epochs=observed.bad_epochs + 1)
        return replace(observed, bad_epochs=0, reductions=observed.reductions + 1)
