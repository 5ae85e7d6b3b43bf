"""A page as its parts, from which both its HTML and its Markdown are made, so that they say the same."""

from __future__ import annotations

import base64
import mimetypes
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Union
from urllib.parse import quote

from gluon_resnet.runs.files.page import render


class Code(str):
    """Text in a fixed-width font: a file's name, a command."""


class Strong(str):
    """Text that a reader should not miss."""


class Paragraph:
    """Pieces of text in sequence."""

    def __init__(self, *pieces: str) -> None:
        self.pieces = pieces


class Items:
    """A list of sentences."""

    def __init__(self, *sentences: str) -> None:
        self.sentences = sentences


@dataclass(frozen=True)
class Table:
    """A table of text cells. It scrolls in its own box if the page is narrower."""

    heads: tuple[str, ...]
    align: str  # a letter for each column: 'l', 'r' for numbers, 't' for texts with several lines
    rows: tuple[tuple[str, ...], ...]
    sources: tuple[str, ...] = ()  # for each row, the files that it comes from, or "", in a footnote

    def __post_init__(self) -> None:
        assert all(len(row) == len(self.heads) == len(self.align) for row in self.rows)
        assert len(self.sources) in (0, len(self.rows))

    @property
    def footnotes(self) -> tuple[str, ...]:
        """The sources, each once, in the order of their numbers, from 1."""
        return tuple(dict.fromkeys(source for source in self.sources if source))

    @property
    def marks(self) -> tuple[str, ...]:
        """For each row, the number of its footnote, or ""."""
        notes = self.footnotes
        return tuple(str(1 + notes.index(s)) if s else "" for s in self.sources) or ("",) * len(self.rows)


def sourced(heads: Sequence[str], align: str, rows: Sequence[Sequence[str]]) -> Table:
    """A table of rows each of which ends with the files that it comes from, or ""."""
    return Table(tuple(heads), align, tuple(tuple(row[:-1]) for row in rows), tuple(row[-1] for row in rows))


@dataclass(frozen=True)
class Picture:
    """A file beside the page. The HTML does not need it: it embeds the drawings or the file's bytes."""

    name: str  # the file's name, in the page's folder
    says: str  # a description for those who do not see it
    drawings: tuple[str, ...] = ()  # <svg> elements, side by side if there is room
    content: bytes = b""  # the picture's bytes if there are no drawings

    @property
    def data_uri(self) -> str:
        """The content as the source of an image element."""
        kind = mimetypes.guess_type(self.name)[0] or "application/octet-stream"
        return f"data:{kind};base64,{base64.b64encode(self.content).decode()}"

    @property
    def elements(self) -> tuple[str, ...]:
        """The drawings, with ids that occur in no other drawing of the page."""
        stem = re.sub(r"\W", "", self.name)
        return tuple(_own_names(text, f"{stem}-{number}-") for number, text in enumerate(self.drawings))


class Commands:
    """Lines for a shell."""

    def __init__(self, *lines: str) -> None:
        self.lines = lines


Block = Union[Paragraph, Items, Table, Picture, Commands]


@dataclass(frozen=True)
class Section:
    """A heading and the blocks below it."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Page:
    """The whole page."""

    title: str
    blocks: tuple[Block, ...]  # before the first section
    sections: tuple[Section, ...]


def html(page: Page) -> str:
    """One self-contained file, without network; all text is escaped. EnvironmentProblem without Jinja2."""
    parts = [Section("", page.blocks), *page.sections]
    shown = [(part.title, [(_name(block), block) for block in part.blocks]) for part in parts]
    return render(Path(__file__).with_name("study.html"), title=page.title, sections=shown, name=_name)


def markdown(page: Page) -> str:
    """The page for GitHub, in a file beside the pictures; all text is escaped."""
    lines = [f"# {_escaped(page.title)}", ""]
    for part in (Section("", page.blocks), *page.sections):
        lines += [f"## {_escaped(part.title)}", ""] if part.title else []
        for block in part.blocks:
            lines += [*_lines(block), ""]
    return "\n".join(lines).rstrip() + "\n"


def _lines(block: Block) -> Sequence[str]:
    """The block's lines of Markdown."""
    if isinstance(block, Paragraph):
        return ["".join(map(_inline, block.pieces))]
    if isinstance(block, Items):
        return [f"- {_inline(sentence)}" for sentence in block.sentences]
    if isinstance(block, Picture):
        return [f"![{_escaped(block.says)}]({quote(block.name)})"]
    if isinstance(block, Commands):
        text = "\n".join(block.lines)
        fence = "`" * (1 + max([2, *map(len, re.findall("`+", text))]))
        return [f"{fence}sh", text, fence]
    rule = ["---:" if letter == "r" else "---" for letter in block.align]
    marks = [f"<sup>{mark}</sup>" if mark else "" for mark in block.marks]
    cells = [[f"{_cell(row[0])}{mark}", *map(_cell, row[1:])] for row, mark in zip(block.rows, marks)]
    rows = [map(_escaped, block.heads), rule, *cells]
    notes = [f"<sup>{number}</sup> {_inline(Code(note))}" for number, note in enumerate(block.footnotes, 1)]
    return [*(f"| {' | '.join(row)} |" for row in rows), *(["", "; ".join(notes)] if notes else [])]


def _name(part: object) -> str:
    return type(part).__name__.lower()


def _cell(text: str) -> str:
    # A | ends a cell even within code, and only a backslash before it does not show there.
    return _inline(text).replace("|", r"\|") if isinstance(text, Code) else _inline(text)


def _inline(text: str) -> str:
    if isinstance(text, Code) and text.strip():
        flat = " ".join(text.split())
        ticks = "`" * (1 + max(map(len, re.findall("`+", flat)), default=0))
        return f"{ticks}{flat}{ticks}" if len(ticks) == 1 else f"{ticks} {flat} {ticks}"
    return f"**{_escaped(text)}**" if isinstance(text, Strong) else _escaped(text)


def _escaped(text: str) -> str:
    """The text on one line, with nothing left that Markdown, HTML or GitHub's formulas would interpret."""
    return re.sub(r"([\\`*_\[\]<>#|$~&@])", r"\\\1", re.sub(r"\s+", " ", text))


def _own_names(svg: str, prefix: str) -> str:
    """The element with `prefix` before the ids that it refers to, and without any other ids."""
    used = {*re.findall(r'url\(#([^)"]+)\)', svg), *re.findall(r'href="#([^"]+)"', svg)}
    svg = re.sub(r' id="([^"]*)"', lambda m: f' id="{prefix}{m[1]}"' if m[1] in used else "", svg)
    return re.sub(r'(url\(#|href="#)', lambda m: m[1] + prefix, svg)
