"""The state of a run on disk, whole at any time: PREFIX-NNNN.params, PREFIX-resume.json and its arrays."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Optional

from gluon_resnet.errors import ModelError, UsageError
from gluon_resnet.files import whole_file
from gluon_resnet.models.parameters import read_arrays, save_parameters, write_arrays
from gluon_resnet.models.saved import newest_epoch, parameters_path
from gluon_resnet.training.metrics import Sums
from gluon_resnet.training.schedule import Observed
from gluon_resnet.training.trainer import Trainer

_FORMAT = "gluon-resnet resume 2"


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
    loader: Optional[Mapping[str, Any]] = None  # its state_dict(), where it has one

    def __post_init__(self) -> None:
        for name in ("epoch", "batch", "iteration"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)!r}, expected a number from 0")

    def done(self, iterations: int) -> bool:
        """Whether a run of so many iterations has nothing left to do, validation included."""
        return self.iteration >= iterations and not self.trained


class Checkpoints:
    """Saves and finds the state of the run whose files begin with `prefix`.

    Args:
        prefix: path and beginning of the name of all its files; the folder must exist.
        settings: what the numbers of this run depend on (network, recipe, seed, ...), JSON-able, flat.
        save_period: PREFIX-NNNN.params is written after every so many epochs.
    """

    def __init__(self, prefix: str, settings: Mapping[str, Any], save_period: int = 1) -> None:
        self.prefix = prefix
        self.resume_path = f"{prefix}-resume.json"
        self._settings = json.loads(json.dumps(settings))  # as it is read back: tuples become lists
        self._save_period = save_period

    def save(self, trainer: Trainer, position: Position, last: bool) -> None:
        """Save what a run needs to go on from `position`, and the network when an epoch is complete.

        `last`: it is the last epoch, whose network is saved in any case.
        """
        arrays = trainer.state()
        epochs = position.epoch + 1
        if position.trained and (last or epochs % self._save_period == 0):
            save_parameters(trainer.net, parameters_path(self.prefix, epochs))
        # A name of their own: until the JSON file is replaced, the older state stays complete.
        path = f"{self.prefix}-resume-{position.iteration:08d}.params"
        write_arrays(path, arrays)
        self._write(position, {"name": os.path.basename(path), "crc32": _crc32(path)})
        for old in self._array_files():
            if os.path.basename(old) != os.path.basename(path):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(old)

    def move(self, position: Position) -> None:
        """Save a `position` that has the arrays of the one before (an epoch's validation is done)."""
        self._write(position, self._read()["arrays"])

    def resume(self, trainer: Trainer) -> Optional[Position]:
        """Set `trainer` to the newest state and return its position; None where there is none.

        UsageError that names the difference when the state is that of a run with other settings;
        ModelError when a file is damaged.
        """
        if not os.path.exists(self.resume_path):
            return None
        content = self._read()
        for name in sorted({*content["settings"], *self._settings}):
            then, now = content["settings"].get(name), self._settings.get(name)
            if then != now:
                raise UsageError(
                    f"{self.resume_path} is of a run with another {name} ({then}, now {now}): "
                    "a run goes on under its own settings, others start from its weights with --load-epoch"
                )
        path = os.path.join(os.path.dirname(self.prefix), content["arrays"]["name"])
        if not os.path.exists(path) or _crc32(path) != content["arrays"]["crc32"]:
            raise self._damaged(path, "it is missing or its checksum is wrong")
        trainer.load_state(path, read_arrays(path))
        return content["position"]

    def unfinished(self, iterations: int) -> bool:
        """Whether a run of so many iterations has been saved here and is not at its end."""
        return os.path.exists(self.resume_path) and not self._read()["position"].done(iterations)

    def _array_files(self) -> list[str]:
        return glob.glob(glob.escape(self.prefix) + "-resume-" + "[0-9]" * 8 + "*.params")

    def _write(self, position: Position, arrays: Mapping[str, Any]) -> None:
        content = {
            "format": _FORMAT,
            "settings": self._settings,
            "position": asdict(position),
            "arrays": arrays,
        }
        with whole_file(self.resume_path) as stream:
            json.dump(content, stream, indent=1)

    def _read(self) -> dict[str, Any]:
        """The content of the JSON file, with its position as a Position."""
        try:
            with open(self.resume_path, encoding="utf-8") as stream:
                content = json.load(stream)
            if content["format"] != _FORMAT:
                raise ValueError(f"its format is {content['format']!r}, expected {_FORMAT!r}")
            position = content["position"]
            return {
                "settings": dict(content["settings"]),
                "position": Position(
                    **{
                        **position,
                        "sums": Sums(**position["sums"]),
                        "others": Sums(**position.get("others", {})),
                        "observed": Observed(**position["observed"]),
                    }
                ),
                "arrays": {"name": str(content["arrays"]["name"]), "crc32": content["arrays"]["crc32"]},
            }
        except (ValueError, KeyError, TypeError) as error:
            raise self._damaged(self.resume_path, f"{type(error).__name__}: {error}") from None

    def _damaged(self, path: str, reason: str) -> ModelError:
        newest = newest_epoch(self.prefix)
        way_on = f"go on with --load-epoch {newest}" if newest is not None else "start anew without --resume"
        return ModelError(
            f"{path} cannot be resumed from: {reason}; remove {self.resume_path} and {way_on}", path
        )


def _crc32(path: str) -> int:
    with open(path, "rb") as stream:
        crc = 0
        while block := stream.read(1 << 22):
            crc = zlib.crc32(block, crc)
    return crc
