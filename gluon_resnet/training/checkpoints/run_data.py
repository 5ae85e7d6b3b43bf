"""What the labels and the images of a run are, as its states keep it: a run goes on with the same alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Optional

from gluon_resnet.card import class_difference
from gluon_resnet.json_values import from_json, require
from gluon_resnet.provenance import DataSet
from gluon_resnet.terminal import shown


@dataclass(frozen=True)
class RunData:
    """Names of the classes, in the order of the labels, and the records. Where the files are is no part of it."""

    classes: tuple[str, ...]
    training: DataSet
    validation: Optional[DataSet] = None

    def __post_init__(self) -> None:
        names = isinstance(self.classes, tuple) and all(isinstance(name, str) for name in self.classes)
        require(names, "classes", "a list of names", self.classes)

    def content(self) -> dict[str, Any]:
        """As values that JSON knows."""
        return {**asdict(self), "classes": list(self.classes)}

    @staticmethod
    def of(content: Any) -> RunData:
        """What `content` gave, read back from JSON; UsageError for anything else."""
        return from_json(RunData, content, "data")

    def difference(self, now: RunData) -> Optional[str]:
        """How `now`, the data of a run that is to go on from this one, differs, as a clause; None: it does not.

        A run may go on with validation where it had none, or without.
        """
        classes = class_difference(self.classes, now.classes)
        if classes:
            return f"the labels would mean other classes: {classes}"
        return data_difference("training", self.training, now.training) or data_difference(
            "validation", self.validation, now.validation
        )


def data_difference(what: str, then: Optional[DataSet], now: Optional[DataSet]) -> Optional[str]:
    """How two sets of records differ, as a clause; None where they do not, or one is not known."""
    if then is None or now is None or then.fingerprint == now.fingerprint:
        return None
    return f"the {what} data would be other records: {described(then)} then, {described(now)} now"


def described(data: DataSet) -> str:
    """A set of records, to read."""
    return f"{', '.join(map(shown, data.files))} ({data.images:,} images, fingerprint {data.fingerprint})"
