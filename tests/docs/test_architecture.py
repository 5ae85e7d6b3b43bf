"""docs/architecture.md is the code: its rooms are the folders, and import what it says; nothing imports in a circle."""

from __future__ import annotations

import ast
import pathlib
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter

from tests.support.paths import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PACKAGE = ROOT / "gluon_resnet"
BASE = "base"


def table(heading: str) -> list[list[str]]:
    """The rows of the only table under a heading that begins so, as the texts of their cells."""
    (section,) = re.findall(rf"^## {heading}.*?(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in row] for row in rows]


def named(cell: str) -> list[str]:
    return re.findall(r"`([\w./]+)`", cell)


def listed(cell: str) -> set[str]:
    return {name for name in re.split(r",\s*", cell) if name}


def module_name(path: pathlib.Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def for_types_alone(tree: ast.AST) -> set[ast.AST]:
    """The nodes under `if TYPE_CHECKING`, which never run."""
    return {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for statement in node.body
        for inner in ast.walk(statement)
    }


def imported(path: pathlib.Path, modules: set[str]) -> Iterator[str]:
    """Modules of ours that a file imports, at its top or within a function."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = for_types_alone(tree)
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gluon_resnet"):
            assert node.level == 0
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in modules else str(node.module)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "gluon_resnet")


MODULES = {module_name(path): path for path in PACKAGE.rglob("*.py")}
NAMES = {*MODULES, "gluon_resnet.data._native"}
ROWS = [(named(room), listed(imports)) for room, _, imports in table("gluon_resnet")]


def test_python_rooms_are_the_folders_and_import_what_the_page_says() -> None:
    first, *others = ROWS
    rooms = {**dict.fromkeys(first[0], BASE), **{room: room for names, _ in others for room in names}}
    said = {BASE: first[1], **{names[0]: imports for names, imports in others}}
    assert all(len(names) == 1 for names, _ in others)
    tops = {module.split(".")[1] for module in MODULES if "." in module}
    assert tops == set(rooms)

    found: dict[str, set[str]] = {room: set() for room in said}
    for module, path in MODULES.items():
        if "." not in module:
            continue
        room = rooms[module.split(".")[1]]
        for name in imported(path, NAMES):
            if "." in name and rooms[name.split(".")[1]] != room:
                found[room].add(rooms[name.split(".")[1]])
    assert found == said

    order = list(said)
    upward = [(room, other) for room, others in said.items() for other in others]
    assert [pair for pair in upward if order.index(pair[0]) <= order.index(pair[1])] == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    """A package's own modules import none of its names from its __init__, which imports them."""
    graph = {
        module: {name for name in imported(path, NAMES) if name != module} for module, path in MODULES.items()
    }
    order = list(TopologicalSorter(graph).static_order())  # graphlib.CycleError names a circle
    assert set(MODULES) <= set(order)


def test_what_says_that_it_needs_no_mxnet_imports_none() -> None:
    free = ("environment", "data", "launch", "runs.settings", "runs.files", "card")
    names = [m for m in MODULES if m.split(".", 1)[-1].startswith(free) and not m.endswith("loader_dataset")]
    loop = f"for name in {names}: importlib.import_module(name)"
    program = f"import importlib, sys\n{loop}\nprint('mxnet' in sys.modules)"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, timeout=600)
    assert done.stdout == "False\n"


def test_cpp_rooms_are_the_folders_and_include_what_the_page_says() -> None:
    said = {named(room)[0]: listed(includes) for room, _, includes in table("csrc")}
    csrc = ROOT / "csrc"
    assert set(said) == {path.name for path in csrc.iterdir() if path.is_dir()}
    found: dict[str, set[str]] = {}
    for room in said:
        texts = [path.read_text(encoding="utf-8") for path in csrc.glob(f"{room}/*.[ch]*")]
        includes = {name for text in texts for name in re.findall(r'#include "(\w+)/', text)}
        found[room] = includes - {room}
        assert not any("Python.h" in text for text in texts)
    assert found == said
    order = list(said)
    assert all(order.index(other) < order.index(room) for room, others in said.items() for other in others)


def test_folders_around_them_exist_and_tests_mirror_the_package() -> None:
    rows = table("Around them")
    for folder in (name for cells in rows for cell in cells for name in named(cell) if "cli" not in name):
        assert (ROOT / folder).is_dir(), folder
    packages = {path.parent.relative_to(PACKAGE) for path in PACKAGE.rglob("__init__.py")}
    shelves = {path.parent.relative_to(ROOT / "tests") for path in (ROOT / "tests").rglob("test_*.py")}
    others = {pathlib.Path(name) for name in ("base", "docs", "fuzz")}
    assert shelves - others <= packages
