"""The result of an evaluation as text, JSON and CSV."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, dataclass
from typing import IO, Any, NamedTuple, Optional

from tabulate import tabulate

from gluon_resnet.analysis.paper import Result
from gluon_resnet.evaluation.intervals import interval
from gluon_resnet.evaluation.tally import Tally
from gluon_resnet.terminal import printable, printable_cells


class Network(NamedTuple):
    """The origin of a network."""

    parameters: str
    network: str
    shortcut: Optional[str]
    variant: str
    epoch: int
    exported: bool


class KeptPredictions(NamedTuple):
    """The file that contains the answer to each image."""

    file: str  # its name without the folder
    sha256: str


@dataclass(frozen=True)
class Report:
    """What was tested, how, and with which result."""

    tally: Tally
    names: tuple[str, ...]  # those of the classes
    protocol: str
    scales: Optional[tuple[int, ...]]
    networks: tuple[Network, ...]
    data: tuple[str, ...]
    recomputed_statistics: tuple[
        str, ...
    ]  # records that gave batch normalization's; (): the network's own are used
    paper: Optional[Result]  # the result that He et al. 2015 print for such a network
    per_class: bool
    command: str
    predictions: Optional[KeptPredictions] = None

    def to_dict(self) -> dict[str, Any]:
        """Errors in percent, each with its 95 % interval; `topk_error` is the error within the top `top_k`."""
        tally = self.tally
        result: dict[str, Any] = {
            "top1_error": _percent(tally.top1_wrong, tally.images),
            "top1_interval": interval(tally.top1_wrong, tally.images),
            "topk_error": _percent(tally.topk_wrong, tally.images),
            "topk_interval": interval(tally.topk_wrong, tally.images),
            "top_k": tally.top_k,
            "images": tally.images,
            "top1_wrong": tally.top1_wrong,
            "topk_wrong": tally.topk_wrong,
            "classes": tally.classes,
            "protocol": self.protocol,
            "scales": self.scales,
            "networks": [network._asdict() for network in self.networks],
            "data": self.data,
            "recomputed_statistics": self.recomputed_statistics,
            "paper": self.paper and {"citation": self.paper.citation, **asdict(self.paper)},
            "command": self.command,
            "predictions": self.predictions and self.predictions._asdict(),
        }
        if self.per_class:
            result["per_class"] = [
                {
                    "class": self.names[row.label],
                    "images": row.images,
                    "error": _percent(row.wrong, row.images) if row.images else None,
                    "confused_with": None if row.most_frequent is None else self.names[row.most_frequent],
                    "times": row.times,
                }
                for row in tally.confusions()
            ]
        return result


def write_json(stream: IO[str], report: Report) -> None:
    """Write the report as one indented object."""
    stream.write(json.dumps(report.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def write_confusion(stream: IO[str], report: Report) -> None:
    """Write a row for each label and a column for each answer, both with the names of the classes."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["label \\ answer", *report.names])
    for name, row in zip(report.names, report.tally.confusion_matrix()):
        writer.writerow([name, *row])


def error_table(report: Report) -> str:
    """What was tested, and its errors next to the paper's."""
    tally, scales = report.tally, report.scales
    lines = [f"{network.network} ({network.parameters})" for network in report.networks]
    how = report.protocol + (f" {','.join(map(str, scales))}" if scales else "")
    lines.append(f"{how}, {tally.images} images of {', '.join(report.data)}")
    if report.recomputed_statistics:
        lines.append(f"statistics of batch normalization: those of {', '.join(report.recomputed_statistics)}")
    columns = 5 if tally.top_k < tally.classes else 3  # nothing can be wrong within the top k of k classes
    rows = [["this", *_cells(tally.top1_wrong, tally.images), *_cells(tally.topk_wrong, tally.images)]]
    if report.paper:
        paper = report.paper
        top1, top5 = ("" if e is None else f"{e:.2f} %" for e in (paper.top1_error, paper.top5_error))
        rows.append([f"{paper.citation}, {paper.method}, {paper.images}", top1, "", top5, ""])
    headers = ["", "top-1 error", "95 % interval", f"top-{tally.top_k} error", "95 % interval"]
    table = tabulate(
        [row[:columns] for row in rows],
        headers[:columns],
        colalign=("left", *["right"] * (columns - 1)),
        disable_numparse=True,
    )
    return "\n".join([*map(printable, lines), "", table])


def class_table(report: Report) -> str:
    """Images, error and the most frequent confusion of each class."""
    rows = [
        [
            report.names[row.label],
            row.images,
            f"{_percent(row.wrong, row.images):.2f} %" if row.images else "",
            "" if row.most_frequent is None else f"{report.names[row.most_frequent]} ({row.times})",
        ]
        for row in report.tally.confusions()
    ]
    headers = ["class", "images", "error", "most often taken for"]
    return tabulate(
        printable_cells(rows), headers, colalign=("left", "right", "right", "left"), disable_numparse=True
    )


def _percent(wrong: int, images: int) -> float:
    return 100.0 * wrong / images


def _cells(wrong: int, images: int) -> tuple[str, str]:
    low, high = interval(wrong, images)
    return f"{_percent(wrong, images):.2f} %", f"{low:.2f} to {high:.2f}"
