"""The learning rate as a function of the iteration and of the errors that were measured before it."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Optional

from gluon_resnet.json_values import is_integer, is_number, require

LR_MODES = ("step", "plateau", "cosine")

WINDOW = 100  # iterations whose batches together give the training error that ends a warm-up


@dataclass(frozen=True)
class Observed:
    """What a run has shown to its schedule so far: part of its state, saved and resumed with it."""

    warm_from: Optional[int] = None  # the first iteration after the warm-up until an error, once known
    window_wrong: int = 0  # images of the window under way that the network had wrong ...
    window_images: int = 0  # ... of so many
    best_error: Optional[float] = None  # per cent: the lowest that counted as better than the one before
    bad_epochs: int = 0  # in a row without a better one
    reductions: int = 0  # of the learning rate, at plateaus

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            number = is_integer(value, 0, 1 << 62) or (
                field.name == "best_error" and is_number(value, 0, 1e9)
            )
            require(number or value is field.default is None, field.name, "a number from 0", value)


@dataclass(frozen=True)
class Schedule:
    """A warm-up, then a rate that falls at steps, at plateaus of the error, or along half a cosine.

    Iterations are updates, counted from 0 over all epochs. Only 'plateau' and `warmup_error` need an `Observed`.

    Attributes:
        lr: learning rate after the warm-up.
        mode: one of LR_MODES.
        factor: what each step or plateau multiplies it by.
        steps: 'step': iterations, ascending, from which on a step has been taken.
        patience, threshold: 'plateau', as in PyTorch's ReduceLROnPlateau: the rate falls after more than `patience`
            epochs in a row whose error was not below (1 - threshold) times the best one.
        min_lr: 'plateau' and 'cosine' do not go below.
        iterations: 'cosine': how many there are in all, the warm-up included; after them it stays at `min_lr`.
        warmup: number of iterations over which it rises from `warmup_lr`, linearly; the last has `lr`.
        warmup_lr: where the warm-up begins, or, until an error, stays.
        warmup_error: per cent: the rate is `warmup_lr` until the training error of WINDOW iterations together (0 to 99,
            100 to 199, ...) is below it (He et al. 2015, §4.2). The steps stay where they are.
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
        """The learning rate of the update number `iteration` (None: nothing was observed yet)."""
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
        """Whether `after_update` has to be called: the warm-up waits for an error."""
        return self.warmup_error is not None and observed.warm_from is None

    def after_update(self, observed: Observed, iterations: int, wrong: int, images: int) -> Observed:
        """What is known after an update: its batch of `images` had `wrong` ones; `iterations` are done."""
        wrong, images = observed.window_wrong + wrong, observed.window_images + images
        if iterations % WINDOW:
            return replace(observed, window_wrong=wrong, window_images=images)
        assert self.warmup_error is not None
        warm_from = iterations if 100.0 * wrong / images < self.warmup_error else None
        return replace(observed, window_wrong=0, window_images=0, warm_from=warm_from)

    def after_epoch(self, observed: Observed, error: float) -> Observed:
        """What is known after an epoch whose error, in per cent, was `error`."""
        if self.mode != "plateau":
            return observed
        if observed.best_error is None or error < observed.best_error * (1 - self.threshold):
            return replace(observed, best_error=error, bad_epochs=0)
        if observed.bad_epochs < self.patience:
            return replace(observed, bad_epochs=observed.bad_epochs + 1)
        return replace(observed, bad_epochs=0, reductions=observed.reductions + 1)
