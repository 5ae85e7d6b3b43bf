"""Checks of values read from JSON, or to be written to it: UsageError says which one is wrong."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Collection, Iterator
from dataclasses import is_dataclass
from typing import Any, NoReturn, Optional, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from gluon_resnet.errors import DataError, UsageError
from gluon_resnet.files import Path, read_regular
from gluon_resnet.terminal import reason_of, shown

_Record = TypeVar("_Record")

# What JSON with other values than expected raises where it is taken apart.
MISTAKES = (ValueError, KeyError, TypeError, AttributeError)
INT64_MAX = (1 << 63) - 1  # a bound for numbers of which nothing else is known

_MOST_BYTES = 1 << 24  # in a file: the names of 20,000 classes take a tenth of it
_MOST_LEVELS = 100  # copying and writing take a function call for each
_MOST_DIGITS = 1000  # in a whole number: reading one takes quadratic time in older versions of Python


def parse_json(text: Union[bytes, str], finite: bool = True) -> Any:
    """The value of a JSON text in UTF-8; ValueError for anything else, and with `finite` for NaN and infinity."""
    if isinstance(text, bytes):
        text = text.decode()
    try:
        return json.loads(text, parse_constant=_no_constant if finite else None, parse_int=_integer)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_json(path: Path, *, finite: bool = True, format: Optional[str] = None) -> Any:
    """The value in a file of ours, which may have become a stranger's.

    Args:
        path: the path of a regular file of at most 16 MiB.
        finite: whether NaN and infinity, which Python writes, are refused.
        format: what the key "format" has to hold, which is then taken out; None: the value is no object with one.

    Raises:
        ValueError: it is not in JSON, or of another format.
        DataError: it is no regular file, or too large.
        OSError: it cannot be read.
    """
    content = parse_json(read_regular(path, _MOST_BYTES), finite)
    if format is not None:
        found = content.pop("format", None) if isinstance(content, dict) else None
        require(found == format, "format", repr(format), found)
    return content


@contextlib.contextmanager
def taking_apart(
    path: Path, what: str, error: type[DataError] = DataError, way_out: str = ""
) -> Iterator[None]:
    """Around code that reads `what`, the JSON of a file of ours, and takes it apart without looking at each value.

    Whatever a damaged file makes go wrong there becomes `error`, which says that `path` is not `what`, why, and the
    `way_out`.
    """
    try:
        yield
    except MISTAKES as mistake:
        path = os.fspath(path)
        raise error(f"{path} is not {what}: {explained(mistake)}{way_out}", path) from None


def explained(mistake: BaseException) -> str:
    """What one of MISTAKES says of a file, for a sentence about that file."""
    if isinstance(mistake, KeyError):
        return f"it has no {shown(mistake.args[0])}"
    if isinstance(mistake, (TypeError, AttributeError)):
        return f"its values are not of the kinds expected ({reason_of(mistake)})"
    return reason_of(mistake)


def from_json(kind: type[_Record], value: Any, name: str) -> _Record:
    """A `kind`, called `name`, from dataclasses.asdict and JSON: lists become tuples, objects dataclasses.

    UsageError for other keys. The dataclass itself has to check its values.
    """
    hints = get_type_hints(kind)
    require_keys(value, name, hints)
    return kind(**{key: _read(hint, value[key], key) for key, hint in hints.items()})


def require(condition: bool, name: str, expected: str, found: Any) -> None:
    """UsageError unless the value `found`, called `name`, is as `expected`."""
    if not condition:
        raise UsageError(f"{name}: expected {expected}, found {shown(found)}")


def require_keys(value: Any, name: str, keys: Collection[str]) -> None:
    """UsageError unless `value` is an object with exactly these keys."""
    require(isinstance(value, dict) and set(value) == set(keys), name, f"the keys {', '.join(keys)}", value)


def is_text(value: Any) -> bool:
    """Whether UTF-8 can express `value`: half of a surrogate pair, which JSON can spell, it cannot."""
    try:
        return isinstance(value, str) and value.encode() is not None
    except UnicodeEncodeError:
        return False


def is_integer(value: Any, least: int, most: int) -> bool:
    """Whether `value` is a whole number in this range; True is not."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def is_number(value: Any, least: float, most: float) -> bool:
    """Whether `value` is a number in this range, and not NaN; True is not."""
    kinds = (int, float, np.floating)
    # Not converted, since an int may be too large for a float.
    return isinstance(value, kinds) and not isinstance(value, bool) and bool(least <= value <= most)


def is_json(value: Any) -> bool:
    """Whether JSON gives `value` back unchanged: no tuples, no NaN, only text as keys, and at most 100 levels."""
    left = [(value, 0)]
    while left:
        value, depth = left.pop()
        if isinstance(value, (dict, list)):
            inner = value.values() if isinstance(value, dict) else value
            if depth == _MOST_LEVELS or not all(map(is_text, value if isinstance(value, dict) else ())):
                return False
            left += [(item, depth + 1) for item in inner]
        elif isinstance(value, float):
            if not math.isfinite(value):
                return False
        elif not (value is None or isinstance(value, (bool, int)) or is_text(value)):
            return False
    return True


def _read(hint: Any, value: Any, name: str) -> Any:
    if get_origin(hint) is Union:  # Optional
        return None if value is None else _read(get_args(hint)[0], value, name)
    if get_origin(hint) is tuple and isinstance(value, list):
        return tuple(_read(get_args(hint)[0], item, name) for item in value)
    if isinstance(hint, type) and is_dataclass(hint):
        return from_json(hint, value, name)
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number in JSON")


def _integer(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)
