"""The run card, PREFIX-run.json: everything to know about a run besides its numbers.

{"format": "gluon-resnet run card 1",
 "command": "python3 tools/train.py ...",
 "epochs": 164,                                                   the number planned
 "settings": {"network": "resnet20", "lr": 0.1, ...},             what the numbers depend on, besides the data
 "data": {"training data": "data/train.rec (50,000 images, fingerprint ...)", ...},
 "environment": {"processor": "...", "devices": "cpu(0)", ...},   what the speed depends on
 "events": [{"time": "2026-11-02T15:32:53", "iteration": 7800, "text": "stopped by a signal"}, ...],
 "worst_classes": [{"name": "cat", "images": 1000, "wrong": 241, "taken_for": [["dog", 120], ...]}, ...]}
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any, Optional

import numpy as np

from gluon_resnet.files import whole_file
from gluon_resnet.json_values import INT64_MAX, is_integer, read_json, require, taking_apart
from gluon_resnet.provenance import DataSet, settings_of_today

_FORMAT = "gluon-resnet run card 1"
_WORST, _RIVALS = 10, 3  # how many classes, and for each how many it is mistaken for


@dataclass(frozen=True)
class Event:
    """Something that happened to a run."""

    time: str  # local, ISO 8601, to the second
    iteration: int  # the number of updates done by then
    text: str

    def __post_init__(self) -> None:
        for name in ("time", "text"):
            require(isinstance(getattr(self, name), str), name, "text", getattr(self, name))
        require(is_integer(self.iteration, 0, INT64_MAX), "iteration", "a number from 0", self.iteration)


@dataclass(frozen=True)
class WorstClass:
    """A class with a high validation error, and what its images were mistaken for."""

    name: str
    images: int
    wrong: int
    taken_for: tuple[tuple[str, int], ...]  # the most frequent wrong answers: names and counts

    def __post_init__(self) -> None:
        pairs = [(self.name, self.images), (self.name, self.wrong), *self.taken_for]
        good = all(len(p) == 2 and isinstance(p[0], str) and is_integer(p[1], 0, INT64_MAX) for p in pairs)
        require(good, "worst_classes", "names with numbers of images", pairs)


@dataclass(frozen=True)
class RunCard:
    """How and on what a run was started, and what happened to it. It has only text and numbers, for JSON."""

    command: str
    epochs: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    events: tuple[Event, ...] = ()
    worst_classes: tuple[WorstClass, ...] = ()  # those of the last validation

    def happened(self, iteration: int, text: str) -> RunCard:
        """The card with one more event, timed now."""
        now = datetime.now().isoformat(timespec="seconds")
        return replace(self, events=(*self.events, Event(now, iteration, text)))

    def save(self, path: str) -> None:
        """Write the card as JSON."""
        with whole_file(path) as stream:
            content = {"format": _FORMAT, **asdict(self)}
            stream.write(json.dumps(content, indent=1, ensure_ascii=False) + "\n")

    @staticmethod
    def load(path: str) -> RunCard:
        """Read what `save` wrote; DataError for anything else, OSError if there is no file."""
        with taking_apart(path, "a run card"):
            content = read_json(path, finite=False, format=_FORMAT)
            events = tuple(Event(**event) for event in content.pop("events"))
            worst = tuple(
                WorstClass(row["name"], row["images"], row["wrong"], tuple(map(tuple, row["taken_for"])))
                for row in content.pop("worst_classes")
            )
            card = RunCard(**content, events=events, worst_classes=worst)
            for name in ("settings", "data", "environment"):
                require(isinstance(getattr(card, name), dict), name, "an object", getattr(card, name))
            for name in ("data", "environment"):
                texts = all(isinstance(text, str) for text in getattr(card, name).values())
                require(texts, name, "an object of strings", getattr(card, name))
            require(isinstance(card.command, str), "command", "text", card.command)
            require(is_integer(card.epochs, 0, INT64_MAX), "epochs", "a number from 0", card.epochs)
            return replace(card, settings=settings_of_today(card.settings))


def described_data(paths: Sequence[str], data: DataSet) -> str:
    """The data as a card has it: paths from the current folder, which tell a stranger nothing about this machine."""
    files = ", ".join(map(os.path.relpath, paths))
    return f"{files} ({data.images:,} images, fingerprint {data.fingerprint})"


def data_identity(data: str) -> str:
    """Something equal for two texts of `described_data` of the same records; earlier ones only have the paths."""
    found = re.search(r"fingerprint ([0-9a-f]{16})\)$", data)
    return found[1] if found else data


def described_images(data: str) -> Optional[int]:
    """The number of images in a text of `described_data`; None for other texts, and for 0."""
    found = re.search(r"\((\d[\d,]*) images(?:, fingerprint [0-9a-f]{16})?\)$", data)
    return int(found[1].replace(",", "")) or None if found else None


def worst_classes(confusion: np.ndarray, names: Sequence[str]) -> tuple[WorstClass, ...]:
    """At most ten classes with errors, the highest error rate first.

    Args:
        confusion: integers (classes, classes), the images with the row's label that were taken for the column's.
        names: the names of the classes.
    """
    images = confusion.sum(axis=1)
    wrong = images - confusion.diagonal()
    errors = wrong / np.maximum(images, 1)
    order = np.lexsort((-wrong, -errors))[:_WORST]
    result = []
    for label in order[wrong[order] > 0]:
        row = confusion[label].copy()
        row[label] = 0
        rivals = [rival for rival in np.argsort(-row, kind="stable")[:_RIVALS] if row[rival]]
        taken_for = tuple((names[rival], int(row[rival])) for rival in rivals)
        result.append(WorstClass(names[label], int(images[label]), int(wrong[label]), taken_for))
    return tuple(result)
