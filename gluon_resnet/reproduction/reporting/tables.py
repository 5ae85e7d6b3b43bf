"""The paper's tables of errors, with a study's networks beside the printed figures."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from typing import Optional

from gluon_resnet.analysis.paper import TABLE_5, TABLE_6, Result, reference
from gluon_resnet.reproduction.published import FASHION_MNIST_BENCHMARK
from gluon_resnet.reproduction.reporting.measured import logged_training, tested
from gluon_resnet.reproduction.reporting.names import SUBJECTS, Subject, label
from gluon_resnet.reproduction.reporting.page import Table, sourced
from gluon_resnet.reproduction.reporting.seeds import spread
from gluon_resnet.reproduction.study import Evaluation, StudiedNet, Study
from gluon_resnet.runs.files.page import percent

NOT_YET, NOT_RUN, NOT_PRINTED = "not yet", "not run", "not printed"
_TOP_5 = 5


def table_6(study: Study) -> Table:
    """The study's networks on small images, by depth; for CIFAR-10 with the paper's figures and all its networks."""
    subject = SUBJECTS[study.data_set]
    rows = [((not net.plain, net.depth, float(net.seed)), _row_of(net, subject)) for net in study.nets]
    rows += [((not net.plain, net.depth, math.inf), _row_of(net, subject)) for net in study.converted]
    for net in study.first_seeds:
        found = spread(study, net, subject.protocol)
        if found:
            cells = (f"{found.name}, {len(found.errors)} seeds", str(found), *[""] * 6)
            rows.append(((not net.plain, net.depth, math.inf), (*cells, ", ".join(found.sources))))
    ours = {(net.network, net.shortcut) for net in study.shown}
    for row in TABLE_6 if subject.printed else ():
        if row.network and row.layers and (row.network, row.shortcut) not in ours:
            cells = (f"{row.method}-{row.layers}", NOT_RUN, "", _printed(row), "", "", str(row.layers))
            rows.append(((True, row.layers, 0), (*cells, f"({row.parameters})", "")))
    rows.sort(key=lambda row: row[0])
    heads = ["", "test error", "95 % interval", "the paper's", "training error", "epochs", "layers"]
    heads += ["parameters (the paper's)" if subject.printed else "parameters"]
    kept = [i for i, head in enumerate(heads) if subject.printed or head != "the paper's"]
    table = [[*(cells[i] for i in kept), cells[-1]] for _, cells in rows]
    return sourced([heads[i] for i in kept], "".join("lrrrrrrr"[i] for i in kept), table)


def published_on_fashion_mnist() -> Table:
    """The results of others, from the data set's own list."""
    rows = [(name, how, percent(100 * (1 - accuracy), 1)) for name, how, accuracy in FASHION_MNIST_BENCHMARK]
    return Table(("", "preprocessing", "test error"), "llr", tuple(rows))


def _row_of(net: StudiedNet, subject: Subject) -> tuple[str, ...]:
    """A row of Table 6."""
    test, training = tested(net, subject.protocol), logged_training(net)
    paper = reference(net.network, net.shortcut, "v1", "cifar10") if subject.printed else None
    sources = dict.fromkeys(found.source for found in (test, training) if found)
    return (
        label(net),
        *((percent(test.error), span(test.interval)) if test else (NOT_YET, "")),
        _printed(paper),
        percent(training.error) if training else "" if net.source else NOT_YET,
        *(epochs(net), str(net.depth)),
        _short(net.parameters) + (f" ({paper.parameters})" if paper else ""),
        ", ".join(sources),
    )


def table_of(study: Study, table: Sequence[Result], others: Iterable[StudiedNet] = ()) -> Table:
    """ImageNet: the rows of Table 2, 3 or 4, and then `others`, which the paper does not have."""
    protocol, five = table[0].protocol, any(row.top5_error is not None for row in table)
    nets = {(net.network, net.shortcut): net for net in study.first_seeds}
    rows = []
    for row in table:
        net = nets.get((row.network, row.shortcut)) if row.network else None
        name = row.method + (" (test set)" if row.images == "ImageNet test" else "")
        rows.append((name, *_ours(net, protocol, five), *_theirs(row, five), _source(net, protocol)))
    for net in others:
        theirs = (NOT_PRINTED, *([NOT_PRINTED] if five else []))
        rows.append((label(net), *_ours(net, protocol, five), *theirs, _source(net, protocol)))
    if five:
        heads = ("top-1 error", "95 % interval", "top-5 error", "95 % interval", "the paper's top-1", "top-5")
        return sourced(("", *heads), "lrrrrrr", rows)
    return sourced(("", "top-1 error", "95 % interval", "the paper's"), "lrrr", rows)


