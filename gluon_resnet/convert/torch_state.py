"""Finds the weights in what a training script saved: one entry of a dict, beside the optimizer and others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Callable, NoReturn, Optional

from gluon_resnet.convert.pickled import INERT
from gluon_resnet.errors import UsageError
from gluon_resnet.terminal import MOST_OF_A_NAME, shown

_RAW = (
    "state_dict",
    "model",
    "model_state_dict",
    "model_state",
    "net",
    "network",
    "weights",
    "params",
    "module",
)
_AVERAGED = ("model_ema", "state_dict_ema", "ema_state_dict", "model_ema_state_dict", "ema_model", "ema")
_WRAPPERS = (*_RAW, *_AVERAGED)  # in order of preference


def choose(
    path: str, value: Any, tensor: type, entry: Optional[str], tell: Callable[[str], None]
) -> Mapping[str, Any]:
    """The dict of tensors that `value` is or contains as an entry.

    By default that is the only one, or among several the one that training changed rather than its moving average.

    Args:
        path: the path of the file, for messages.
        value: the content of a PyTorch file.
        tensor: the class of its tensors.
        entry: the key of the dict, or several joined by dots; None for the default.
        tell: a function that gets a sentence if there are several.

    Raises:
        UsageError: there is no such entry.
        ValueError: there is no dict of tensors, or there are several and none is known.
    """
    if entry is None and _is_state(value, tensor):
        state: Mapping[str, Any] = value
        return state
    entries = dict(_entries(value, tensor))
    names = ", ".join(shown(name) for name in list(entries)[:9]) or "none"
    if entry is not None:
        if entry not in entries:
            raise UsageError(f"{path} has no weights called {shown(entry)} (--weights); it has {names}")
        return entries[entry]
    known = [name for name in entries if name.split(".")[0] in _WRAPPERS]
    if not entries or (len(entries) > 1 and not known):
        _refuse(value, tensor, names if entries else None)
    chosen = min(known, key=_order) if known else next(iter(entries))
    others = [name for name in known if name != chosen]
    if others:
        ways = " or ".join(f"--weights {name[:MOST_OF_A_NAME]}" for name in others[:9])
        what = "the moving average" if all(map(_averaged, others)) else "the others"
        tell(f"{path}: the weights of {shown(chosen)} are used; {ways} would use {what}")
    return entries[chosen]


def _entries(value: Any, tensor: type, depth: int = 2) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The dicts of tensors in a dict, and in those of its entries that have a wrapper's name."""
    states: dict[int, bool] = {}  # those seen so far: a pickle can name one dict a hundred thousand times
    for key, inner in value.items() if isinstance(value, dict) else ():
        if id(inner) not in states:
            states[id(inner)] = _is_state(inner, tensor)
        if isinstance(key, str) and states[id(inner)]:
            yield key, inner
        elif key in _WRAPPERS and depth > 1:
            yield from ((f"{key}.{name}", state) for name, state in _entries(inner, tensor, depth - 1))


def _is_state(value: Any, tensor: type) -> bool:
    return (
        isinstance(value, dict)
        and len(value) > 0
        and all(isinstance(name, str) and isinstance(item, tensor) for name, item in value.items())
    )


def _order(entry: str) -> int:
    return _WRAPPERS.index(entry.split(".")[0])


def _averaged(entry: str) -> bool:
    return entry.split(".")[0] in _AVERAGED


def _refuse(value: Any, tensor: type, names: Optional[str]) -> NoReturn:
    """Say what was found in place of a dict of tensors."""
    if names is not None:
        raise ValueError(f"expected one dict of tensors, found {names}: choose with --weights")
    for key in _WRAPPERS:
        if isinstance(value, dict) and isinstance(value.get(key), dict):
            value = value[key]
    if value is INERT:
        raise ValueError("expected a dict of tensors, found an object of another kind")
    if not isinstance(value, dict) or not value:
        raise ValueError(f"expected a dict of tensors, found {type(value).__name__.strip('_').lower()}")
    name = next(n for n, item in value.items() if not isinstance(n, str) or not isinstance(item, tensor))
    raise ValueError(f"expected a dict of tensors, found something else as {shown(name)}")
