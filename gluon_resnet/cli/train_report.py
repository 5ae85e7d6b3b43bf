"""What tools/train.py writes after each epoch."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict, replace

from gluon_resnet.analysis.curves import draw_curves
from gluon_resnet.data import Loader
from gluon_resnet.errors import EnvironmentProblem
from gluon_resnet.models import ModelCard
from gluon_resnet.training.log import EpochLog, EpochRecord


class TrainReport:
    """Called with each epoch's record: the lines, the log, the curves, and the errors in the model card."""

    def __init__(self, prefix: str, card: ModelCard, epochs: int, done: int, train: Loader) -> None:
        os.makedirs(os.path.dirname(prefix) or ".", exist_ok=True)
        self._prefix, self._card, self._epochs, self._curves = prefix, card, epochs, True
        self._train = train
        self._log = EpochLog(f"{prefix}-log.jsonl", done)
        card.save(f"{prefix}-model.json")  # now: a folder that cannot be written to is known before the work

    def __call__(self, record: EpochRecord) -> None:
        print(record.line(self._epochs), flush=True)
        loading = self._train.stats()
        if loading.batches:  # none where a run goes on with an epoch's validation
            print(f"  loader: {loading}", flush=True)
            record = replace(record, data_wait=round(loading.consumer_wait_share, 3))
        self._log.append(record)
        replace(self._card, training={**self._card.training, **asdict(record)}).save(
            f"{self._prefix}-model.json"
        )
        records = self._log.records
        try:
            if self._curves:
                draw_curves(
                    f"{self._prefix}-curves.png",
                    [r.iteration for r in records],
                    [r.train_top1_error for r in records],
                    [r.val_top1_error for r in records],
                    title=self._card.network,
                )
        except EnvironmentProblem as problem:
            self._curves = False
            print(f"note: {problem}", file=sys.stderr)