def outside(study: Study, tables: Iterable[Sequence[Result]]) -> list[StudiedNet]:
    """The networks that are in none of these tables."""
    printed = {(row.network, row.shortcut) for table in tables for row in table}
    return [net for net in study.nets if net.seed or (net.network, net.shortcut) not in printed]


def table_5(study: Study) -> Table:
    """Our ensembles on ImageNet, and the paper's."""
    rows = [
        (_members(study, found), *_tested(found), os.path.basename(found.path)) for found in study.ensembles
    ]
    paper = TABLE_5[-1]
    name = f"{paper.method}: six networks, test set"
    rows.append((f"the paper's {name}", "", "", "", "", percent(paper.top5_error), ""))
    heads = ("", "protocol", "images", "top-1 error", "95 % interval", "top-5 error")
    return sourced(heads, "tlrrrr", rows)


def further_tests(study: Study, protocols: Sequence[str]) -> Optional[Table]:
    """Tests of single networks by these protocols, and on CIFAR-10 of ensembles; None if there are none."""
    rows = []
    tests = [
        (label(net), found) for net in study.nets for found in net.evaluations if found.protocol in protocols
    ]
    if SUBJECTS[study.data_set].small_images:
        tests += [(_members(study, found), found) for found in study.ensembles]
    for name, found in tests:
        alone = _alone(study, found)
        rows.append((name, *_tested(found), alone, os.path.basename(found.path)))
    heads = (
        "",
        "protocol",
        "images",
        "top-1 error",
        "95 % interval",
        "top-5 error",
        "best of them alone",
    )
    return sourced(heads, "tlrrrrr", rows) if rows else None


def span(ends: Optional[tuple[float, float]]) -> str:
    """'8.21 to 9.32'; '' for None."""
    return f"{ends[0]:.2f} to {ends[1]:.2f}" if ends else ""


def epochs(net: StudiedNet) -> str:
    """'8', '3 of 8', 'not begun', 'converted'."""
    if net.source:
        return "converted"
    if net.run is None:
        return "not begun"
    over = str(len(net.run.epochs))
    return over if net.finished else f"{over} of {net.run.planned or '?'}"


def _members(study: Study, found: Evaluation) -> str:
    nets = {net.key: net for net in study.nets}
    return " + ".join(label(nets[key]) if key in nets else key for key in found.keys)


def _tested(found: Evaluation) -> tuple[str, str, str, str, str]:
    scales = f" {', '.join(map(str, found.scales))}" if found.scales else ""
    ends = span(found.top1_interval)
    return found.protocol + scales, f"{found.images:,}", percent(found.top1_error), ends, _top_k(found)


def _alone(study: Study, found: Evaluation) -> str:
    """The lowest error of an ensemble's networks alone, by the same protocol."""
    if len(found.keys) < 2:
        return ""
    alone = [
        e.top1_error
        for net in study.nets
        if net.key in found.keys
        for e in [net.evaluation(found.protocol)]
        if e
    ]
    return percent(min(alone)) if len(alone) == len(found.keys) else ""


def _top_k(found: Evaluation) -> str:
    return percent(found.topk_error) + (f" (top-{found.top_k})" if found.top_k != _TOP_5 else "")


def _ours(net: Optional[StudiedNet], protocol: str, five: bool) -> tuple[str, ...]:
    found = net.evaluation(protocol) if net else None
    rest = 3 if five else 1
    if found is None:
        return (NOT_YET if net else NOT_RUN, *[""] * rest)
    cells = (percent(found.top1_error), span(found.top1_interval))
    return (*cells, _top_k(found), span(found.topk_interval)) if five else cells


def _theirs(row: Result, five: bool) -> tuple[str, ...]:
    cells = (percent(row.top1_error) or NOT_PRINTED, percent(row.top5_error) or NOT_PRINTED)
    return cells if five else cells[:1]


def _source(net: Optional[StudiedNet], protocol: str) -> str:
    found = net.evaluation(protocol) if net else None
    return os.path.basename(found.path) if found else ""


def _printed(row: Optional[Result]) -> str:
    """'6.43 % (6.61±0.16)': the best of 5 runs, their mean and standard deviation."""
    if row is None:
        return NOT_PRINTED
    runs = f" ({row.mean_std[0]:.2f}±{row.mean_std[1]:.2f})" if row.mean_std else ""
    return f"{percent(row.top1_error)}{runs}"


def _short(count: int) -> str:
    """The count as Table 6 prints it: 0.27M, 1.7M, 19.4M."""
    return f"{count / 1e6:.{2 if count < 1e6 else 1}f}M"
