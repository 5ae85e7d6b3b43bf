"""The other roles of a cluster: the scheduler, and a server that understands dist_engine's commands.

Started as `python -m gluon_resnet.training.distributed.parameter_server`, with the variables DMLC_* set as for a
worker.
"""

from __future__ import annotations

import ctypes
import json
import os
import traceback
from collections.abc import Mapping
from typing import Any, Callable, Optional

from gluon_resnet.errors import UsageError
from gluon_resnet.terminal import tell

FIRST_NUMBERS = 2**30  # keys from here on hold numbers to be added up; weights are numbered from 0


def serve() -> None:
    """Run the scheduler or a server, depending on the variable DMLC_ROLE, until all workers are done.

    For a process that has not imported MXNet yet. UsageError for any other role.
    """
    role = os.environ.get("DMLC_ROLE")
    if role not in ("scheduler", "server"):
        raise UsageError(
            f"DMLC_ROLE: expected 'scheduler' or 'server', as a launcher sets it, found {role!r}"
        )
    # In these roles MXNet serves during its import, with a controller that unpickles whatever it is sent.
    del os.environ["DMLC_ROLE"]
    try:
        from gluon_resnet._mxnet import mx
    finally:
        os.environ["DMLC_ROLE"] = role
    from mxnet.base import _LIB, check_call

    store = mx.kv.create("dist")
    server = _Server(store, int(os.environ["DMLC_NUM_WORKER"]))
    controller = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(
        lambda head, body, _: server.obey(head, body)
    )
    check_call(_LIB.MXKVStoreRunServer(store.handle, controller, None))


class _Server:
    """Handles a server's commands and, for dist_async, everything that is pushed.

    Commands are JSON: ``{"command": "asynchronous"}``, which comes first; ``{"command": "sgd", "momentum": m,
    "weight_decay": w, "wd_mult": {"0": x, ...}}``, with the keys of the weights, before the first gradient; and
    ``{"command": "learning_rate", "value": lr}``, at any time, which does not change momentum.
    """

    def __init__(self, store: Any, workers: int) -> None:
        self._store, self._workers = store, workers
        self._sgd: Any = None
        self._update: Optional[Callable[[int, Any, Any], None]] = None
        self._pushes: dict[int, int] = {}  # for each key of numbers

    def obey(self, head: int, body: bytes) -> None:
        """Execute the command of a worker, which waits for it to end."""
        with _Fatal(f"a command was received that is not one of dist_async's ({body[:60]!r}...)"):
            content = json.loads(body)
            if content["command"] == "asynchronous":
                self._store._set_updater(self._apply)
            elif content["command"] == "sgd":
                self._begin(content["momentum"], content["weight_decay"], content["wd_mult"])
            elif content["command"] == "learning_rate":
                self._sgd.set_learning_rate(float(content["value"]))
            else:
                raise ValueError(content["command"])

    def _begin(self, momentum: float, weight_decay: float, wd_mult: Mapping[str, float]) -> None:
        from gluon_resnet._mxnet import mx

        self._sgd = mx.optimizer.SGD(learning_rate=0.0, momentum=momentum, wd=weight_decay)
        self._sgd.set_wd_mult({int(key): multiplier for key, multiplier in wd_mult.items()})
        self._update = mx.optimizer.get_updater(self._sgd)

    def _apply(self, key: int, pushed: Any, stored: Any) -> None:
        """Apply the array `pushed` by a worker to the one `stored`; only dist_async gets here."""
        with _Fatal(f"key {key} could not be updated"):
            if key < FIRST_NUMBERS:
                assert self._update is not None
                self._update(key, pushed, stored)
                return
            # Numbers are added up in rounds, in each of which every worker pushes once.
            pushes = self._pushes.get(key, 0)
            if pushes % self._workers == 0:
                stored[:] = pushed
            else:
                stored += pushed
            self._pushes[key] = pushes + 1


class _Fatal:
    """Ends the process on an exception, which would be lost in the calling native code while workers wait."""

    def __init__(self, message: str) -> None:
        self._message = message

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if error is not None:
            traceback.print_exception(kind, error, trace)
            tell(f"parameter server: error: {self._message}")
            os._exit(1)


if __name__ == "__main__":
    serve()
