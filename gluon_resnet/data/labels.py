"""Finds labels that are not valid classes before any image is decoded."""

from __future__ import annotations

import time
from collections.abc import Sequence

from gluon_resnet.data.records import RecordFile
from gluon_resnet.errors import DataError

_AT_ONCE = 4096  # records between two readings of the clock
_SECONDS = 20.0  # a million records in the page cache take two


def check_labels(files: Sequence[RecordFile], classes: int, seconds: float = _SECONDS) -> int:
    """Check that the label of each image is a single whole number from 0 to `classes` - 1.

    Reads the first bytes of each record, and stops after about `seconds`. Returns how many images were not checked.

    Raises:
        DataError: a label is not; the message names the file, key and offset.
        RecordError: a record is damaged.
    """
    deadline = time.monotonic() + seconds
    left = sum(len(file.images) for file in files)
    for file in files:
        images = len(file.images)
        for begin in range(0, images, _AT_ONCE):
            if time.monotonic() > deadline:
                return left
            end = min(begin + _AT_ONCE, images)
            found = file.native.find_wrong_label(begin, end, classes)
            if found < end:
                raise label_error(file, file.images[found], classes)
            left -= end - begin
    return 0


def label_error(file: RecordFile, index: int, classes: int) -> DataError:
    """The error for the record at position `index`, whose label is not a valid class."""
    labels, key, offset = file[index].header.label, file.key(index), file.offset(index)
    text = f"label {labels[0]:g} is not one of 0 to {classes - 1}"
    if len(labels) != 1:
        text = f"expected one label for each image, found {len(labels)}"
    return DataError(f"{file.path}: record with key {key} at offset {offset}: {text}", file.path, offset, key)
