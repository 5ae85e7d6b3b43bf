"""Checks of values that were read from JSON, or are to be written to it: UsageError says which one is wrong."""

from __future__ import annotations

import json
import math
from collections.abc import Collection
from dataclasses import is_dataclass
from typing import Any, NoReturn, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from gluon_resnet.errors import UsageError

_Record = TypeVar("_Record")

_MOST_DIGITS = 1000  # of a whole number: reading one takes quadratic time in older versions of Python


def parse_json(text: Union[bytes, str]) -> Any:
    """The value of a JSON text in UTF-8; ValueError or RecursionError for anything else, NaN and infinity, too."""
    if isinstance(text, bytes):
        text = text.decode()
    return json.loads(text, parse_constant=_no_constant, parse_int=_integer)


def from_json(kind: type[_Record], value: Any, name: str) -> _Record:
    """What dataclasses.asdict and JSON made of a `kind`, called `name`: lists become tuples, objects dataclasses.

    UsageError for other keys. It is for the dataclass to check its values.
    """
    hints = get_type_hints(kind)
    require_keys(value, name, hints)
    return kind(**{key: _read(hint, value[key], key) for key, hint in hints.items()})


def require(condition: bool, name: str, expected: str, found: Any) -> None:
    """UsageError unless the value `found`, called `name`, is as `expected`."""
    if not condition:
        raise UsageError(f"{name}: expected {expected}, found {_shown(found)}")


def require_keys(value: Any, name: str, keys: Collection[str]) -> None:
    """UsageError unless `value` is an object of just these keys."""
    require(isinstance(value, dict) and set(value) == set(keys), name, f"the keys {', '.join(keys)}", value)


def is_text(value: Any) -> bool:
    """Text that UTF-8 can hold: half of a surrogate pair, which JSON can spell, is none."""
    try:
        return isinstance(value, str) and value.encode() is not None
    except UnicodeEncodeError:
        return False


def is_integer(value: Any, least: int, most: int) -> bool:
    """A whole number in this range; True is none."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def is_number(value: Any, least: float, most: float) -> bool:
    """A number in this range, not NaN; True is none."""
    kinds = (int, float, np.floating)
    # Not converted: an int may be too large for a float.
    return isinstance(value, kinds) and not isinstance(value, bool) and bool(least <= value <= most)


def is_json(value: Any) -> bool:
    """Whether it is read back from JSON as it is: no tuple, no NaN, no key that is not text."""
    if isinstance(value, dict):
        return all(is_text(key) and is_json(inner) for key, inner in value.items())
    if isinstance(value, list):
        return all(map(is_json, value))
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, (bool, int)) or is_text(value)


def _read(hint: Any, value: Any, name: str) -> Any:
    if get_origin(hint) is Union:  # Optional
        return None if value is None else _read(get_args(hint)[0], value, name)
    if get_origin(hint) is tuple and isinstance(value, list):
        return tuple(_read(get_args(hint)[0], item, name) for item in value)
    if isinstance(hint, type) and is_dataclass(hint):
        return from_json(hint, value, name)
    return value


def _shown(value: Any) -> str:
    try:
        return repr(value)[:80]
    except ValueError:  # a whole number of more digits than Python prints
        return "a number with thousands of digits"


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON")


def _integer(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)
