"""The names that somebody may have meant by a misspelled one: ResNet50, resnet-50, resnet50v1b, cifar_resnet20_v1."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

_MOST = 3
_LONGEST = 60  # characters of a name that are compared


def nearest(name: str, names: Iterable[str]) -> list[str]:
    """Those of `names` that differ from `name` only in case and punctuation, or else similar ones, best first."""
    plain = {_plain(known): known for known in names}
    found = _plain(name[:_LONGEST])
    cifar = re.fullmatch(r"cifar(resnet\d+)(v[12])", found)  # GluonCV's
    if cifar:
        found = f"{cifar[1]}gluoncv{cifar[2]}"
    if found in plain:
        return [plain[found]]
    return [plain[like] for like in difflib.get_close_matches(found, plain, _MOST, 0.7)]


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
