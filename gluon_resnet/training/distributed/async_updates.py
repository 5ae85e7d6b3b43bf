"""Updates with dist_async: the servers apply each worker's gradients as they arrive."""

from __future__ import annotations

import time
from typing import Any, Optional

from gluon_resnet._mxnet import mx
from gluon_resnet.errors import GluonResnetError
from gluon_resnet.training.distributed.dist_engine import AsyncParameterServer
from gluon_resnet.training.distributed.updates import Updates


class AsyncUpdates(Updates):
    """SGD with momentum in the servers, applied to the gradients of one worker at a time.

    Every worker pushes the gradient of the mean loss of its own batch, which is an update by itself, and pulls the
    weights with all updates so far. The learning rate of all of them is worker 0's. Momentum is kept in the servers and
    not part of a state: it starts at 0. The servers' weights start as worker 0's at its first update.
    """

    _engine: AsyncParameterServer

    def __init__(
        self, net: Any, engine: AsyncParameterServer, momentum: float, weight_decay: float, scaler: Any = None
    ) -> None:
        self._momentum, self._weight_decay = momentum, weight_decay
        self._begun = False
        self._lr: Optional[float] = None  # the servers' current one
        super().__init__(net, engine, momentum, weight_decay, scaler)

    def apply_timed(self, lr: float, rows: int) -> tuple[Any, float]:
        mx.nd.waitall()
        began = time.perf_counter()
        norm = self.apply(lr, rows)  # the update is part of combining
        mx.nd.waitall()
        return norm, time.perf_counter() - began

    def settle(self) -> None:
        if not self._begun:
            return
        mx.nd.waitall()
        self._engine.barrier()  # until all have pushed
        self._pull()
        mx.nd.waitall()
        self._engine.barrier()  # so that nobody pushes before all have pulled

    def momenta(self) -> dict[str, list[Any]]:
        return {}

    def load_scaler_state(self, arrays: Any) -> None:
        if self._begun:
            raise GluonResnetError(
                "the servers of dist_async already have their weights: load a state before the first step"
            )
        super().load_scaler_state(arrays)

    def _create_momenta(self) -> None:
        pass

    def _apply(self, lr: float, scale: float) -> None:
        if not self._begun:
            self._begin()
        if lr != self._lr and self._engine.rank == 0:
            self._engine.set_learning_rate(lr)
        self._lr = lr
        for index, parameter in enumerate(self._trained):
            gradient = parameter.list_grad()[0]
            gradient *= scale  # in place: the pull may reuse its memory, too
            self._engine.push(index, gradient)
            self._engine.pull(index, parameter.list_data())

    def _begin(self) -> None:
        """Set up the servers; all workers take part, each at its first update."""
        self._engine.begin_updates(
            [parameter.list_data()[0] for parameter in self._trained],
            momentum=self._momentum,
            weight_decay=self._weight_decay,
            wd_mult={index: parameter.wd_mult for index, parameter in enumerate(self._trained)},
        )
        self._begun = True

    def _pull(self) -> None:
        for index, parameter in enumerate(self._trained):
            self._engine.pull(index, parameter.list_data())
