"""`make coverage`: what it prints of each room, from what coverage.py and gcovr write."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys

from tests.support.paths import ROOT


def run(folder: pathlib.Path, python: dict[str, tuple[list, list]], cpp: list[tuple[str, list]]) -> list[str]:
    """The lines that the script prints; python has (reached, missing) of a file, cpp (line, count, is left out)."""
    files = {name: {"executed_lines": has, "missing_lines": lacks} for name, (has, lacks) in python.items()}
    (folder / "python.json").write_text(json.dumps({"files": files}))
    lines = [
        {
            "file": name,
            "lines": [
                {"line_number": n, "count": c, **({"gcovr/excluded": True} if x else {})}
                for n, c, x in counts
            ],
        }
        for name, counts in cpp
    ]
    (folder / "cpp.json").write_text(json.dumps({"files": lines}))
    script = [sys.executable, ROOT / "scripts" / "coverage_rooms.py"]
    command = [*script, folder / "python.json", folder / "cpp.json", folder / "missing.txt"]
    return subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=600
    ).stdout.splitlines()


def test_each_room_has_its_share(tmp_path: pathlib.Path) -> None:
    python = {
        "gluon_resnet/data/loader.py": ([1, 2, 3], [7]),
        "gluon_resnet/data/packing/tar.py": ([1, 2, 3, 4], []),
        "gluon_resnet/files.py": ([1], [2, 3, 4, 9]),
        "gluon_resnet/card.py": ([5], []),
        "gluon_resnet/launch/__init__.py": ([], []),
    }
    # A line of a template is told for each type; one that a marker leaves out counts nowhere.
    cpp = [
        ("csrc/records/scan.h", [(5, 0, False), (5, 3, False), (6, 0, False), (6, 0, False), (8, 0, True)]),
        ("csrc/base/error.cc", [(1, 1, False)]),
    ]
    assert [line.split() for line in run(tmp_path, python, cpp)] == [
        ["gluon_resnet", "lines", "missing", "reached"],
        ["base", "6", "4", "33.3%"],
        ["data", "8", "1", "87.5%"],
        ["all", "14", "5", "64.3%"],
        [],
        ["csrc", "lines", "missing", "reached"],
        ["base", "1", "0", "100.0%"],
        ["records", "2", "1", "50.0%"],
        ["all", "3", "1", "66.7%"],
    ]
    assert (tmp_path / "missing.txt").read_text().splitlines() == [
        "gluon_resnet/data/loader.py: 7",
        "gluon_resnet/files.py: 2-4, 9",
        "csrc/records/scan.h: 6",
    ]


def test_every_file_has_a_room(tmp_path: pathlib.Path) -> None:
    python = {str(path.relative_to(ROOT)): ([1], []) for path in (ROOT / "gluon_resnet").rglob("*.py")}
    cpp = [(str(path.relative_to(ROOT)), [(1, 1, False)]) for path in (ROOT / "csrc").rglob("*.cc")]
    printed = [line.split() for line in run(tmp_path, python, cpp)]
    assert ["all", str(len(python)), "0", "100.0%"] in printed
    assert ["all", str(len(cpp)), "0", "100.0%"] in printed
