"""The class names of a record file: NAME.classes beside NAME.rec, one name per line, in the order of the labels."""

from __future__ import annotations

import os

from gluon_resnet.errors import DataError
from gluon_resnet.files import Path, regular_only


def classes_path(records: Path) -> str:
    """The path at which the class names of a record file are kept, if it has any."""
    return os.path.splitext(os.fspath(records))[0] + ".classes"


def read_class_names(path: Path) -> tuple[str, ...]:
    """The lines of a .classes file; DataError, naming the file, if it is empty or not in UTF-8."""
    path = os.fspath(path)
    try:
        with open(path, encoding="utf-8-sig", opener=regular_only) as stream:
            names = tuple(line.rstrip("\n") for line in stream)
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not in UTF-8: {error.reason}", path, error.start) from None
    if not names:
        raise DataError(f"{path}: expected class names, one per line, found none", path)
    return names
