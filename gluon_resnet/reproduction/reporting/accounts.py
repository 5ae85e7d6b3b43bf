"""How a study came about: its runs and their cost, the cost of the paper's schedule, commands, machines, events."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from gluon_resnet.reproduction.experiments import EXPERIMENTS
from gluon_resnet.reproduction.reporting.names import label
from gluon_resnet.reproduction.reporting.page import Table, sourced
from gluon_resnet.reproduction.reporting.tables import NOT_YET, epochs
from gluon_resnet.reproduction.study import Study
from gluon_resnet.runs.files.page import duration, percent
from gluon_resnet.training.recipes import get_recipe

_CHOSEN = ("network", "shortcut", "rgb_mean")  # settings that differ by necessity


def runs_table(study: Study) -> Table:
    """A row for each network; measurements cover the finished epochs."""
    rows = []
    for net in study.nets:
        if net.run is None or not net.run.epochs:
            rows.append((label(net), epochs(net), *[""] * 7))
            continue
        run, split = net.run, net.run.split or {}
        shares = [percent(100 * split[part], 1) if part in split else "" for part in ("loading", "compute")]
        log = os.path.basename(net.prefix) + "-log.jsonl"
        lines = f"{log}:1" + (f"-{len(run.epochs)}" if len(run.epochs) > 1 else "")
        rows.append(
            (
                *(label(net), epochs(net), f"{run.epochs[-1].iteration:,}", duration(run.seconds)),
                *(_rate(run.images_per_second), *shares, f"{run.epochs[-1].lr:g}", lines),
            )
        )
    heads = (
        "",
        "epochs",
        "iterations",
        "training time",
        "images/s",
        "loading",
        "compute",
        "last learning rate",
    )
    return sourced(heads, "lrrrrrrr", rows)


def full_schedule(study: Study) -> tuple[str, Table]:
    """The time of the paper's schedule at the speed of each run: a sentence, and a row for each network."""
    recipe = get_recipe(EXPERIMENTS[study.data_set].recipe)
    assert recipe.iterations is not None
    images = recipe.iterations * recipe.batch_size
    rows, total, rates = [], 0.0, 0
    for net in study.nets:
        rate = net.run.images_per_second if net.run else None
        if rate:
            total, rates = total + images / rate, rates + 1
        rows.append((label(net), _rate(rate) or NOT_YET, duration(images / rate) if rate else ""))
    if rates:
        name = "all" if rates == len(study.nets) else f"these {rates}"
        rows.append((f"{name}, one after the other", "", duration(total)))
    sentence = (
        f"The paper trains for {recipe.iterations:,} iterations of {recipe.batch_size} images, {images:,} in all. "
        "At the speed that each run had, with whatever ran beside it, that would take:"
    )
    return sentence, Table(("", "images/s", "training time"), "lrr", tuple(rows))


def commands(study: Study) -> list[str]:
    """All commands that made the study, each once, in the order of its networks: train, test, responses, ensembles."""
    lines = [study.command]
    for net in study.shown:
        if net.source:
            lines.append(net.source.command)
        if net.run and net.run.card:
            lines.append(net.run.card.command)
        lines += [found.command for found in net.evaluations]
        lines += [net.responses.command] if net.responses else []
    lines += [found.command for found in study.ensembles]
    return list(dict.fromkeys(line for line in lines if line))


def settings_table(study: Study) -> Optional[Table]:
    """Settings and data in which the runs differ, besides the network; None if there are none."""
    known = [
        (label(net), {**net.run.card.settings, **net.run.card.data})
        for net in study.nets
        if net.run and net.run.card
    ]
    rows = [row for row in _rows(known) if row[0] not in _CHOSEN and row[1] != _EVERYWHERE]
    return _table(rows)


def environment_table(study: Study) -> Optional[Table]:
    """The environments of the runs; what they have in common is listed once."""
    known = [(label(net), net.run.card.environment) for net in study.nets if net.run and net.run.card]
    return _table(_rows(known))


def events_table(study: Study) -> Optional[Table]:
    """What happened to the runs; None if nothing is known."""
    rows = [
        (event.time.replace("T", " "), label(net), f"{event.iteration:,}", event.text)
        for net in study.nets
        if net.run and net.run.card
        for event in net.run.card.events
    ]
    return (
        Table(("time", "", "iteration", ""), "llrt", tuple(sorted(rows, key=lambda row: row[0])))
        if rows
        else None
    )


_EVERYWHERE = "all runs"


def _rows(known: Sequence[tuple[str, Mapping[str, Any]]]) -> list[tuple[str, str, str]]:
    """Names, the runs that have a value, and the value."""
    rows = []
    for name in dict.fromkeys(name for _, values in known for name in values):
        runs: dict[str, list[str]] = {}
        for net, values in known:
            runs.setdefault(_shown(values.get(name)), []).append(net)
        rows += [
            (name, _EVERYWHERE if len(runs) == 1 else ", ".join(nets), value) for value, nets in runs.items()
        ]
    return rows


def _table(rows: Sequence[tuple[str, str, str]]) -> Optional[Table]:
    return Table(("", "", ""), "ltt", tuple(rows)) if rows else None


def _shown(value: Any) -> str:
    return (
        "none"
        if value is None
        else ", ".join(map(_shown, value))
        if isinstance(value, (list, tuple))
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )


def _rate(rate: Optional[float]) -> str:
    return f"{rate:,.0f}" if rate else ""
