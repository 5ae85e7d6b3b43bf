"""Every measured figure of the README and of the pages in results/ is in a raw file that is committed beside it.

A figure is a number with a decimal point or a unit, or one of three digits or more in a table. It is found if it is, at
the digits that are printed:
- a number of a JSON file, or of a line of an epoch log (as a share, a percentage of it; in ms, µs, MB for s and bytes);
- the median of a list of measurements, or the median, least or greatest of the ratios of ours and another's in a round;
- the sum of shares of one kind;
- in a text that a program of ours made: report.md, *.out, or the table that benchmarks/packing.py prints.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import itertools
import json
import pathlib
import random
import re
import statistics
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import pytest

from gluon_resnet.analysis.paper import TABLE_6
from gluon_resnet.evaluation.intervals import interval
from tests.support.paths import ROOT

RESULTS = ROOT / "results"
PAGES = [page for page in sorted(RESULTS.rglob("README.md")) if page.parent.name != "20-epochs"]
# Measured before raw files were kept; serving.json is all that there is.
WITHOUT_RAW = [RESULTS / "inference" / "README.md"]
# What others say of their own work, and settings of a command that no file has.
QUOTED = {
    "cifar10/converted": {"8.27", "7.37"},  # of akamaster/pytorch_resnet_cifar10's README
    "training": {"1.2"},  # the aim
    "loader": {"2.0", "1.8", "1.9"},  # aims
}
_UNITS = r"%|ms|s|µs|x|MiB|MB|GB|KiB|KB|images/s|points"
_FIGURE = re.compile(
    rf"(?<![\w.,/:-])(\d{{1,3}}(?:,\d{{3}})+|\d+)(\.\d+)?(?![\w,.]*\d)\s?({_UNITS})?(?![\w/])"
)
_NO_FIGURES = re.compile(  # code, links, versions, the level of all intervals, and those after an error
    r"`[^`]*`|\]\([^)]*\)|arXiv:[\d.]+|\d+(?:\.\d+){2,}|95 %|(?<=% )\([\d.]+ to [\d.]+\)"
    r"|(?:MXNet|oneDNN|PyTorch|Python|FFCV|Debian|C\+\+) ?[\d.]+"
)
_SCALES = {"%": (1, 100), "ms": (1, 1e3), "µs": (1, 1e6), "MB": (1, 1e-6), None: (1, 1e3)}
OURS = "gluon-resnet"


class Figure(NamedTuple):
    text: str  # as printed
    value: float
    digits: int  # behind the point
    unit: str | None


def figures(text: str) -> Iterator[Figure]:
    fenced = False
    for line in text.splitlines():
        fenced ^= line.startswith("```")
        if line.startswith("    ") or line.startswith("#"):  # commands, headings
            continue
        table = fenced or line.startswith("|")
        for match in _FIGURE.finditer(_NO_FIGURES.sub(" ", line)):
            whole, part, unit = match.groups()
            if part or unit or (table and len(whole) > 2):
                yield Figure(
                    match[0].strip(), float(whole.replace(",", "") + (part or "")), len(part or ".") - 1, unit
                )


def numbers(value: Any) -> Iterator[float]:
    """The numbers of a JSON value that are not one of several measurements of the same."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        yield float(value)
    elif isinstance(value, dict):
        for part in value.values():
            yield from numbers(part)
    elif isinstance(value, list) and not _is_measured(value):
        for part in value:
            yield from numbers(part)


def _is_measured(value: list[Any]) -> bool:
    return len(value) > 2 and all(isinstance(part, (int, float)) or _is_pair(part) for part in value)


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(part, float) for part in value)


def measurements(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], list[float]]]:
    """The lists of measurements of the same, or of the first and the second of pairs, with the keys that lead there."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield from measurements(part, (*path, name))
    elif isinstance(value, list) and _is_measured(value):
        columns = zip(*value) if _is_pair(value[0]) else [value]
        yield from (((*path, str(number)), list(column)) for number, column in enumerate(columns))


def ratios(content: Any) -> Iterator[float]:
    """Of what was measured in turns: ours and another's, and the same with as many threads and with one."""
    for (path, ours), (other, theirs) in itertools.permutations(list(measurements(content)), 2):
        differing = [pair for pair in zip(path, other) if pair[0] != pair[1]]
        if (
            len(path) == len(other)
            and len(differing) == 1
            and (any(name.startswith(OURS) for name in differing[0]) or differing[0][1] == "1")
        ):
            each = [a / b for a, b in zip(ours, theirs)]
            yield from (statistics.median(each), min(each), max(each))


def shares(value: Any) -> Iterator[float]:
    """The sums of numbers whose names begin alike, as in 'JPEG decoding: inverse DCT'."""
    if isinstance(value, dict):
        for part in value.values():
            yield from shares(part)
        kinds = {name.partition(": ")[0] for name in value if ": " in name}
        for kind in kinds:
            yield sum(part for name, part in value.items() if name.startswith(f"{kind}: "))


def derived(content: Any) -> Iterator[float]:
    yield from numbers(content)
    yield from shares(content)
    yield from (statistics.median(values) for _, values in measurements(content))
    yield from ratios(content)


