"""How a trained network came about, as recorded in its model card: data, recipe, measured errors, source, export."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Optional

from gluon_resnet.json_values import INT64_MAX, is_integer, is_json, is_number, is_text, require

_RENAMED_SETTINGS = {"colour_jitter": "color_jitter"}  # in version 0.2.0
_DATE = "%Y-%m-%dT%H:%M:%SZ"


def settings_of_today(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a run, perhaps of an earlier version, by the names that they have today."""
    return {_RENAMED_SETTINGS.get(name, name): value for name, value in settings.items()}


@dataclass(frozen=True)
class DataSet:
    """The images of some record files."""

    files: tuple[str, ...]  # their names without folders
    images: int
    fingerprint: str  # Loader.fingerprint

    def __post_init__(self) -> None:
        _require_texts(self.files, "files", "names of files")
        require(is_integer(self.images, 1, INT64_MAX), "images", "how many", self.images)
        _require_digits(self.fingerprint, "fingerprint", 16)


@dataclass(frozen=True)
class TrainedOn:
    """The data that a network was trained on, and those that it was validated on meanwhile."""

    training: DataSet
    validation: Optional[DataSet] = None


@dataclass(frozen=True)
class TrainedBy:
    """How a network was trained."""

    name: str  # the name of the recipe
    command: str
    settings: dict[str, Any] = field(default_factory=dict)  # those of the run; for people to read

    def __post_init__(self) -> None:
        _require_text(self.name, "name")
        _require_text(self.command, "command")
        require(
            isinstance(self.settings, dict) and is_json(self.settings),
            "settings",
            "an object that JSON can hold",
            self.settings,
        )


@dataclass(frozen=True)
class MeasuredError:
    """Errors of a network on some images, in percent, each with its 95 % interval."""

    data: DataSet
    protocol: str  # '1-crop', '10-crop', 'multi-scale 224,256'
    epoch: int  # the epoch of the network that was tested
    date: str  # ISO 8601 in UTC, to the second: see now()
    top1_error: float
    top1_interval: tuple[float, float]
    top_k: int
    topk_error: float
    topk_interval: tuple[float, float]

    def __post_init__(self) -> None:
        _require_text(self.protocol, "protocol")
        require(is_integer(self.epoch, 0, INT64_MAX), "epoch", "a number from 0", self.epoch)
        require(_is_date(self.date), "date", "a time like 2026-11-21T18:30:00Z", self.date)
        require(is_integer(self.top_k, 1, INT64_MAX), "top_k", "a number from 1", self.top_k)
        for name in ("top1_error", "topk_error"):
            require(_is_percentage(getattr(self, name)), name, "a percentage", getattr(self, name))
        for name in ("top1_interval", "topk_interval"):
            ends = getattr(self, name)
            pair = isinstance(ends, tuple) and len(ends) == 2 and all(map(_is_percentage, ends))
            require(pair and ends[0] <= ends[1], name, "two ends in percent", ends)

    def same_test(self, other: MeasuredError) -> bool:
        """Whether both tested the same network on the same images in the same way."""
        return (self.data.fingerprint, self.protocol, self.epoch) == (
            other.data.fingerprint,
            other.protocol,
            other.epoch,
        )


@dataclass(frozen=True)
class Source:
    """The file of another project that a network's weights come from."""

    project: str
    file: str
    sha256: str  # the SHA-256 of the file
    command: str  # the command that read it

    def __post_init__(self) -> None:
        for name in ("project", "file", "command"):
            _require_text(getattr(self, name), name)
        _require_digits(self.sha256, "sha256", 64)


@dataclass(frozen=True)
class Exported:
    """The checkpoint that exported files were made from."""

    sha256: str  # the SHA-256 of its parameters
    formats: dict[str, str]  # the existing ones, 'mxnet' or 'onnx', with the version of each

    def __post_init__(self) -> None:
        _require_digits(self.sha256, "sha256", 64)
        require_named_texts(self.formats, "formats")


def now() -> str:
    """The time now, in the form of MeasuredError.date."""
    return datetime.now(timezone.utc).strftime(_DATE)


def require_named_texts(values: Any, name: str) -> None:
    """UsageError unless `values` is an object of strings."""
    texts = isinstance(values, dict) and all(is_text(k) and is_text(v) for k, v in values.items())
    require(texts, name, "an object of strings", values)


def _require_text(value: Any, name: str) -> None:
    require(is_text(value) and value != "", name, "text", value)


def _require_texts(values: Any, name: str, expected: str) -> None:
    require(
        isinstance(values, tuple) and len(values) > 0 and all(map(is_text, values)), name, expected, values
    )


def _require_digits(value: Any, name: str, count: int) -> None:
    good = isinstance(value, str) and re.fullmatch(f"[0-9a-f]{{{count}}}", value)
    require(bool(good), name, f"{count} hexadecimal digits", value)


def _is_percentage(value: Any) -> bool:
    return is_number(value, 0, 100)


def _is_date(value: Any) -> bool:
    try:
        return isinstance(value, str) and datetime.strptime(value, _DATE).strftime(_DATE) == value
    except ValueError:
        return False
