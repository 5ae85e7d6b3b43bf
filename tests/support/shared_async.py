"""Workers of dist_async: as a program, one of them, which writes what it came to."""

from __future__ import annotations

import json
import pathlib
import sys
import time

from gluon_resnet._mxnet import mx
from gluon_resnet.training.checkpoints.checkpoint import Checkpoints, Position
from gluon_resnet.training.devices import open_engine
from gluon_resnet.training.distributed.engine import Engine
from gluon_resnet.training.distributed.workers import Workers
from gluon_resnet.training.fit import fit
from gluon_resnet.training.schedule import Schedule
from gluon_resnet.training.trainer import Trainer
from tests.support.fakes import FakeLoader, tiny_net
from tests.support.shared_training import VALIDATION, Part, learnable

RATES = [0.0, 0.2, 0.2, 0.05, 0.0, 0.1, 0.01, 0.4]


def steps(engine: Engine) -> list[dict[str, list]]:
    """The weights after each step of a short schedule, on two devices."""
    devices = [mx.cpu(0), mx.cpu(1)]
    trainer = Trainer(
        tiny_net(devices), devices, 4, engine=engine, weight_decay=0.05, decay_bn_and_bias=False
    )
    meter, states = trainer.new_meter(), []
    for lr, batch in zip(RATES, FakeLoader(batches=len(RATES), rows=7)):
        trainer.step(batch, lr, meter, "")
        state = trainer.state()
        states.append({name: state[name].tolist() for name in state if "momentum" not in name})
    return states


class Waiting(Part):
    """Worker 1's batches, of which the third comes when worker 0 is at its last one."""

    def __init__(self, rank: int, count: int, folder: pathlib.Path) -> None:
        super().__init__(rank, count)
        self._rank, self._file = rank, folder / "last batch"

    def __iter__(self):
        for number, batch in enumerate(super().__iter__()):
            if self._rank == 0 and number == len(self) - 1:
                self._file.touch()
            while self._rank == 1 and number == 2 and not self._file.exists():
                time.sleep(0.01)
            yield batch


class Endless(Part):
    """More batches than anybody waits for."""

    def __len__(self) -> int:
        return 10**6

    def __iter__(self):
        while True:
            for batch in map(learnable, FakeLoader(rows=8)):
                time.sleep(0.01)
                yield batch


def learned(trainer: Trainer, workers: Workers, folder: pathlib.Path) -> dict:
    """A run of both, which wait for each other at the ends of epochs only."""
    schedule = Schedule(0.1, mode="plateau", factor=0.5, patience=0, threshold=0.02, warmup=3)
    records = []
    assert fit(
        trainer,
        Waiting(workers.rank, workers.count, folder),
        VALIDATION if workers.rank == 0 else None,
        100,
        schedule,
        workers=workers,
        on_epoch=records.append,
    )
    state = {name: array.tolist() for name, array in trainer.state().items()}
    return {
        "state": state,
        "error": trainer.evaluate(VALIDATION).top1_error,
        "rates": [record.lr for record in records],
    }


def stopped(trainer: Trainer, workers: Workers, folder: pathlib.Path) -> dict:
    """A run that worker 1 is asked to stop in the middle of its first epoch."""
    asked = time.monotonic() + (1 if workers.rank == 1 else 1000)
    checkpoints = Checkpoints(str(folder / "a"), {})
    done = fit(
        trainer,
        Endless(workers.rank, workers.count),
        None,
        10**6,
        Schedule(0.01),
        workers=workers,
        checkpoints=checkpoints if workers.rank == 0 else None,
        stop=lambda: time.monotonic() > asked,
    )
    return {"done": done}


def resumed(trainer: Trainer, workers: Workers, folder: pathlib.Path) -> dict:
    """What follows on `stopped`, with a learning rate of 0: the weights stay as they were saved."""
    position = Checkpoints(str(folder / "a"), {}).resume(trainer)
    assert position is not None
    before = {name: array.tolist() for name, array in trainer.state().items()}
    batch = Position(epoch=position.epoch, iteration=position.iteration)
    assert fit(
        trainer,
        Part(workers.rank, workers.count),
        None,
        position.iteration + 3,
        Schedule(0.0),
        position=batch,
        workers=workers,
    )
    after = {name: array.tolist() for name, array in trainer.state().items()}
    return {"iteration": position.iteration, "before": before, "after": after}


def main(folder: str, task: str, kvstore: str = "dist_async") -> None:
    """Write TASK<rank>.json into `folder`."""
    engine = open_engine(kvstore, [mx.cpu()])
    with Workers(engine) as workers:
        if task == "steps":
            result = {"states": steps(engine)}
        else:
            trainer = Trainer(tiny_net(norm=True), [mx.cpu()], 4, engine=engine)
            result = globals()[task](trainer, workers, pathlib.Path(folder))
    pathlib.Path(folder, f"{task}{workers.rank}.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
