"""The labels and images of a run, as its states record them: a run can only be resumed with the same ones."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Optional

from gluon_resnet.card import class_difference
from gluon_resnet.json_values import from_json, require
from gluon_resnet.provenance import DataSet
from gluon_resnet.terminal import shown


@dataclass(frozen=True)
class RunData:
    """The class names, in the order of the labels, and the records. The location of the files does not matter."""

    classes: tuple[str, ...]
    training: DataSet
    validation: Optional[DataSet] = None

    def __post_init__(self) -> None:
        names = isinstance(self.classes, tuple) and all(isinstance(name, str) for name in self.classes)
        require(names, "classes", "a list of names", self.classes)

    def content(self) -> dict[str, Any]:
        """The data as a dict of JSON values."""
        return {**asdict(self), "classes": list(self.classes)}

    @staticmethod
    def of(content: Any) -> RunData:
        """The data that `content` returned, read back from JSON; UsageError for anything else."""
        return from_json(RunData, content, "data")

    def difference(self, now: RunData) -> Optional[str]:
        """How `now`, the data with which this run is to be resumed, differs, as a clause; None if it does not.

        A run may be resumed with validation if it had none, or without it.
        """
        classes = class_difference(self.classes, now.classes)
        if classes:
            return f"the labels would mean other classes: {classes}"
        return data_difference("training", self.training, now.training) or data_difference(
            "validation", self.validation, now.validation
        )


def data_difference(what: str, then: Optional[DataSet], now: Optional[DataSet]) -> Optional[str]:
    """How two sets of records differ, as a clause; None if they do not, or one is unknown."""
    if then is None or now is None or then.fingerprint == now.fingerprint:
        return None
    return f"the {what} data would be different records: {described(then)} then, {described(now)} now"


def described(data: DataSet) -> str:
    """A description of a set of records."""
    return f"{', '.join(map(shown, data.files))} ({data.images:,} images, fingerprint {data.fingerprint})"
