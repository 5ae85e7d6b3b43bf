"""The learning rate as a pure function of the iteration, so that a resumed run needs no state for it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """A linear warm-up, then a constant that is multiplied by `factor` at each step.

    Attributes:
        lr: learning rate after the warm-up.
        factor: what each step multiplies it by.
        steps: iterations (0-based, ascending) from which on a step has been taken.
        warmup: number of iterations over which it rises; iteration i of them has lr * (i + 1) / warmup.
    """

    lr: float
    factor: float = 0.1
    steps: tuple[int, ...] = ()
    warmup: int = 0

    def __call__(self, iteration: int) -> float:
        """The learning rate of the update number `iteration`, counted from 0 over all epochs."""
        if iteration < self.warmup:
            return self.lr * (iteration + 1) / self.warmup
        return self.lr * self.factor ** sum(iteration >= step for step in self.steps)
