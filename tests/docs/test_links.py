"""What the Markdown files link to exists: files, headings, and symbols that stand as `module.Symbol` on a link."""

from __future__ import annotations

import ast
import os
import pathlib
import re
from typing import Optional

import pytest

from tests.support.documents import PAGES, without_blocks
from tests.support.paths import ROOT

DOCUMENTS = sorted({*PAGES, *ROOT.glob("results/**/README.md")})
LINK = re.compile(r"\[([^\[\]]*)\]\(([^()\s]+)\)")
SOURCES = {".py", ".pyi", ".h", ".cc"}


def prose(path: pathlib.Path) -> str:
    return without_blocks(path.read_text(encoding="utf-8"))


def anchors(path: pathlib.Path) -> set[str]:
    """What GitHub makes of the headings: lower case, hyphens for spaces, no punctuation."""
    headings = re.findall(r"^#+ +(.*?)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def symbols(path: pathlib.Path) -> set[str]:
    """In Python, names at the top and, as CLASS.NAME, those in a class; in C++, every word."""
    text = path.read_text(encoding="utf-8")
    if path.suffix in (".h", ".cc"):
        return set(re.findall(r"\w+", text))
    found, module = set(), ast.parse(text)
    for owner in [module, *(node for node in module.body if isinstance(node, ast.ClassDef))]:
        start = f"{owner.name}." if isinstance(owner, ast.ClassDef) else ""
        for node in owner.body:
            targets = getattr(node, "targets", [getattr(node, "target", node)])
            names = [getattr(target, "name", getattr(target, "id", None)) for target in targets]
            found |= {start + name for name in names if name}
    return found


def problem(document: pathlib.Path, text: str, target: str) -> Optional[str]:
    """What is wrong with a link of `document`, or None."""
    if re.match(r"[a-z]+:", target):
        return None
    name, _, anchor = target.partition("#")
    path = document if not name else pathlib.Path(os.path.normpath(document.parent / name))
    if not path.exists():
        return f"{target} does not exist"
    if anchor and path.suffix == ".md" and anchor not in anchors(path):
        return f"{target}: no such heading"
    named = re.fullmatch(r"`(\w+)\.([\w.]+)`", text)
    if not named or path.suffix not in SOURCES or text == f"`{path.name}`":
        return None
    known = named[1] == path.stem and named[2] in symbols(path)
    return None if known else f"{target} has no {text}"


def problems(document: pathlib.Path) -> list[str]:
    found = (problem(document, *link) for link in LINK.findall(prose(document)))
    return [each for each in found if each]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_document_links_to_exists(document: pathlib.Path) -> None:
    assert problems(document) == []


def test_what_does_not_exist_is_found(tmp_path: pathlib.Path) -> None:
    (tmp_path / "unit.py").write_text(
        "KINDS: int = 1\nclass Unit:\n    depth = 2\n    def forward(self): ...\n"
    )
    (tmp_path / "unit.h").write_text("struct Unit { int depth; };\n")
    document = tmp_path / "page.md"
    document.write_text(
        "# 3.4 Nets (plain)\n[a](#34-nets-plain) [b](unit.py) [c](https://x.org/y.py) [`unit.py`](unit.py)\n"
        "[`unit.KINDS`](unit.py) [`unit.Unit.forward`](unit.py) [`unit.Unit.depth`](unit.py) [`unit.depth`](unit.h)"
    )
    assert problems(document) == []
    document.write_text(
        "# A\n[a](#b) [b](none.py) ![c](page.md#c)\n"
        "[`unit.forward`](unit.py) [`other.Unit`](unit.py) [`unit.x`](unit.h)"
    )
    assert problems(document) == [
        "#b: no such heading",
        "none.py does not exist",
        "page.md#c: no such heading",
        "unit.py has no `unit.forward`",
        "unit.py has no `other.Unit`",
        "unit.h has no `unit.x`",
    ]
