"""Runs that one worker or several make, each with its part of the same batches; as a program, a worker."""

from __future__ import annotations

import json
import pathlib
import sys
from typing import Any, Optional
from unittest import mock

import numpy as np

from gluon_resnet._mxnet import mx
from gluon_resnet.training.checkpoints.checkpoint import Checkpoints
from gluon_resnet.training.devices import open_engine
from gluon_resnet.training.distributed.engine import Engine
from gluon_resnet.training.distributed.workers import Workers
from gluon_resnet.training.epoch_record import EpochRecord
from gluon_resnet.training.fit import fit
from gluon_resnet.training.position import Position
from gluon_resnet.training.schedule import Schedule
from gluon_resnet.training.trainer import Trainer
from tests.support.fakes import FakeBatch, FakeLoader, random_batch, tiny_net

ROWS = 16  # of a batch, over all workers
ITERATIONS = 38  # the last of eight epochs is shorter


def learnable(batch: FakeBatch) -> FakeBatch:
    """Each class but the last has a brighter channel."""
    for channel in range(3):
        batch.data[batch.label == channel, channel] += 0.3
    return batch


VALIDATION = [learnable(random_batch(24, random=np.random.default_rng(7)))]

# The name of a run: its schedule, and whether worker 0 validates. An error that falls by less than a fiftieth of it
# is a plateau here; a warm-up may end after every 6 iterations, of which an epoch has 5.
PLATEAU = {"mode": "plateau", "factor": 0.7, "patience": 0, "threshold": 0.02}
RUNS = {
    "validated": (Schedule(0.1, **PLATEAU), True),
    "trained": (Schedule(0.1, **PLATEAU), False),
    "warmed up": (Schedule(0.1, steps=(30,), warmup_lr=0.03, warmup_error=65.0), False),
    "all of it": (Schedule(0.1, **PLATEAU, warmup_lr=0.03, warmup_error=65.0), False),
}


class Part(FakeLoader):
    """The rows of worker `rank` of `count`."""

    def __init__(self, rank: int, count: int) -> None:
        super().__init__(rows=ROWS)
        self._part = slice(rank * ROWS // count, (rank + 1) * ROWS // count)

    def __iter__(self):
        for batch in map(learnable, super().__iter__()):
            yield FakeBatch(batch.data[self._part], batch.label[self._part])


class Run:
    """A trainer whose runs begin with the same weights; MXNet's store knows one of them."""

    def __init__(self, engine: Engine, workers: Workers) -> None:
        self.workers = workers
        self.trainer = Trainer(tiny_net(), [mx.cpu()], 4, engine=engine)
        self._first = self.trainer.state()

    def __call__(self, name: str, prefix: str, stop_after: Optional[int] = None) -> dict[str, Any]:
        """What a run came to; stopped after so many batches of this worker, and gone on with."""
        schedule, validated = RUNS[name]
        validation = VALIDATION if validated and self.workers.rank == 0 else None
        rates: list[float] = []
        records: list[EpochRecord] = []
        step = self.trainer.step
        self.trainer.load_state("", self._first)

        def noted(batch, lr, *rest):
            rates.append(lr)
            step(batch, lr, *rest)

        def part(stop) -> bool:
            checkpoints = Checkpoints(prefix, {})
            position = checkpoints.resume(self.trainer) or Position()
            part_of_it = Part(self.workers.rank, self.workers.count)
            return fit(
                self.trainer,
                part_of_it,
                validation,
                ITERATIONS,
                schedule,
                position=position,
                workers=self.workers,
                checkpoints=checkpoints if self.workers.rank == 0 else None,
                on_epoch=records.append,
                stop=stop,
            )

        with (
            mock.patch.object(self.trainer, "step", noted),
            mock.patch("gluon_resnet.training.schedule.WINDOW", 6),
        ):
            if stop_after is not None:
                assert not part(lambda: len(rates) >= stop_after)
                assert len(rates) < ITERATIONS
                self.trainer.load_state("", {name: array + 1 for name, array in self._first.items()})
                self.workers.any(False)  # worker 0 does not save before all have read
            assert part(lambda: False)
        weights = {name: array.tolist() for name, array in self.trainer.state().items()}
        return {
            "rates": rates,
            "errors": [(record.train_top1_error, record.train_topk_error) for record in records],
            "losses": [record.train_loss for record in records],
            "weights": weights,
        }


def sums(workers: Workers) -> list[list[int]]:
    """What many rounds, one directly behind the other, added up."""
    rank = workers.rank
    return [workers.sum([n * (rank + 1), 2**48 - 1 - rank, 4095][: 1 + n % 3]) for n in range(300)]


def main(folder: str, kvstore: str) -> None:
    """Write worker<rank>.json into `folder`: a worker of the cluster of the environment, or one alone."""
    engine = open_engine(kvstore, [mx.cpu()])
    with Workers(engine) as workers:
        run, rank = Run(engine, workers), workers.rank
        result = {
            "sums": sums(workers),
            "any": [workers.any(rank == 1), workers.any(False), workers.any(True)],
            "agree": [workers.agree(3), workers.agree(3 + rank), workers.agree(2**32 - 1)],
            **{name: run(name, f"{folder}/{name}") for name in RUNS},
        }
        for after in (3, 5, 13):  # worker 1 is asked to stop, and worker 0 is not
            stop_after = after if rank == workers.count - 1 else ITERATIONS + 1
            result[f"stopped {after}"] = run("all of it", f"{folder}/stopped{after}", stop_after)
    pathlib.Path(folder, f"worker{rank}.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
