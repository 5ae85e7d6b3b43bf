"""Between which two batches a run stands, and what it has seen: all of its state but the arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Optional

from gluon_resnet.training.metrics import Sums
from gluon_resnet.training.schedule import Observed


@dataclass(frozen=True)
class Best:
    """The validated epoch with the lowest top-1 error so far, the first of equal ones."""

    epochs: int  # done with it: its parameters are PREFIX-NNNN.params
    error: float  # per cent


@dataclass(frozen=True)
class Position:
    """Between which two batches a run stands."""

    epoch: int = 0  # the one that runs, from 0
    batch: int = 0  # batches of it that were trained on
    trained: bool = False  # all of them were: what is left of this epoch is its validation
    iteration: int = 0  # updates since the beginning, over all epochs
    seconds: float = 0.0  # spent training in this epoch
    sums: Sums = field(default_factory=Sums)  # over the batches of this epoch that worker 0 had ...
    others: Sums = field(default_factory=Sums)  # ... and over those of the other workers, if any
    observed: Observed = field(default_factory=Observed)  # what the learning rate depends on, too
    best: Optional[Best] = None
    loader: Optional[Mapping[str, Any]] = None  # its state_dict(), where it has one

    def __post_init__(self) -> None:
        for name in ("epoch", "batch", "iteration"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)!r}, expected a number from 0")

    def done(self, iterations: int) -> bool:
        """Whether a run of so many iterations has nothing left to do, validation included."""
        return self.iteration >= iterations and not self.trained

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> Position:
        """What dataclasses.asdict() made of one; TypeError, KeyError or ValueError where it cannot be."""
        return Position(
            **{
                **values,
                "sums": Sums(**values["sums"]),
                "others": Sums(**values["others"]),
                "observed": Observed(**values["observed"]),
                "best": None if values["best"] is None else Best(**values["best"]),
            }
        )
