"""Print which share of its lines the tests reached in each room of docs/architecture.md; a part of `make coverage`.

    python scripts/coverage_rooms.py PYTHON.json CPP.json MISSING.txt

PYTHON.json is of `coverage json`, CPP.json of `gcovr --json`, both with paths from the root of the tree. To MISSING.txt
go the lines that no test reached, as path:first-last.
"""

from __future__ import annotations

import json
import pathlib
import re
import sys
from collections.abc import Iterator
from typing import NamedTuple

ARCHITECTURE = pathlib.Path(__file__).resolve().parent.parent / "docs" / "architecture.md"


class File(NamedTuple):
    path: str
    reached: list[int]
    missing: list[int]


def of_python(path: str) -> list[File]:
    files = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))["files"]
    return [File(name, file["executed_lines"], file["missing_lines"]) for name, file in files.items()]


def of_cpp(path: str) -> list[File]:
    """A line of a template, or in a file that two programs are built from, is told once for each, and counted once."""
    result = []
    for file in json.loads(pathlib.Path(path).read_text(encoding="utf-8"))["files"]:
        counts: dict[int, int] = {}
        for line in file["lines"]:
            if not line.get("gcovr/excluded"):
                number = line["line_number"]
                counts[number] = counts.get(number, 0) + line["count"]
        reached = [number for number, count in counts.items() if count]
        result.append(File(file["file"], reached, [n for n in counts if not counts[n]]))
    return result


def rooms(section: str) -> dict[str, str]:
    """The room of each name that the first column of a section's table has; those of one row are one room."""
    page = ARCHITECTURE.read_text(encoding="utf-8")
    (text,) = re.findall(rf"^## {section}:.*?(?=^## |\Z)", page, re.DOTALL | re.MULTILINE)
    cells = [re.findall(r"`(\w+)`", row.split("|")[1]) for row in text.splitlines() if row.startswith("| `")]
    return {name: names[0] if len(names) == 1 else "base" for names in cells for name in names}


def table(folder: str, files: list[File]) -> Iterator[str]:
    """A line for each room, in the page's order, and one for all of them."""
    room_of = {"__init__": "__init__", **rooms(folder)}
    totals = {room: [0, 0] for room in [*dict.fromkeys(room_of.values()), "all"]}
    for file in files:
        name = pathlib.PurePath(file.path).relative_to(folder).parts[0]
        for room in room_of[name.removesuffix(".py") if name.endswith(".py") else name], "all":
            totals[room][0] += len(file.reached)
            totals[room][1] += len(file.reached) + len(file.missing)
    yield f"{folder:16} {'lines':>6} {'missing':>8} {'reached':>8}"
    for room, (reached, lines) in totals.items():
        if lines:
            yield f"{room:16} {lines:6} {lines - reached:8} {100 * reached / lines:7.1f}%"


def ranges(lines: list[int]) -> str:
    """[3, 4, 5, 9] as 3-5, 9."""
    runs: list[list[int]] = []
    for line in sorted(lines):
        if runs and line == runs[-1][1] + 1:
            runs[-1][1] = line
        else:
            runs.append([line, line])
    return ", ".join(f"{first}" if first == last else f"{first}-{last}" for first, last in runs)


def main(python: str, cpp: str, missing: str) -> None:
    halves = {"gluon_resnet": of_python(python), "csrc": of_cpp(cpp)}
    print("\n\n".join("\n".join(table(folder, files)) for folder, files in halves.items()))
    lines = [
        f"{file.path}: {ranges(file.missing)}\n"
        for files in halves.values()
        for file in sorted(files)
        if file.missing
    ]
    pathlib.Path(missing).write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
