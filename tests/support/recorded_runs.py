"""Files of runs, as train.py writes them, without any training."""

from __future__ import annotations

import pathlib
from typing import Any, Optional

from gluon_resnet.runs.files.history import EpochLog, StepLog
from gluon_resnet.runs.files.run_card import RunCard, WorstClass
from gluon_resnet.training.epoch_record import EpochRecord, StepRecord

BATCHES = 400  # an epoch
SETTINGS = {
    "recipe": "imagenet",
    "network": "resnet20",
    "lr": 0.1,
    "rgb_mean": [1.0, 2.0, 3.0],
    "freeze": None,
}


def rate(iteration: int) -> float:
    """0.1, and 0.01 after iteration 8,000."""
    return 0.1 if iteration <= 8000 else 0.01


def epoch_record(epoch: int, error: float = 40.0, **other: Any) -> EpochRecord:
    """An epoch of 10 s at 1,000 images/s whose validation error is `error`, and 10 less in training."""
    iteration = epoch * BATCHES
    values: dict[str, Any] = {
        **{"epoch": epoch, "iteration": iteration, "lr": rate(iteration), "seconds": 10.0},
        **{"images_per_second": 1000.0, "top_k": 5},
        **{"train_loss": 1.0, "train_top1_error": error - 10, "train_topk_error": 5.0},
        **{"val_loss": 1.1, "val_top1_error": error, "val_topk_error": 6.0},
        **other,
    }
    return EpochRecord(**values)


def write_run(
    prefix: pathlib.Path,
    errors: list[float],
    *,
    steps: bool = True,
    planned: Optional[int] = None,
    settings: Optional[dict[str, Any]] = None,
    data: str = "val.rec (50 images)",
    **other: Any,
) -> str:
    """The files of a run with these validation errors; the prefix."""
    log, step_log = EpochLog(f"{prefix}-log.jsonl", 0), StepLog(f"{prefix}-steps.jsonl", 0)
    for epoch, error in enumerate(errors, 1):
        for iteration in range((epoch - 1) * BATCHES + 20, epoch * BATCHES + 1, 20) if steps else ():
            step_log.append(
                StepRecord(iteration, epoch, rate(iteration), 1.0, error - 5 - iteration % 40, 900.0)
            )
        log.append(epoch_record(epoch, error, **other))
    RunCard(
        "python tools/train.py --network resnet20",
        planned or len(errors),
        {**SETTINGS, **(settings or {})},
        {"training data": "train.rec (100 images)", "validation data": data},
        {"processor": "<fast> & cheap", "devices": "cpu(0)"},
        worst_classes=(WorstClass("<b>cat", 100, 40, (("dog", 30), ("deer", 10))),),
    ).happened(0, "begun").save(f"{prefix}-run.json")
    return str(prefix)
