"""A run's position between two batches, and what it has seen so far: all of its state except the arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Optional

from gluon_resnet.json_values import INT64_MAX, is_integer, require
from gluon_resnet.training.metrics import Sums
from gluon_resnet.training.schedule import Observed


@dataclass(frozen=True)
class Best:
    """The validated epoch with the lowest top-1 error so far; the first one if several are equal."""

    epochs: int  # done, including it: its parameters are PREFIX-NNNN.params
    error: float  # per cent


@dataclass(frozen=True)
class Position:
    """A run's position between two batches."""

    epoch: int = 0  # the current one, counted from 0
    batch: int = 0  # batches of it that have been trained on
    trained: bool = False  # whether all have been, so that only the epoch's validation is left
    iteration: int = 0  # updates since the beginning, over all epochs
    seconds: float = 0.0  # spent training in this epoch
    sums: Sums = field(default_factory=Sums)  # over worker 0's batches of this epoch ...
    others: Sums = field(default_factory=Sums)  # ... and over those of the other workers, if any
    observed: Observed = field(default_factory=Observed)  # what the learning rate also depends on
    best: Optional[Best] = None
    loader: Optional[Mapping[str, Any]] = None  # its state_dict(), if it has one

    def __post_init__(self) -> None:
        for name in ("epoch", "batch", "iteration"):
            require(
                is_integer(getattr(self, name), 0, INT64_MAX), name, "a number from 0", getattr(self, name)
            )

    def done(self, iterations: int) -> bool:
        """Whether a run of `iterations` iterations has nothing left to do, including validation."""
        return self.iteration >= iterations and not self.trained

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> Position:
        """The position that dataclasses.asdict() was given; TypeError, KeyError or ValueError for bad values."""
        best, loader = values["best"], values["loader"]
        require(isinstance(values["trained"], bool), "trained", "true or false", values["trained"])
        require(loader is None or isinstance(loader, dict), "loader", "an object or null", loader)
        _require_numbers({"seconds": values["seconds"]})
        for numbers in (values["sums"], values["others"], *([] if best is None else [best])):
            _require_numbers(numbers)
        return Position(
            **{
                **values,
                "sums": Sums(**values["sums"]),
                "others": Sums(**values["others"]),
                "observed": Observed(**values["observed"]),
                "best": None if best is None else Best(**best),
            }
        )


def _require_numbers(values: Any) -> None:
    """Raise UsageError unless all values are numbers; a loss may be NaN."""
    require(isinstance(values, dict), "a part of the position", "an object", values)
    for name, value in values.items():
        number = isinstance(value, float) or is_integer(value, -INT64_MAX, INT64_MAX)
        require(number, name, "a number", value)
