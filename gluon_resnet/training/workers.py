"""The workers of a run, processes that train one network together, perhaps over several machines: what they share."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Callable, Optional

import numpy as np

from gluon_resnet._mxnet import mx
from gluon_resnet.training.activity import doing
from gluon_resnet.training.lifeline import Lifeline
from gluon_resnet.training.metrics import Sums

_KEY = 2**30  # in the store; parameters are counted from 0
_WIDTH = 8  # values of one sum: a key has one shape

# The store adds up float32, exact below 2^24, and float64 in some runs through float32 (MXNet 1.9.1): integers are
# split into digits, whose sums over 4096 workers are exact.
_DIGITS, _BITS = 4, 12


class Workers:
    """Adds up numbers over the workers of a KVStore; without a cluster there is one worker, and nothing to add.

    Every method is called by all workers at the same point of the run, and waits for the last of them.

    A context manager: within it, `lost` is called, in a thread, when another worker is gone, for whose part MXNet
    would wait for ever. Leaving it by an exception lets this process end at once, and the others know.

    Args:
        store: what devices.open_kvstore gave.
        lost: takes the rank of the worker that is gone. The main thread may wait inside MXNet and not come back.
    """

    def __init__(self, store: Any = "local", lost: Callable[[int], None] = lambda rank: None) -> None:
        self._store = store
        self.rank: int = 0 if isinstance(store, str) else store.rank
        self.count: int = 1 if isinstance(store, str) else store.num_workers
        self._lost = lost
        self._lifeline: Optional[Lifeline] = None
        if self.count > 1:
            self._wait_at_exit(False)
            self._store.init(_KEY, mx.nd.zeros((_WIDTH, _DIGITS)))

    def __enter__(self) -> Workers:
        if self.count > 1:
            self._lifeline = Lifeline(self.rank, self.count, self.sum, self._lost)
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        if self._lifeline is None:
            return
        if error is None:
            self._store._barrier()  # each is watched until all are done
            self._wait_at_exit(True)
        self._lifeline.close(failed=error is not None)

    def sum(self, values: Sequence[int]) -> list[int]:
        """Each of up to 8 `values`, from 0 to 2^48 - 1, added up over the workers."""
        if self.count == 1:
            return list(values)
        digits = np.zeros((_WIDTH, _DIGITS), "float32")
        for place in range(_DIGITS):
            digits[: len(values), place] = [value >> _BITS * place & 2**_BITS - 1 for value in values]
        # The server keeps the sum of one round: it has no updater. What is pushed becomes the store's buffer, so
        # that the pull comes behind the push; and the host waits for it, so that the next round comes behind both.
        total = mx.nd.array(digits)
        with doing("waiting for the other workers to reach the same point", self._who):
            self._store.push(_KEY, total)
            self._store.pull(_KEY, out=total)
            rows = total.asnumpy()[: len(values)]
        return [sum(int(digit) << _BITS * place for place, digit in enumerate(row)) for row in rows]

    def total(self, sums: Sums) -> Sums:
        """`sums` with the counts of all workers; losses and gradient norms stay those of this one."""
        top1_right, topk_right, images = self.sum((sums.top1_right, sums.topk_right, sums.images))
        return replace(sums, top1_right=top1_right, topk_right=topk_right, images=images)

    def any(self, flag: bool) -> bool:
        """Whether `flag` is true for one of them."""
        return self.sum([flag])[0] > 0

    def agree(self, value: int) -> bool:
        """Whether `value`, below 2^32, is the same for all of them."""
        return not self.any(self.sum([value]) != [value * self.count])  # one differs from the mean, if any do

    def _who(self) -> str:
        return (
            f"this is worker {self.rank} of {self.count}: one of the others is late, whose own messages say why; "
            "a parameter server does not tell which"
        )

    def _wait_at_exit(self, wait: bool) -> None:
        """Whether MXNet, when this process ends, waits until all of them do; a server ends only after that."""
        from mxnet.base import _LIB, check_call  # not before _mxnet has prepared the import

        check_call(_LIB.MXKVStoreSetBarrierBeforeExit(self._store.handle, ctypes.c_int(wait)))
