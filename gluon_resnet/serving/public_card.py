"""The part of a model card that strangers may read: how the network was made, but not on whose machine."""

from __future__ import annotations

import re
from typing import Any

from gluon_resnet.card import ModelCard

# Command lines, which contain folders, names of users and machines, or anything else. They stay in the file.
_PRIVATE = frozenset({"command"})
# Names that are not file names; a project's is OWNER/NAME.
_NAMES = frozenset({"classes", "project"})
_FOLDERS = re.compile(r"""(?:[A-Za-z]:)?[^\s'",;=()\[\]]*[/\\](?=[^/\\]|$)""")


def public_card(card: ModelCard) -> dict[str, Any]:
    """The content of a card without command lines, and with file names instead of paths."""
    content: dict[str, Any] = _public(card.content())
    return content


def _public(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: inner if key in _NAMES else _public(inner)
            for key, inner in value.items()
            if key not in _PRIVATE
        }
    if isinstance(value, (list, tuple)):
        return [_public(inner) for inner in value]
    return _FOLDERS.sub("", value) if isinstance(value, str) else value
