"""A few steps of a worker; as a program, one that writes its weights."""

from __future__ import annotations

import pathlib
import sys

import numpy as np

from gluon_resnet._mxnet import mx
from gluon_resnet.training.devices import open_engine
from gluon_resnet.training.distributed.workers import Workers
from gluon_resnet.training.trainer import Trainer
from tests.support.fakes import tiny_net
from tests.support.shared_training import Part


def main(folder: str, kvstore: str) -> None:
    """Write <rank>.npz into `folder`."""
    engine = open_engine(kvstore, [mx.cpu()])
    with Workers(engine) as workers:
        trainer = Trainer(tiny_net(), [mx.cpu()], 4, engine=engine)
        meter = trainer.new_meter()
        for batch in Part(workers.rank, workers.count):
            trainer.step(batch, 0.1, meter, "")
        np.savez(pathlib.Path(folder, f"{workers.rank}.npz"), **trainer.state())


if __name__ == "__main__":
    main(*sys.argv[1:])
