"""What train.py reads: the records to train on, those to validate on, and the names of their classes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from typing import Optional

from gluon_resnet.data import RecordFile
from gluon_resnet.data.class_names import classes_path, read_class_names
from gluon_resnet.data.holdout import hold_out
from gluon_resnet.errors import DataError, UsageError
from gluon_resnet.files import temporary_name
from gluon_resnet.terminal import say


def open_records(
    train: Sequence[str], validation: Optional[Sequence[str]], holdout: int
) -> tuple[list[RecordFile], list[RecordFile]]:
    """The records to train on, and those to validate on, if any.

    Without `validation` the latter are `holdout` records taken out of the training file. Nothing is written yet, since
    a refused run must not change the index files of another (see list_holdout). UsageError if they cannot be taken.
    """
    files = [RecordFile(path) for path in train]
    if validation or not holdout:
        return files, [RecordFile(path) for path in validation or ()]
    way_out = "give --data-val, or --holdout 0 for no validation"
    if len(files) > 1:
        raise UsageError(
            f"{holdout} records are held out of one file for validation, but --data-train has {len(files)} files: "
            f"{way_out}"
        )
    try:
        with tempfile.TemporaryDirectory() as folder:
            rest, held = hold_out(files[0], holdout, f"{folder}/train.idx", f"{folder}/holdout.idx")
    except UsageError as error:
        raise UsageError(f"{error}; {way_out}") from None
    return [rest], [held]


def list_holdout(train: RecordFile, held: RecordFile, prefix: str) -> None:
    """Write PREFIX-train.idx and PREFIX-holdout.idx, the indexes of both parts, and say so."""
    for part, name in ((train, "train"), (held, "holdout")):
        with temporary_name(f"{prefix}-{name}.idx") as temporary:
            part.write_index(temporary)
    say(
        f"{len(held)} records of {held.path} are held out for validation, {len(train)} train ({prefix}-holdout.idx)"
    )


def class_names(records: Sequence[str], count: Optional[int]) -> tuple[str, ...]:
    """The names in the .classes files beside `records`, which must agree; numbers if there is no such file.

    OSError if one of `records` does not exist.
    """
    for path in records:
        os.stat(path)  # so that a mistyped path is reported as such
    names: Optional[tuple[str, ...]] = None
    for path in map(classes_path, records):
        if not os.path.exists(path):
            continue
        found = read_class_names(path)
        if names is None:
            names, first = found, path
        elif names != found:
            raise DataError(
                f"{path} has other classes than {first}, so labels would mean different things", path
            )
    if names is None:
        if count is None:
            raise UsageError(f"there is no .classes file beside {records[0]}: give --num-classes")
        return tuple(str(label) for label in range(count))
    if count is not None and count != len(names):
        raise UsageError(f"--num-classes is {count}, but {first} has {len(names)} names")
    return names
