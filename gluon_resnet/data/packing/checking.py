"""Checks record files, and rebuilds missing indexes."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Callable, NamedTuple, Optional

from gluon_resnet.data import _native
from gluon_resnet.data.records import RecordFile
from gluon_resnet.errors import RecordError
from gluon_resnet.files import temporary_name

# Called from time to time with the number of records done and their total number.
Progress = Callable[[int, int], None]

_REPORT_EVERY = 0.1  # seconds


class BadRecord(NamedTuple):
    """A record that cannot be read or decoded: its key, its offset in bytes, and the reason."""

    key: int
    offset: int
    reason: str


@dataclass(frozen=True)
class CheckReport:
    """The result of checking a record file.

    Attributes:
        records: the number of records.
        bytes: the size of the record file.
        seconds: the duration of the check.
        bad: the records that cannot be decoded, in the order of the index.
    """

    records: int
    bytes: int
    seconds: float
    bad: tuple[BadRecord, ...]


def check(path: str, *, threads: Optional[int] = None, progress: Optional[Progress] = None) -> CheckReport:
    """Compare the record file `path` with the index beside it, part by part, and decode every image.

    Args:
        threads: the number of workers; by default one for each processor that this process may use.
        progress: a function to report progress to; see Progress.

    Returns:
        A report, in whose `bad` are the images that cannot be decoded; these do not raise an error.

    Raises:
        OSError: the file cannot be opened.
        RecordError: the file is truncated or corrupt, or has no index or one that does not belong to it.
    """
    started = time.monotonic()
    index_path = os.path.splitext(path)[0] + ".idx"
    if os.path.exists(path) and not os.path.exists(index_path):
        raise RecordError(f"{path}: has no index; im2rec.py --rebuild-index writes it", path=index_path)
    records = RecordFile(path, index_path)
    records.check()
    checker = _native.NativeChecker(records.native, threads or len(os.sched_getaffinity(0)))
    ended = False
    while not ended:
        ended = checker.wait(_REPORT_EVERY)
        if progress is not None:
            progress(checker.done(), len(records.images))
    bad = tuple(BadRecord(*failure) for failure in checker.failures())
    return CheckReport(len(records), os.path.getsize(path), time.monotonic() - started, bad)


def rebuild_index(path: str) -> int:
    """Write the index of the record file `path` beside it, replacing any old one; return the number of records.

    The keys are the records' ids if these are unique, and otherwise their positions.

    Raises:
        OSError: a file cannot be opened or written.
        RecordError: the record file is truncated or corrupt.
    """
    index_path = os.path.splitext(path)[0] + ".idx"
    if index_path == path:
        raise RecordError(f"{path}: expected a .rec file", path=path)
    with temporary_name(index_path) as temporary:
        records = _scan(path)
        records.write_index(temporary)
    return len(records)


def _scan(path: str) -> _native.NativeRecordFile:
    return _native.NativeRecordFile(path, None)
