"""Docstrings as the site shows them: an extension of griffe, which mkdocs.yml names."""

from __future__ import annotations

import re
from typing import Any

import griffe

GROUP = re.compile(r"^    ([a-z_]+)((?:, [a-z_]+)+): ", re.MULTILINE)


class Grouped(griffe.Extension):
    """Arguments that are described together (``rank, world_size: ...``) get an entry each, as griffe wants them."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = separate(obj.docstring.value)


def separate(docstring: str) -> str:
    """The docstring with an entry for each argument: those behind the first of a group refer to it."""

    def entries(match: re.Match) -> str:
        first, others = match[1], match[2].split(", ")[1:]
        return "".join(f"    {name}: See `{first}`.\n" for name in reversed(others)) + f"    {first}: "

    return GROUP.sub(entries, docstring)
