"""Studies whose files are made up: runs as train.py writes them, evaluations and responses, without any training."""

from __future__ import annotations

import json
import os
import pathlib
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Optional

from gluon_resnet.analysis.responses import LayerResponse, Responses
from gluon_resnet.provenance import Source
from gluon_resnet.reproduction.reporting.report import write_report
from gluon_resnet.reproduction.study import Evaluation, StudiedNet, Study
from gluon_resnet.runs.files.history import EpochLog, StepLog
from gluon_resnet.runs.files.run import read_run
from gluon_resnet.runs.files.run_card import RunCard
from gluon_resnet.training.epoch_record import StepRecord
from tests.support.html_page import Page
from tests.support.recorded_runs import epoch_record

IMAGES, BATCHES = 10_000, 390
NETS = (("plain20", None), ("plain56", None), ("resnet20", "A"), ("resnet56", "A"))
PARAMETERS = {20: 272_474, 56: 855_770, 18: 11_689_512, 34: 21_797_672, 50: 25_557_032}


def train(
    folder: pathlib.Path,
    key: str,
    test_errors: Sequence[float],
    training_errors: Sequence[float],
    *,
    planned: Optional[int] = None,
    settings: Optional[dict[str, Any]] = None,
    data: str = f"/data/test.rec ({IMAGES:,} images)",
    environment: Optional[dict[str, str]] = None,
    text: str = "begun",
) -> None:
    """Write the files of a run with these errors after its epochs, and a line of steps each 39 updates."""
    prefix = folder / key
    log, steps = EpochLog(f"{prefix}-log.jsonl", 0), StepLog(f"{prefix}-steps.jsonl", 0)
    for epoch, (test, training) in enumerate(zip(test_errors, training_errors), 1):
        lr = 0.1 if epoch <= len(test_errors) / 2 else 0.01
        for part in range(1, 11):
            iteration = (epoch - 1) * BATCHES + 39 * part
            steps.append(StepRecord(iteration, epoch, lr, 1.0, min(100.0, training + 10 - 2 * part), 200.0))
        record = epoch_record(epoch, test, train_top1_error=training, data_wait=0.02)
        log.append(replace(record, iteration=epoch * BATCHES, lr=lr, seconds=250.0, images_per_second=200.0))
    RunCard(
        f"python tools/train.py --network {key}",
        len(test_errors) if planned is None else planned,
        {"recipe": "cifar10", "network": key, "classes": 10, "batch_size": 128, **(settings or {})},
        {"training data": "/data/train.rec (50,000 images)", "validation data": data},
        {"processor": "a fast one", "host": "vm", **(environment or {})},
    ).happened(0, text).save(f"{prefix}-run.json")


def evaluation(
    folder: pathlib.Path, keys: Sequence[str], wrong: int, protocol: str = "1-crop", **other: Any
) -> Evaluation:
    """One of IMAGES images, and a file that has its numbers."""
    path = folder / f"{'+'.join(keys)}-{protocol}.json"
    values: dict[str, Any] = {
        **{
            "path": str(path),
            "keys": tuple(keys),
            "epochs": (8,) * len(keys),
            "protocol": protocol,
            "scales": None,
        },
        **{"images": IMAGES, "top_k": 5, "top1_wrong": wrong, "topk_wrong": wrong // 10},
        **{
            "command": f"python tools/evaluate.py --model-prefix {' '.join(keys)} --protocol {protocol}",
            **other,
        },
    }
    path.write_text(json.dumps(values))
    return Evaluation(**values)


def responses(key: str, stds: Sequence[float]) -> Responses:
    """Of 3x3 layers, and one of 1x1 that no figure has."""
    layers = [LayerResponse(f"conv{n}", 3, std) for n, std in enumerate(stds)]
    layers.append(LayerResponse("projection", 1, 99.0))
    return Responses(
        key, f"{key}-0008.params", 8, ("test.rec",), IMAGES, tuple(layers), f"python tools/responses.py {key}"
    )


def net(
    folder: pathlib.Path,
    network: str,
    shortcut: Optional[str],
    *,
    key: str = "",
    seed: int = 0,
    source: Optional[Source] = None,
    evaluations: Sequence[Evaluation] = (),
    stds: Sequence[float] = (),
) -> StudiedNet:
    """A network with what the folder has of it."""
    key = key or network
    if stds:
        responses(key, stds).save(folder / f"{key}-responses.json")
    depth, prefix = int("".join(filter(str.isdigit, network))), str(folder / key)
    return StudiedNet(
        key,
        network,
        shortcut,
        depth,
        PARAMETERS.get(depth, 1_000_000),
        prefix,
        read_run(prefix) if os.path.exists(f"{prefix}-log.jsonl") else None,
        responses(key, stds) if stds else None,
        tuple(evaluations),
        seed,
        source,
    )


def study(folder: pathlib.Path, nets: Optional[Sequence[StudiedNet]] = None, **other: Any) -> Study:
    """A study of CIFAR-10, of the four networks unless others are given."""
    values: dict[str, Any] = {
        **{"data_set": "cifar10", "folder": str(folder), "command": "python tools/reproduce.py cifar10"},
        "nets": tuple([net(folder, *names) for names in NETS] if nets is None else nets),
        **{"converted": (), "ensembles": (), "deviations": ()},
        **other,
    }
    return Study(**values)


def written(study, folder) -> tuple[Page, str]:
    """The two files; in tables of the second, too, the sources that footnotes name are cells at the ends of rows."""
    write_report(study)
    text = (folder / "report.md").read_text("utf-8")
    return Page((folder / "report.html").read_text("utf-8")), _with_sources(text)


def _with_sources(text: str) -> str:
    blocks = text.split("\n\n")
    for number, block in enumerate(blocks):
        notes = dict(re.findall(r"<sup>(\d+)</sup> (`[^`]+`)", block)) if block.startswith("<sup>") else {}
        if notes:
            before = blocks[number - 1]
            assert {*re.findall(r"<sup>(\d+)</sup>", before)} == {*notes}
            rows = []
            for line in before.splitlines():
                mark = re.search(r"<sup>(\d+)</sup>", line)
                rows.append(f"{re.sub('<sup>.*</sup>', '', line)} {notes[mark[1]] if mark else ''} |")
            blocks[number - 1] = "\n".join(rows)
    return "\n\n".join(block for block in blocks if not block.startswith("<sup>"))


def cells(text: str, first: str) -> list[str]:
    """Of the only row of a Markdown table that begins with `first`."""
    (row,) = [line for line in text.splitlines() if line.startswith(f"| {first} |")]
    return [cell.strip() for cell in row.split("|")[1:-1]]
