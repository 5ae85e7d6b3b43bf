"""A loader's position, in terms that do not depend on its batches, ranks and threads."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, NoReturn

from gluon_resnet.errors import UsageError
from gluon_resnet.terminal import shown

_VERSION = 1
_MOST = (1 << 63) - 1


@dataclass(frozen=True)
class LoaderState:
    """A position between two batches, and everything that determines the batches after it.

    Attributes:
        epoch: the number of the epoch, counted from 0.
        position: the number of records of the epoch's order that all ranks together have handed out.
        seed, shuffle: the loader's arguments.
        records: the number of records.
        fingerprint: 16 hexadecimal digits that depend on the records' offsets and on the content of some of them.
    """

    epoch: int
    position: int
    seed: int
    shuffle: bool
    records: int
    fingerprint: str

    def to_dict(self) -> dict[str, Any]:
        """The state as a dict of JSON values."""
        return {"version": _VERSION, **asdict(self)}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> LoaderState:
        """The state that `to_dict()` made a dict of; UsageError says what is wrong with the dict."""
        if not isinstance(state, Mapping):
            raise UsageError(f"this is not the state of a loader: expected a dict, found {shown(state)}")
        for name in ("version", *(field.name for field in fields(cls))):
            if name not in state:
                raise UsageError(f"this is not the state of a loader: {name}: expected a value, found none")
        if type(state["version"]) is not int or state["version"] != _VERSION:
            _refuse("version", _VERSION, state["version"])
        for name, least, most in (
            ("records", 1, _MOST),
            ("epoch", 0, _MOST),
            ("position", 0, _MOST),
            ("seed", 0, (1 << 64) - 1),
        ):
            value = state[name]
            if type(value) is not int or not least <= value <= most:  # True is an int, too
                _refuse(name, f"a whole number from {least} to {most}", value)
        if type(state["shuffle"]) is not bool:
            _refuse("shuffle", "true or false", state["shuffle"])
        fingerprint = state["fingerprint"]
        if not (isinstance(fingerprint, str) and re.fullmatch("[0-9a-f]{16}", fingerprint)):
            _refuse("fingerprint", "16 hexadecimal digits", fingerprint)
        if state["position"] >= state["records"]:
            _refuse("position", f"less than the {state['records']} records", state["position"])
        return cls(**{field.name: state[field.name] for field in fields(cls)})

    def expect_like(self, ours: LoaderState) -> None:
        """Raise UsageError if a loader in state `ours` would have different batches after this position."""
        for name in ("seed", "shuffle", "records", "fingerprint"):
            if getattr(self, name) != getattr(ours, name):
                raise UsageError(
                    f"this state belongs to a different loader: {name}: expected {getattr(ours, name)}, "
                    f"found {getattr(self, name)}"
                )


def _refuse(name: str, expected: object, found: object) -> NoReturn:
    raise UsageError(f"this is not the state of a loader: {name}: expected {expected}, found {shown(found)}")
