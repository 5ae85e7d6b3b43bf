"""Table 1 of the paper, read off the graphs of our networks, and the differences between the two."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Optional

from gluon_resnet._mxnet import mx
from gluon_resnet.analysis.cost import Layer, Total, layers_of, times
from gluon_resnet.analysis.paper import (
    TABLE_1,
    TABLE_1_DEPTHS,
    TABLE_1_FLOPS,
    TABLE_1_STRIDED,
    Table1Row,
    rounds_to,
)
from gluon_resnet.models import get_model

# The paper does not name the options of Table 1: they are those of Table 2 ("no extra parameter") and §4.1, "50-layer
# ResNet: ... We use option B for increasing dimensions".
_SHORTCUTS = {18: "A", 34: "A", 50: "B", 101: "B", 152: "B"}


@dataclass(frozen=True)
class Column:
    """One network in the terms of Table 1."""

    depth: int
    rows: tuple[tuple[str, int, str], ...]  # layer, output size, cell
    strided: tuple[str, ...]  # units, such as conv3_1, whose first convolution has a stride
    multiply_adds: int


@dataclass(frozen=True)
class Difference:
    """A cell in which a network and the paper differ."""

    row: str
    column: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.row}, {self.column}: expected {self.expected}, found {self.found}"


def columns() -> list[Column]:
    """The networks of Table 1 as they are in the registry, for images of 224x224."""
    return [_column(depth) for depth in TABLE_1_DEPTHS]


def differences(columns: Sequence[Column]) -> list[Difference]:
    """Every cell of `columns` that differs from the paper's, row by row; empty if Table 1 is reproduced.

    FLOPs agree if the printed digits are ours, rounded or truncated (see paper.rounds_to).
    """
    found = []
    for index, column in enumerate(columns):
        name = f"{column.depth}-layer"
        for number in range(max(len(TABLE_1), len(column.rows))):
            paper = TABLE_1[number] if number < len(TABLE_1) else None
            ours = column.rows[number] if number < len(column.rows) else None
            found += _row_differences(paper, ours, index, name)
        if column.strided != TABLE_1_STRIDED:
            found.append(Difference("stride 2", name, _listed(TABLE_1_STRIDED), _listed(column.strided)))
        printed, flops = TABLE_1_FLOPS[index], column.multiply_adds / 1e9
        if not rounds_to(flops, printed):
            found.append(Difference("FLOPs", name, f"{printed}x10^9", f"{flops:.3f}x10^9"))
    return found


def _row_differences(
    paper: Optional[Table1Row], ours: Optional[tuple[str, int, str]], index: int, name: str
) -> list[Difference]:
    layer, size, cell = ours or ("nothing", 0, "nothing")
    if paper is None:
        return [Difference(layer, name, "nothing", cell)]
    pairs = [("layer name", paper.layer, layer), ("output size", _square(paper.size), _square(size))]
    pairs.append((name, paper.cells[index], cell))
    row = paper.layer or "last row"
    return [
        Difference(row, what if what == name else f"{what} of {name}", expected, found)
        for what, expected, found in pairs
        if expected != found
    ]


def _column(depth: int) -> Column:
    """The column read off the graph of the network, plus its softmax, which belongs to the loss here."""
    net = get_model(f"resnet{depth}", shortcut=_SHORTCUTS[depth])
    layers = layers_of(mx.sym.softmax(net(mx.sym.var("data"))), (3, 224, 224))
    main = [layer for layer in layers if "shortcut" not in layer.name]
    parts = [(key, list(part)) for key, part in groupby(main, _stage)]
    before = [layer for layer in parts[0][1] if layer.operator in ("Convolution", "Pooling")]
    rows = []
    for number, layer in enumerate(before, 1):
        rows.append((f"conv{min(number, 2)}" + "_x" * (number > 1), layer.output[-1], _cell(layer)))
    strided = []
    for stage, part in parts[1:-1]:
        units = [list(unit) for _, unit in groupby(part, _unit)]
        rows.append((f"conv{stage + 1}_x", part[-1].output[-1], _repeated([_cells(unit) for unit in units])))
        strided += [f"conv{stage + 1}_{number}" for number, unit in enumerate(units, 1) if _halves(unit)]
    last = [layer for layer in parts[-1][1] if layer.operator in ("Pooling", "FullyConnected", "softmax")]
    rows.append(("", last[0].output[-1], ", ".join(map(_cell, last))))
    return Column(depth, tuple(rows), tuple(strided), Total.of(layers).multiply_adds)


def _stage(layer: Layer) -> int:
    match = re.search(r"_stage(\d+)_", layer.name)
    return int(match[1]) if match else 0


def _unit(layer: Layer) -> str:
    match = re.search(r"_unit(\d+)_", layer.name)
    return match[1] if match else ""


def _cell(layer: Layer) -> str:
    """One layer in the terms of Table 1."""
    if layer.operator == "FullyConnected":
        return f"{layer.output[0]}-d fc"
    if layer.operator == "softmax":
        return "softmax"
    if layer.attributes.get("global_pool") == "True":
        return {"avg": "average pool"}.get(layer.attributes["pool_type"], layer.kind)
    window, stride = times(layer.numbers("kernel")), layer.numbers("stride", (1,))[0]
    if layer.operator == "Pooling":
        text = f"{window} {layer.attributes['pool_type']} pool"
    else:
        text = f"{window}, {layer.output[0]}"
    return text + (f", stride {stride}" if stride > 1 else "")


def _convolutions(unit: Sequence[Layer]) -> list[Layer]:
    return [layer for layer in unit if layer.operator == "Convolution"]


def _cells(unit: Sequence[Layer]) -> str:
    """The convolutions of a unit; the caption gives their strides."""
    return "; ".join(_cell(layer).split(", stride")[0] for layer in _convolutions(unit))


def _halves(unit: Sequence[Layer]) -> bool:
    return _convolutions(unit)[0].numbers("stride") == (2, 2)


def _repeated(units: Sequence[str]) -> str:
    return " + ".join(f"[{unit}] x {len(list(same))}" for unit, same in groupby(units))


def _square(size: int) -> str:
    return f"{size}x{size}" if size else "nothing"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"
