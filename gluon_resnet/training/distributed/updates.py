"""Combines gradients over devices and workers, and applies them with SGD to every copy of the weights."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Optional

import numpy as np

from gluon_resnet._mxnet import mx
from gluon_resnet.training.distributed.engine import Engine


class Updates:
    """SGD with momentum on the parameters of a network, whose copies stay equal on all workers.

    Args:
        net: a network with initialized parameters, one copy per device.
        engine: the engine that combines gradients (see devices.open_engine).
        momentum, weight_decay: the parameters of SGD; a parameter's `wd_mult` multiplies its decay.
        scaler: MXNet's dynamic loss scaler (contrib.amp.loss_scaler.LossScaler), or None. With it, an update whose
            gradients are not finite is skipped, and the scale is halved.
    """

    def __init__(
        self, net: Any, engine: Engine, momentum: float, weight_decay: float, scaler: Any = None
    ) -> None:
        self._engine = engine
        self._scaler = scaler
        self._sgd = mx.gluon.Trainer(
            net.collect_params(),
            "sgd",
            {"learning_rate": 0.0, "momentum": momentum, "wd": weight_decay},
            kvstore=engine.kvstore,
            update_on_kvstore=False,  # momentum and its checkpoint stay here; the rate may change at every step
        )
        self._trained = [p for p in self._sgd._params if p.grad_req != "null"]
        self._create_momenta()
        # If left to the first step, distributing the initial values would race with that step, and running statistics
        # would lose their first update.
        self._sgd._init_kvstore()
        self._sgd._init_params()
        engine.begin([parameter.list_data() for parameter in self._sgd._params])
        mx.nd.waitall()

    @property
    def loss_scale(self) -> Optional[float]:
        """The factor of the next step's loss; None without a scaler."""
        return float(self._scaler.loss_scale) if self._scaler else None

    def scaled(self, losses: list[Any]) -> list[Any]:
        """The losses times the scale that keeps gradients within the range of float16."""
        return [loss * self._scaler.loss_scale for loss in losses] if self._scaler else losses

    def apply(self, lr: float, rows: int) -> Any:
        """Queue the update from the gradients of this worker's `rows` losses, which `scaled` has returned.

        Returns the L2 norm of the gradient of the mean loss over all workers, an array (1,) that may not be computed
        yet.
        """
        self._combine()
        return self._update(lr, rows)

    def apply_timed(self, lr: float, rows: int) -> tuple[Any, float]:
        """Like `apply`, but also returns the seconds that combining took; waits for it and for all earlier work."""
        mx.nd.waitall()
        began = time.perf_counter()
        self._combine()
        mx.nd.waitall()
        seconds = time.perf_counter() - began
        return self._update(lr, rows), seconds

    def _combine(self) -> None:
        self._sgd._allreduce_grads()
        self._engine.combine([parameter.list_grad() for parameter in self._trained])

    def _update(self, lr: float, rows: int) -> Any:
        workers = self._engine.count if self._engine.in_step else 1  # whose gradients were added up
        scale = 1.0 / (workers * rows * (self.loss_scale or 1.0))
        gradients = [parameter.list_grad()[0] for parameter in self._trained]
        squares = mx.nd.multi_sum_sq(*gradients, num_arrays=len(gradients))
        norm = squares.sum().sqrt() * scale
        if not (self._scaler and self._scaler.has_overflow(self._trained)):
            self._apply(lr, scale)
        return norm

    def _apply(self, lr: float, scale: float) -> None:
        """Queue the update with the combined gradients times `scale`."""
        self._sgd.set_learning_rate(lr)
        self._sgd._optimizer.rescale_grad = scale
        self._sgd._update()

    def settle(self) -> None:
        """Make the weights of all workers equal, if they are not equal at every step."""

    def momenta(self) -> dict[str, list[Any]]:
        """SGD's arrays by their parameter's full name, with a copy for each device; empty without momentum."""
        found = {}
        for parameter in self._trained:
            index = self._sgd._param2idx[parameter.name]
            copies = [updater.states[index] for updater in self._sgd._updaters]
            if copies[0] is not None:
                found[parameter.name] = copies
        return found

    def scaler_state(self) -> dict[str, np.ndarray]:
        """Everything that the coming steps' loss scale depends on, by name; empty without a scaler."""
        if not self._scaler:
            return {}
        scaler = self._scaler
        values = (scaler._loss_scale, scaler._next_loss_scale, scaler._unskipped)
        return {"loss_scale": np.array(values, "float32")}

    def load_scaler_state(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Continue from a `scaler_state()`."""
        if self._scaler:
            scale, following, unskipped = arrays["loss_scale"].tolist()
            self._scaler._loss_scale, self._scaler._next_loss_scale = scale, following
            self._scaler._unskipped = int(unskipped)

    def _create_momenta(self) -> None:
        """Do now what MXNet does in the first step, so that a state can be loaded before it."""
        for parameter in self._trained:
            index = self._sgd._param2idx[parameter.name]
            for updater, weight in zip(self._sgd._updaters, parameter.list_data()):
                updater.states[index] = updater.optimizer.create_state_multi_precision(index, weight)
                updater.states_synced[index] = True
