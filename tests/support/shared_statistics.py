"""Running statistics of two devices of each worker after a step; as a program, a worker, which writes what it has."""

from __future__ import annotations

import pathlib
import sys
from typing import Any

import numpy as np

from gluon_resnet._mxnet import mx
from gluon_resnet.training.devices import open_engine
from gluon_resnet.training.distributed.workers import Workers
from gluon_resnet.training.trainer import Trainer
from tests.support.fakes import FakeBatch, random_batch, tiny_net

ROWS = 6  # of a device's part


def batch(part: int, parts: int = 1) -> FakeBatch:
    """The rows of so many of the devices' parts, whose pixels differ from part to part."""
    batches = [random_batch(ROWS, random=np.random.default_rng(n)) for n in range(part, part + parts)]
    images = [batch.data * (1 + n) + 20 * n for n, batch in enumerate(batches, part)]
    return FakeBatch(np.concatenate(images), np.concatenate([batch.label for batch in batches]))


def batches(part: int, parts: int) -> list[FakeBatch]:
    """Two batches, of which the second is darker."""
    first = batch(part, parts)
    return [first, FakeBatch(first.data / 3, first.label)]


def statistics(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: array for name, array in state.items() if "running" in name}


def main(folder: str, kvstore: str) -> None:
    """Write `gathered`, `restored`, `averaged` and `recomputed` to <rank>.npz in `folder`."""
    devices = [mx.cpu(0), mx.cpu(1)]
    engine = open_engine(kvstore, devices)
    with Workers(engine) as workers:
        trainer = Trainer(tiny_net(devices, norm=True), devices, 4, engine=engine)
        trainer.step(batch(2 * workers.rank, 2), 0.1, trainer.new_meter(), "")
        result: dict[str, Any] = {}

        def note(title: str) -> None:
            result.update({f"{title} {k}": v for k, v in statistics(trainer.state()).items()})

        trainer.gather_statistics()
        state = trainer.state()
        note("gathered")
        result["names"] = np.array(list(state))
        if engine.in_step:  # dist_async takes no state after the first step
            trainer.step(batch(0, 2), 0.1, trainer.new_meter(), "")
            trainer.load_state("", state)
            trainer.gather_statistics()
            note("restored")
        trainer.average_statistics()
        note("averaged")
        trainer.recompute_statistics(batches(2 * workers.rank, 2))
        note("recomputed")
        images = np.concatenate([batch.data for part in range(4) for batch in batches(part, 1)])
        result["outputs"] = trainer.net[0](mx.nd.array(images)).asnumpy()
    np.savez(pathlib.Path(folder, f"{workers.rank}.npz"), **result)


if __name__ == "__main__":
    main(*sys.argv[1:])
