"""tools/compare.py: runs side by side, without MXNet."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Optional

from gluon_resnet.cli.command import program
from gluon_resnet.cli.parser import Parser
from gluon_resnet.errors import EnvironmentProblem
from gluon_resnet.runs.files.curves import draw_curves
from gluon_resnet.runs.files.page import duration, percent
from gluon_resnet.runs.files.run import Run, read_run
from gluon_resnet.runs.files.run_card import data_identity
from gluon_resnet.terminal import note, printable, printable_cells

_EPILOG = """\
The best epoch is the first with the lowest top-1 error in validation, or in training without validation data.
Time and images/s are those of training, over the finished epochs. Settings are shown if they differ."""


def main(argv: Optional[Sequence[str]] = None) -> Optional[int]:
    """Compare as `argv` says (default: the command line); return the exit status, None for success."""
    parser = Parser(
        prog=program("compare"),
        example="runs/resnet20 runs/resnet56 --output curves.svg",
        description="Compare runs of train.py side by side, finished or not.",
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="a --model-prefix of train.py, or its PREFIX-log.jsonl"
    )
    parser.add_argument(
        "--output", metavar="FILE", help="draw the curves of all runs in one figure, a .png or .svg file"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args(argv)

    runs = [read_run(path) for path in args.runs]
    if len({run.name for run in runs}) < len(runs):
        runs = [replace(run, name=path) for run, path in zip(runs, args.runs)]
    notes = _notes(runs)
    if args.json:
        print(json.dumps({"runs": [_plain(run) for run in runs], "notes": notes}, indent=1, allow_nan=False))
    else:
        print(_table(runs))
    for sentence in notes:
        note(sentence)
    if args.output:
        draw_curves(args.output, runs)
    return None


def _notes(runs: Sequence[Run]) -> list[str]:
    """Reasons why the numbers of these runs are hard to compare."""
    notes = [f"{run.name} was made by a version that kept no settings" for run in runs if run.card is None]
    top_k = {run.name: f"top-{run.epochs[-1].top_k}" for run in runs if run.epochs}
    data = {run.name: run.card.data.get("validation data", "none") for run in runs if run.card}
    for what, values in (("the error beside top-1", top_k), ("validation data", data)):
        if len(set(map(data_identity, values.values()))) > 1:
            listed = "; ".join(f"{name}: {value}" for name, value in values.items())
            notes.append(f"the runs differ in {what}: {listed}")
    return notes


def _table(runs: Sequence[Run]) -> str:
    try:
        from tabulate import tabulate
    except ImportError:
        raise EnvironmentProblem(
            "tables need tabulate: pip install 'gluon-resnet[plot]', or give --json"
        ) from None

    top_k = {run.epochs[-1].top_k for run in runs if run.epochs}
    rows = [
        ["epochs", *(f"{len(r.epochs)}{f' of {r.planned}' if r.planned else ''}" for r in runs)],
        ["iterations", *(f"{run.iterations:,}" for run in runs)],
    ]
    errors = [("training error", "train_top1_error"), ("validation error", "val_top1_error")]
    if any(run.epochs and run.settings.get("classes") != run.epochs[-1].top_k for run in runs):
        errors.append((f"validation top-{top_k.pop() if len(top_k) == 1 else 'k'} error", "val_topk_error"))
    for title, attribute in errors:
        for when in ("last", "best"):
            rows.append([f"{title}, {when}", *(_error(run, when, attribute) for run in runs)])
    rows.append(["images/s", *(f"{r.images_per_second:,.0f}" if r.images_per_second else "" for r in runs)])
    for part in ("loading", "communication", "compute"):
        shares = [(run.split or {}).get(part) for run in runs]
        if any(share is not None for share in shares):
            rows.append([part, *("" if share is None else percent(100 * share, 1) for share in shares)])
    rows.append(["time", *(duration(run.seconds) for run in runs)])
    differing = [[name, *map(_shown, values)] for name, values in _differing(runs).items()]
    table = [*rows, *([["", *[""] * len(runs)], *differing] if differing else [])]
    headers = ["", *(printable(run.name) for run in runs)]
    rights = ["right"] * len(runs)
    return tabulate(printable_cells(table), headers, colalign=("left", *rights), disable_numparse=True)


def _error(run: Run, when: str, attribute: str) -> str:
    """A cell: the error of the last or best epoch, and the number of the best."""
    record = run.best if when == "best" else run.epochs[-1] if run.epochs else None
    value = None if record is None else getattr(record, attribute)
    if record is None or value is None:
        return ""
    return percent(value) + (f" (epoch {record.epoch})" if when == "best" else "")


def _differing(runs: Sequence[Run]) -> dict[str, list[Any]]:
    """Settings, data and environment that differ among the runs that know them; None if not known."""
    known: list[Mapping[str, Any]] = [
        {**run.card.settings, **run.card.data, **run.card.environment} if run.card else {} for run in runs
    ]
    names = dict.fromkeys(name for settings in known for name in settings)
    values = {name: [settings.get(name) for settings in known] for name in names}
    comparable = [number for number, run in enumerate(runs) if run.card]
    return {
        name: row
        for name, row in values.items()
        if len({json.dumps(row[number]) for number in comparable}) > 1
    }


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _plain(run: Run) -> dict[str, Any]:
    """The run as JSON values."""
    best, last = run.best, run.epochs[-1] if run.epochs else None
    return {
        "name": run.name,
        "epochs": len(run.epochs),
        "planned_epochs": run.planned,
        "iterations": run.iterations,
        "last": last and _finite(asdict(last)),
        "best": best and _finite(asdict(best)),
        "images_per_second": run.images_per_second,
        "seconds": run.seconds,
        "time_split": run.split,
        "settings": run.card and dict(run.card.settings),
        "data": run.card and dict(run.card.data),
        "environment": run.card and dict(run.card.environment),
    }


def _finite(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record with null in place of numbers that JSON cannot express."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in record.items()
    }
