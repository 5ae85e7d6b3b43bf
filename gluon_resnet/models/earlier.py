"""Moves everything that an earlier run or network has left under a prefix to PREFIX-earlier-N/."""

from __future__ import annotations

import glob
import itertools
import os
import re
import shutil
from typing import Optional

from gluon_resnet.models.saved import parameters_path, saved_epochs

# Suffixes of PREFIX, in the order of moving: states come first, so that a partly moved run cannot be resumed.
_STATES = ("-resume.json", "-resume-[0-9]*.json", "-resume-[0-9]*.params")
_LINKS = ("-best.params", "-last.params")
_EXPORTED = ("-symbol.json", ".onnx")
_GOES_ON = ("-log.jsonl", "-steps.jsonl", "-run.json", "-model.json")
_REST = (
    *("-curves.png", "-report.html", "-mean.npz", "-train.idx", "-holdout.idx", "-tensorboard"),
    "-anomaly-[0-9]*",
)


def move_aside(prefix: str, begin: Optional[int] = None) -> Optional[str]:
    """Move an earlier run's files, keeping their names, to a new folder; return a sentence about it, if there are any.

    Args:
        prefix: the prefix of the run that is about to begin.
        begin: the epoch with whose weights it begins: this epoch and earlier ones stay, and the folder gets copies of
            the logs and the card, which are continued.
    """
    exported = _found(prefix, _EXPORTED)
    epochs = [epoch for epoch in saved_epochs(prefix) if begin is None or epoch > begin]
    if exported and begin and 0 in saved_epochs(prefix):
        epochs.insert(0, 0)  # its parameters
    states = _found(prefix, _STATES)
    if not (epochs or states or exported):
        return None
    networks = [parameters_path(prefix, epoch) for epoch in epochs]
    links = [path for path in _found(prefix, _LINKS) if begin is None or _target(path) in (None, *epochs)]
    others = _found(prefix, (*_GOES_ON, *_REST)) if begin is None else []
    folder = _new_folder(prefix)
    for path in (*states, *links, *networks, *exported, *others):
        os.rename(path, os.path.join(folder, os.path.basename(path)))
    for path in [] if begin is None else _found(prefix, _GOES_ON):
        shutil.copy2(path, folder)
    found = [
        f"{count} {name}{'s' * (count > 1)}" for count, name in _counted(epochs, states, exported) if count
    ]
    kept = "" if begin is None else f", except for epochs up to {begin}"
    return (
        f"{prefix} had an earlier run ({', '.join(found)}), which has been moved{kept}: "
        f"it is now --model-prefix {os.path.join(folder, os.path.basename(prefix))}"
    )


def _counted(epochs: list[int], states: list[str], exported: list[str]) -> tuple[tuple[int, str], ...]:
    arrays = sum(path.endswith(".params") for path in states)
    return (len(epochs), "network"), (arrays, "state"), (len(exported), "exported graph")


def _found(prefix: str, patterns: tuple[str, ...]) -> list[str]:
    """The existing paths of PREFIX and one of `patterns`, in the order of the patterns, including broken links."""
    return [path for pattern in patterns for path in sorted(glob.glob(glob.escape(prefix) + pattern))]


def _target(link: str) -> Optional[int]:
    """The epoch that a link points to; None for a copy in its place."""
    match = re.search(r"-(\d{4,})\.params$", os.readlink(link)) if os.path.islink(link) else None
    return int(match[1]) if match else None


def _new_folder(prefix: str) -> str:
    folders = (f"{prefix}-earlier-{number}" for number in itertools.count(1))
    folder = next(folder for folder in folders if not os.path.lexists(folder))
    os.mkdir(folder)
    return folder
