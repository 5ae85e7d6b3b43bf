"""Record files and classes that a command line names twice, perhaps under different names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

from gluon_resnet.data import EvalTransform, Loader, RecordFile
from gluon_resnet.errors import UsageError
from gluon_resnet.terminal import shown


def same_records(
    files: Sequence[RecordFile], others: Optional[Sequence[RecordFile]] = None
) -> Optional[tuple[str, str]]:
    """The paths of two of `files` that hold the same records, or of one of `files` and one of `others`, or None.

    The comparison is by content, using a Loader's fingerprint: a copy or a link counts as the same.
    """
    seen: dict[str, str] = {}
    if others is not None:
        seen.update((_fingerprint(file), file.path) for file in files)
        files = others
    for file in files:
        fingerprint = _fingerprint(file)
        if fingerprint in seen:
            return seen[fingerprint], file.path
        if others is None:
            seen[fingerprint] = file.path
    return None


def open_distinct(paths: Sequence[str]) -> list[RecordFile]:
    """The record files at `paths`; UsageError if two of them hold the same records, which would count twice."""
    files = [RecordFile(path) for path in paths]
    twins = same_records(files)
    if twins:
        raise UsageError(
            f"{twins[0]} and {twins[1]} hold the same records, which would count twice: leave one of them out"
        )
    return files


def same_names(names: Sequence[str]) -> Optional[str]:
    """What to say if two classes have the same name; None if all names differ."""
    seen: dict[str, int] = {}
    for label, name in enumerate(names):
        first = seen.setdefault(name, label)
        if first != label:
            return f"classes {first} and {label} are both called {shown(name)}, so predictions do not tell them apart"
    return None


def _fingerprint(file: RecordFile) -> str:
    return Loader(file, 1, EvalTransform()).fingerprint