def printed_by_packing(content: dict[str, Any]) -> str:
    spec = importlib.util.spec_from_file_location("packing_benchmark", ROOT / "benchmarks" / "packing.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    costs = {
        mode: {who: [module.Cost(*one) for one in rows] for who, rows in measured.items()}
        for mode, measured in content["wall_and_processor_seconds"].items()
    }
    stream = io.StringIO()
    with contextlib.redirect_stdout(stream):
        module.report(costs, content["identical"])
    return stream.getvalue()


@cache
def known(folder: pathlib.Path) -> tuple[frozenset[float], frozenset[str]]:
    """The numbers of the raw files of a folder and below, and those that programs have printed there."""
    found: set[float] = set()
    texts: list[str] = []
    for path in folder.rglob("*"):
        if "20-epochs" in path.parts:
            continue
        if path.suffix == ".json":
            content = json.loads(path.read_text(encoding="utf-8"))
            found.update(derived(content))
            if isinstance(content, dict) and "wall_and_processor_seconds" in content:
                texts.append(printed_by_packing(content))
        elif path.name.endswith("log.jsonl"):
            for line in path.read_text(encoding="utf-8").splitlines():
                found.update(numbers(json.loads(line)))
        elif path.suffix in (".out", ".md") and path.name != "README.md":
            texts.append(path.read_text(encoding="utf-8"))
    return frozenset(found), frozenset(re.findall(r"\d+\.\d+|\d+", " ".join(texts).replace(",", "")))


def is_known(figure: Figure, folders: list[pathlib.Path]) -> bool:
    plain = f"{figure.value:.{figure.digits}f}"
    for folder in folders:
        values, printed = known(folder)
        if plain in printed or plain in QUOTED.get(str(folder.relative_to(RESULTS)), ()):
            return True
        for scale in _SCALES.get(figure.unit, (1,)):
            if any(f"{value * scale:.{figure.digits}f}" == plain for value in values):
                return True
    papers = {f"{row.top1_error:.2f}" for row in TABLE_6 if row.top1_error}
    return plain in papers


def readme_parts() -> Iterator[tuple[str, list[pathlib.Path]]]:
    """The paragraphs and rows of the README, with the folders of results that they link to."""
    folders: list[pathlib.Path] = []
    for part in re.split(r"\n\n|\n(?=\|)", (ROOT / "README.md").read_text(encoding="utf-8")):
        linked = [ROOT / path for path in re.findall(r"\]\((results/[^)#]+)", part)]
        if linked:
            folders = [path if path.is_dir() else path.parent for path in linked]
        if linked or "the same" in part or "make demo" in part:
            yield part, [RESULTS / "demo"] if "`make demo`" in part else folders


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page not in WITHOUT_RAW], ids=lambda p: p.parent.name
)
def test_every_figure_of_a_page_is_in_a_raw_file(page: pathlib.Path) -> None:
    found = list(figures(page.read_text(encoding="utf-8")))
    assert found
    assert [figure.text for figure in found if not is_known(figure, [page.parent])] == []


def test_every_figure_of_the_readme_is_in_a_raw_file() -> None:
    parts = list(readme_parts())
    assert sum(len(list(figures(text))) for text, _ in parts) > 20
    for text, folders in parts:
        if not {page.parent for page in WITHOUT_RAW} & {*folders}:
            assert [f.text for f in figures(text) if not is_known(f, folders)] == [], text


def test_most_other_figures_would_be_noticed() -> None:
    """Of figures with two digits behind the point, changed by some per cent."""
    chance = random.Random(0)
    changed = [
        (page, figure._replace(value=round(figure.value * chance.uniform(1.03, 1.3), 2)))
        for page in PAGES
        if page not in WITHOUT_RAW
        for figure in figures(page.read_text(encoding="utf-8"))
        if figure.digits == 2
    ]
    noticed = [figure for page, figure in changed if not is_known(figure, [page.parent])]
    assert len(noticed) > 0.6 * len(changed)


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: page.parent.name)
def test_intervals_are_wilsons_of_the_errors_before_them(page: pathlib.Path) -> None:
    for line in page.read_text(encoding="utf-8").splitlines():
        images = 360 if "360" in line else 10_000
        for error, *ends in re.findall(r"([\d.]+) % \(([\d.]+) to ([\d.]+)\)", line):
            found = interval(round(float(error) * images / 100), images)
            assert [f"{end:.2f}" for end in found] == ends, line


def test_the_classes_that_both_programs_named_are_as_counted() -> None:
    content = json.loads((RESULTS / "cifar10" / "converted" / "classes.json").read_text(encoding="utf-8"))
    labels, ours, theirs = (content[name] for name in ("labels", "python", "cpp"))
    assert content["images"] == len(labels) == len(ours) == len(theirs)
    assert content["equal_classes"] == sum(map(str.__eq__, ours, theirs))
    evaluated = json.loads((RESULTS / "cifar10" / "converted" / "r20.json").read_text(encoding="utf-8"))
    assert evaluated["top1_wrong"] == content["wrong_in_python"] == sum(map(str.__ne__, ours, labels))
