"""MXNet's parameter server as an engine, seen from a worker: `dist_sync`, `dist_device_sync` and `dist_async`."""

from __future__ import annotations

import ctypes
import json
import os
import socket
from collections.abc import Sequence
from typing import Any

import numpy as np

from gluon_resnet._mxnet import mx
from gluon_resnet.training.distributed.engine import Engine, address_towards
from gluon_resnet.training.distributed.parameter_server import FIRST_NUMBERS

# The store adds up float32, which is exact below 2^24, and in some runs float64 passes through float32 (MXNet 1.9.1):
# integers are split into digits, whose sums over 4096 workers are exact.
_DIGITS, _BITS = 4, 12
_WIDTH = 8  # values per sum, since a key has a fixed shape


class ParameterServer(Engine):
    """`dist_sync` and `dist_device_sync`: servers add up the gradients, and workers apply them.

    Creating it waits until the cluster described by the variables DMLC_* is complete.
    """

    def __init__(self, name: str) -> None:
        self._store = mx.kv.create(name)
        super().__init__(self._store, self._store.rank, self._store.num_workers)
        self._keys: dict[tuple[int, ...], int] = {}
        self.wait_at_exit(self.count == 1)  # with others: see Workers

    def begin(self, copies: Sequence[Sequence[Any]]) -> None:
        # gluon.Trainer has queued this. If left to the first step, it would race with that step: running statistics
        # would lose their first update, and the first pull could return gradients.
        mx.nd.waitall()
        self.barrier()

    def sum(self, values: Sequence[int]) -> list[int]:
        digits = np.zeros((_WIDTH, _DIGITS), "float32")
        for place in range(_DIGITS):
            digits[: len(values), place] = [value >> _BITS * place & 2**_BITS - 1 for value in values]
        rows = self.sum_array(digits)[: len(values)]
        return [sum(int(digit) << _BITS * place for place, digit in enumerate(row)) for row in rows]

    def sum_array(self, array: np.ndarray) -> np.ndarray:
        key = self._keys.get(array.shape)
        if key is None:
            key = self._keys[array.shape] = FIRST_NUMBERS + len(self._keys)
            self._store.init(key, mx.nd.zeros(array.shape))
        # The pushed array becomes the store's buffer, so that the pull follows the push; and the host waits for it, so
        # that the next round follows both.
        total = mx.nd.array(array)
        self._store.push(key, total)
        self._pull_sum(key, total)
        return np.asarray(total.asnumpy())

    def _pull_sum(self, key: int, total: Any) -> None:
        """Queue the pull of the sum; a server of dist_sync answers once all have pushed."""
        self._store.pull(key, out=total)

    def barrier(self) -> None:
        self._store._barrier()

    def wait_at_exit(self, wait: bool) -> None:  # servers end only after that
        from mxnet.base import _LIB, check_call  # not before _mxnet has prepared the import

        check_call(_LIB.MXKVStoreSetBarrierBeforeExit(self._store.handle, ctypes.c_int(wait)))

    def address(self) -> str:
        host = os.environ.get("DMLC_NODE_HOST")
        if host:
            return socket.gethostbyname(host)
        return address_towards(os.environ["DMLC_PS_ROOT_URI"], int(os.environ["DMLC_PS_ROOT_PORT"]))


class AsyncParameterServer(ParameterServer):
    """`dist_async`: servers apply each worker's gradients as they arrive; no worker waits for another one.

    The servers must be those of gluon_resnet.training.distributed.parameter_server.
    """

    in_step = False

    def __init__(self) -> None:
        super().__init__("dist_async")
        self.kvstore = "device"  # combines only the gradients of this worker's devices
        if self.rank == 0:
            self._command(command="asynchronous")

    def begin_updates(self, weights: Sequence[Any], **settings: Any) -> None:
        """Give the servers worker 0's `weights`, numbered from 0, and the settings of SGD: see parameter_server."""
        if self.rank == 0:
            self._command(command="sgd", **settings)
        self._store.init(list(range(len(weights))), list(weights))

    def set_learning_rate(self, lr: float) -> None:
        """Set the rate of all updates pushed from now on, after waiting for earlier ones; for worker 0."""
        mx.nd.waitall()
        self._command(command="learning_rate", value=lr)

    def push(self, index: int, gradient: Any) -> None:
        """Queue an update of the weight `index`."""
        self._store.push(index, gradient, priority=-index)

    def pull(self, index: int, copies: Sequence[Any]) -> None:
        """Queue getting the weight `index` as it is then, after everything that has been pushed."""
        self._store.pull(index, out=list(copies), priority=-index)

    def _pull_sum(self, key: int, total: Any) -> None:
        # A server answers at once: a round is complete when all have pushed, and the next may begin when all have read.
        self._store.pull(key, out=total)
        total.wait_to_read()  # the servers now have what was pushed
        self.barrier()
        self._store.pull(key, out=total)
        total.wait_to_read()
        self.barrier()

    def _command(self, **content: Any) -> None:
        """Send a command, and wait until all servers have executed it."""
        self._store._send_command_to_servers(
            0, json.dumps(content)
        )  # 0: the only kind that MXNet passes to a controller
