"""tools/reproduce.py table1: the paper's Table 1 from our own networks, checked against the printed one."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import Any, Optional

from tabulate import tabulate

from gluon_resnet.analysis.paper import TABLE_1_FLOPS
from gluon_resnet.analysis.table1 import Column, columns, differences
from gluon_resnet.errors import UsageError
from gluon_resnet.terminal import say, tell


def add_target(targets: Any) -> None:
    """Add the target to the subparsers of reproduce.py."""
    target = targets.add_parser(
        "table1",
        help="the architectures for ImageNet, from the networks' graphs; exit status 1 if a cell differs",
        description="Print the architectures for ImageNet, from the networks' graphs, beside the paper's Table 1.",
        example="",
    )
    target.set_defaults(reproduce=_table1)


def _table1(args: argparse.Namespace) -> Optional[int]:
    if args.training:
        raise UsageError("table1 trains nothing: omit the arguments after --")
    ours = columns()
    print(_drawn(ours))
    say(
        "FLOPs: multiply-adds of convolutions and fc; shortcuts A up to 34 layers, B from 50 (Table 2, §4.1)."
    )
    found = differences(ours)
    for difference in found:
        tell(f"reproduce.py: table1: {difference}")
    if found:
        tell(f"reproduce.py: error: {len(found)} cells differ from the paper's Table 1")
        return 1
    say("Every cell equals that of the paper's Table 1, whose FLOPs are ours, rounded or truncated.")
    return None


def _drawn(ours: Sequence[Column]) -> str:
    """The columns laid out as in Table 1; if output sizes differ between columns, all are shown."""
    rows = []
    for parts in zip(*(column.rows for column in ours)):
        sizes = dict.fromkeys(f"{size}x{size}" for _, size, _ in parts)
        rows.append([parts[0][0], " / ".join(sizes), *(_stacked(cell) for _, _, cell in parts)])
    rows.append(["FLOPs", "", *(f"{column.multiply_adds / 1e9:.2f}x10^9" for column in ours)])
    rows.append(["in the paper", "", *(f"{flops}x10^9" for flops in TABLE_1_FLOPS)])
    headers = ["layer name", "output size", *(f"{column.depth}-layer" for column in ours)]
    return tabulate(rows, headers, tablefmt="grid", disable_numparse=True)


def _stacked(cell: str) -> str:
    """'[a; b] x 2' as the paper draws it: the layers of a unit one below the other."""

    def stack(match: re.Match[str]) -> str:
        layers = match[1].split("; ")
        width, middle = max(map(len, layers)), len(layers) // 2
        lines = [f"[{layer:{width}}]" for layer in layers]
        lines[middle] += match[2]
        return "\n".join(lines)

    units = [re.sub(r"\[(.*?)\]( x \d+)", stack, part) for part in cell.split(" + ")]
    return "\n+\n".join(units).replace(", softmax", ",\nsoftmax")
