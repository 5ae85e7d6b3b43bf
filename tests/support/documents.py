"""What stands in the Markdown pages: their blocks of code, and the commands in those of the shell."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.support.paths import ROOT

# What a reader is given; the pages in results/ tell what was typed once, for numbers of that day.
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    language: str
    text: str


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(text: str) -> list[Block]:
    """The fenced blocks of a page, in its order."""
    found = re.findall(r"^```([^\n]*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [Block(language, code) for language, code in found]


def without_blocks(text: str) -> str:
    """A page's prose."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def commands(text: str) -> list[str]:
    """What is typed into a shell, a command each, without the breaks of its lines."""
    lines = "".join(block.text for block in blocks(text) if block.language == "sh")
    return [line for line in lines.replace("\\\n", " ").split("\n") if line.strip()]


def section(text: str, heading: str) -> str:
    """The part of a page below a heading of the second level."""
    return re.split(r"^## ", text.split(f"\n## {heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
