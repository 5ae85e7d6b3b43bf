"""An anomaly on disk: PREFIX-anomaly-IIIIIIII.json, with what is needed to repeat its step, and a state of the run.

The state is the one before the step, in PREFIX-anomaly-IIIIIIII.params, or else the newest checkpoint of the run, in
PREFIX-anomaly-IIIIIIII-resume.json and its arrays. Workers other than the first write their part to
PREFIX-anomaly-IIIIIIII-workerN.json, and use the first one's state.
"""

from __future__ import annotations

import glob
import json
import math
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Callable, Optional, Union

from gluon_resnet.errors import ModelError
from gluon_resnet.files import whole_file
from gluon_resnet.json_values import INT64_MAX, is_integer, is_number, read_json, require, taking_apart
from gluon_resnet.models.parameters import write_arrays
from gluon_resnet.training.anomaly import Anomaly, Place
from gluon_resnet.training.checkpoints.checkpoint import Checkpoints

_FORMAT = "gluon-resnet anomaly 1"


@dataclass(frozen=True)
class AnomalyFile:
    """The content of the JSON file; `place` and the figures are those of the Anomaly."""

    message: str
    iteration: int  # these five make up the Place
    batch: int
    epoch: int
    epochs: int
    lr: float
    loss: Union[float, str, None]  # numbers that JSON cannot express are "nan", "inf" or "-inf"
    gradient_norm: Union[float, str, None]
    loss_scale: Optional[float]
    records: list[int]  # the ids of this worker's part of the batch, in order
    bad_records: list[int]
    rank: int  # of this worker
    world_size: int  # the number of workers
    seed: int
    arguments: list[str]  # those of the command line
    command: str  # the whole command line
    folder: str  # the one in which it ran
    settings: dict[str, Any]  # those in the checkpoints
    versions: dict[str, str]

    @property
    def place(self) -> Place:
        """The step in question."""
        return Place(self.iteration, self.batch, self.epoch, self.epochs, self.lr)

    @staticmethod
    def of(anomaly: Anomaly, **run: Any) -> AnomalyFile:
        """The file for an anomaly of fit(); `run` gives the fields from `rank` on."""
        assert isinstance(anomaly.where, Place)
        return AnomalyFile(
            message=str(anomaly),
            **anomaly.where._asdict(),
            loss=_to_json(anomaly.loss),
            gradient_norm=_to_json(anomaly.gradient_norm),
            loss_scale=anomaly.loss_scale,
            records=anomaly.records,
            bad_records=anomaly.bad_records,
            **run,
        )

    def save(self, prefix: str, anomaly: Anomaly, checkpoints: Optional[Checkpoints]) -> str:
        """Write the file and the state, and return its path; `checkpoints` is None unless this worker writes them."""
        os.makedirs(os.path.dirname(prefix) or ".", exist_ok=True)
        base = f"{prefix}-anomaly-{self.iteration:08d}"
        path = f"{base}-worker{self.rank}.json" if self.rank else f"{base}.json"
        if anomaly.state is not None or checkpoints:
            for pattern in ("*.params", "-resume*.json"):  # left by an earlier run
                for stale in glob.glob(glob.escape(base) + pattern):
                    os.unlink(stale)
        if anomaly.state is not None:
            write_arrays(f"{base}.params", anomaly.state)
        elif checkpoints:
            checkpoints.keep_as(base)
        with whole_file(path) as stream:
            json.dump({"format": _FORMAT, **asdict(self)}, stream, indent=1, allow_nan=False)
        return path

    @staticmethod
    def load(path: str) -> AnomalyFile:
        """Read what `save` wrote; ModelError if it is damaged or something else."""
        with taking_apart(path, "an anomaly file", ModelError):
            result = AnomalyFile(**read_json(path, format=_FORMAT))
            _check(result)
            return result


def state_prefix(path: str) -> str:
    """The prefix of the state's files that belong to the anomaly file `path`."""
    return re.sub(r"(-worker\d+)?\.json$", "", path)


def _to_json(value: Optional[float]) -> Union[float, str, None]:
    return value if value is None or math.isfinite(value) else str(value)


def _check(file: AnomalyFile) -> None:
    kinds: Mapping[str, Callable[[Any], bool]] = {
        "int": lambda value: is_integer(value, -INT64_MAX, INT64_MAX),
        "float": lambda value: is_number(value, -sys.float_info.max, sys.float_info.max),
        "str": lambda value: isinstance(value, str),
        "Optional[float]": lambda value: value is None or kinds["float"](value),
        "Union[float, str, None]": lambda value: kinds["Optional[float]"](value) or isinstance(value, str),
        "list[int]": lambda value: isinstance(value, list) and all(map(kinds["int"], value)),
        "list[str]": lambda value: isinstance(value, list) and all(map(kinds["str"], value)),
        "dict[str, Any]": lambda value: isinstance(value, dict),
        "dict[str, str]": lambda value: isinstance(value, dict) and all(map(kinds["str"], value.values())),
    }
    for field in fields(file):
        value, kind = getattr(file, field.name), str(field.type)
        require(kinds[kind](value), field.name, kind, value)
    if not (min(file.iteration, file.batch, file.epoch) >= 1 and 0 <= file.rank < file.world_size):
        raise ValueError("its epoch, batch, iteration or worker number is impossible")
