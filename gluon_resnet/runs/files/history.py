"""The history of a run as JSON lines: PREFIX-log.jsonl has its epochs and PREFIX-steps.jsonl its steps.

Nothing here needs MXNet, so that a run's history can be read on any machine.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Iterator
from dataclasses import asdict, fields
from itertools import takewhile
from typing import Any, TypeVar

from gluon_resnet.errors import DataError
from gluon_resnet.files import own_file, regular_only, whole_file
from gluon_resnet.json_values import INT64_MAX, is_integer, parse_json, require
from gluon_resnet.terminal import reason_of
from gluon_resnet.training.epoch_record import EpochRecord, StepRecord


class EpochLog:
    """The records of a run's epochs, in a file that is complete after each of them.

    Args:
        path: the path of the file, which is at once created or cut to what is kept. DataError if it exists, is to be
            continued, and contains something else.
        epochs: the number of its epochs to keep; later ones were not saved in a checkpoint and will be repeated.
    """

    def __init__(self, path: str, epochs: int) -> None:
        self._path = path
        old = read_epochs(path) if epochs and os.path.exists(path) else None
        self.records = [record for record in old or [] if record.epoch <= epochs]
        if self.records != old:
            self._write()

    def append(self, record: EpochRecord) -> None:
        """Add the record of the next epoch. After an OSError it is written along with the next one."""
        self.records.append(record)
        self._write()

    def _write(self) -> None:
        with whole_file(self._path) as stream:
            stream.writelines(_line(record) for record in self.records)


class StepLog:
    """The records of a run's steps, in a file to which lines are appended.

    A line that a killed process left unfinished at the end is removed when the run is resumed.

    Args:
        path: the path of the file. DataError if it exists, is to be continued, and contains something else.
        iteration: the number of its iterations to keep; later ones were not saved in a checkpoint and will be repeated.
    """

    def __init__(self, path: str, iteration: int) -> None:
        self._path = path
        self.records: list[StepRecord] = []  # those that are kept
        if iteration and os.path.exists(path):
            self.records = list(takewhile(lambda record: record.iteration <= iteration, read_steps(path)))
        with open(path, "ab+", opener=own_file) as stream:
            stream.seek(0)
            kept = sum(len(stream.readline()) for _ in self.records)
            stream.truncate(kept)

    def append(self, record: StepRecord) -> None:
        """Add the record of the latest steps. After an OSError the file is as it was."""
        with open(self._path, "ab", opener=own_file) as stream:
            size = stream.tell()
        try:
            with open(self._path, "ab", opener=own_file) as stream:
                stream.write(_line(record).encode())
        except OSError:
            with contextlib.suppress(OSError):
                os.truncate(self._path, size)
            raise


def read_epochs(path: str) -> list[EpochRecord]:
    """The records of a PREFIX-log.jsonl. DataError names a line that is not a record; OSError if there is no file."""
    return list(_read(path, EpochRecord, "an epoch's"))


def read_steps(path: str) -> list[StepRecord]:
    """The records of a PREFIX-steps.jsonl, without a last line that is being written; raises as `read_epochs`."""
    return list(_read(path, StepRecord, "a step's"))


_Record = TypeVar("_Record", EpochRecord, StepRecord)


def _read(path: str, kind: type[_Record], whose: str) -> Iterator[_Record]:
    with open(path, encoding="utf-8", errors="replace", opener=regular_only) as stream:
        for number, line in enumerate(stream, 1):
            if kind is StepRecord and not line.endswith("\n"):
                return
            try:
                yield _parsed(kind, parse_json(line, finite=False))  # a loss may be NaN
            except (ValueError, TypeError) as error:
                reason = reason_of(error)
                raise DataError(f"{path}: line {number} is not {whose} record: {reason}", path) from None


def _parsed(kind: type[_Record], content: Any) -> _Record:
    """The record of a JSON object; ValueError or TypeError for anything else."""
    if not isinstance(content, dict):
        raise ValueError("it is not an object")
    record = kind(**content)
    for field in fields(kind):
        value, optional = getattr(record, field.name), "Optional" in str(field.type)
        number = is_integer(value, -INT64_MAX, INT64_MAX) or (
            "int" not in str(field.type) and isinstance(value, float)
        )
        require(number or (optional and value is None), field.name, "a number", value)
    return record


def _line(record: Any) -> str:
    """The record as a line; a number that is not finite, which JSON cannot express, becomes null where allowed."""
    optional = {field.name for field in fields(record) if "Optional" in str(field.type)}
    content = {
        name: None if name in optional and value is not None and not math.isfinite(value) else value
        for name, value in asdict(record).items()
    }
    return json.dumps(content) + "\n"
