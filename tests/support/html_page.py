"""A page of HTML as tests look at it."""

from __future__ import annotations

import re
from html.parser import HTMLParser

VOID = {"meta", "link", "br", "img", "hr", "input"}


class Page(HTMLParser):
    """Texts, attributes and rows of tables; every element has to be closed.

    Rows of a table with footnotes have one more cell: the footnote that their first cell refers to, or "".
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text, self.attributes, self.tags = "", [], []
        self.rows: list[list[str]] = []
        self.classes: list[str] = []  # of the rows
        self._open: list[str] = []
        self._marks: dict[int, str] = {}  # by the number of the row, of the last table
        self._first = 0  # row of the last table
        self._notes = False
        self._note = ""
        self._footnotes: dict[str, str] = {}
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if tag not in VOID:
            self._open.append(tag)
        if tag == "table":
            self._marks, self._first = {}, len(self.rows)
        if dict(attributes).get("class") == "notes":
            self._notes, self._footnotes = True, {}
        if tag == "tr":
            self.rows.append([])
            self.classes.append(dict(attributes).get("class", ""))
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes

    def handle_endtag(self, tag):
        assert self._open.pop() == tag
        if tag == "p" and self._notes:
            self._notes = False
            assert {*self._marks.values()} == {*self._footnotes}
            for number in range(self._first, len(self.rows)):
                self.rows[number].append(self._footnotes.get(self._marks.get(number, ""), "").strip(" ;"))

    def handle_data(self, data):
        if self._open[-1:] == ["sup"]:
            if self._notes:
                self._note = data
                self._footnotes[data] = ""
            else:
                self._marks[len(self.rows) - 1] = data
            return
        if self._notes:
            self._footnotes[self._note] += data
        if {"td", "th"} & set(self._open):
            self.rows[-1][-1] += data
        if "style" not in self._open:
            self.text += data

    def require_alone(self) -> None:
        """It needs no other file and no network, and runs nothing."""
        assert not {"script", "link", "iframe", "object", "image"} & set(self.tags)
        for name, value in self.attributes:
            own = value.startswith(("#", "data:image/")) if value else False
            assert name.split(":")[-1] not in ("href", "src", "srcset") or own, (name, value)
            assert not name.startswith("on")
            for target in re.findall(r"url\(([^)]*)\)", value or ""):
                assert target.startswith("#")

    def row(self, first: str) -> list[str]:
        (row,) = [row for row in self.rows if row and row[0] == first]
        return row[1:]
