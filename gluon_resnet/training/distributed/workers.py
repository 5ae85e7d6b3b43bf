"""The workers of a run, processes that train one network together, perhaps over several machines: what they share."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import sys
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Callable, Optional

from gluon_resnet._mxnet import mx
from gluon_resnet.errors import UsageError, exit_status
from gluon_resnet.training.activity import doing
from gluon_resnet.training.distributed.engine import Engine
from gluon_resnet.training.distributed.lifeline import Lifeline
from gluon_resnet.training.metrics import Sums

_LOSS_UNIT = 2**-20  # sums are of integers
_BYTES = 6  # of text in one of them
_TOLD, _LONGEST = 5, 80  # differences between workers that are told, and letters of a value


class Workers:
    """Adds up numbers over the workers of an engine; alone, a worker has nothing to add.

    Every method but `asked_to_stop` and `own_or_total` with dist_async is called by all workers at the same point of
    the run, and waits for the last of them.

    A context manager: within it, `lost` is called, in a thread, when another worker is gone, for whose part MXNet
    would wait for ever. Leaving it by an exception lets this process end at once, with the exit status of a command
    that fails so, and the others know.

    Args:
        engine: what devices.open_engine gave; None: this is the only worker.
        lost: takes the rank of the worker that is gone. The main thread may wait inside MXNet and not come back.
    """

    def __init__(
        self, engine: Optional[Engine] = None, lost: Callable[[int], None] = lambda rank: None
    ) -> None:
        self._engine = engine or Engine()
        self.rank: int = self._engine.rank
        self.count: int = self._engine.count
        self._lost = lost
        self._lifeline: Optional[Lifeline] = None

    def __enter__(self) -> Workers:
        if self.count > 1:
            self._lifeline = Lifeline(self.rank, self.count, self._engine.address(), self.sum, self._lost)
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
            self._engine.barrier()  # each is watched until all are done
            self._engine.wait_at_exit(True)
        elif isinstance(error, mx.MXNetError):
            self._lifeline.wait()  # Horovod fails where another worker is gone, and may be the first to see it
        self._lifeline.close(failed=error is not None)
        if error is not None:
            # Before MXNet's own, which waits for the others' part of what is queued.
            atexit.register(_end, exit_status(error))

    def sum(self, values: Sequence[int]) -> list[int]:
        """Each of up to 8 `values`, from 0 to 2^48 - 1, added up over the workers."""
        if self.count == 1:
            return list(values)
        with doing("waiting for the other workers to reach the same point", self._who):
            return self._engine.sum(values)

    def total(self, sums: Sums) -> Sums:
        """`sums` with those of all workers added; the loss to a millionth, and below 2.6e8 for each of them.

        Gradient norms, which are those of all workers, stay as they are.
        """
        if self.count == 1:
            return sums
        loss = min(round(max(sums.loss, 0.0) / _LOSS_UNIT), 2**48 - 1)
        loss, top1_right, topk_right, images = self.sum((loss, sums.top1_right, sums.topk_right, sums.images))
        return replace(
            sums, loss=loss * _LOSS_UNIT, top1_right=top1_right, topk_right=topk_right, images=images
        )

    def any(self, flag: bool) -> bool:
        """Whether `flag` is true for one of them."""
        return self.sum([flag])[0] > 0

    def agree(self, value: int) -> bool:
        """Whether `value`, below 2^32, is the same for all of them."""
        return not self.any(self.sum([value]) != [value * self.count])  # one differs from the mean, if any do

    def require_same(self, values: Mapping[str, Any]) -> None:
        """UsageError unless `values`, which JSON can hold, are the same for all: what differs, and where."""
        texts = {name: json.dumps(value, sort_keys=True) for name, value in values.items()}
        if self.agree(zlib.crc32(json.dumps(texts, sort_keys=True).encode())):
            return
        first = json.loads(self._text_of(0, json.dumps(texts)))
        other = [name for name in sorted({*first, *texts}) if first.get(name) != texts.get(name)]
        differing = next(rank for rank in range(self.count) if self.any(bool(other) and rank == self.rank))
        told = [
            f"{name}: {_shown(texts.get(name))} there, {_shown(first.get(name))} with worker 0"
            for name in other
        ]
        if len(told) > _TOLD:
            told[_TOLD:] = [f"and {len(told) - _TOLD} more"]
        differences = self._text_of(differing, "; ".join(told))
        raise UsageError(
            f"worker {differing} does not train as worker 0 does ({differences}): "
            "start all workers with the same options, on the same records"
        )

    def _text_of(self, rank: int, text: str) -> str:
        """The `text` of worker `rank`, for all."""
        data = text.encode() if rank == self.rank else b""
        (size,) = self.sum([len(data)])
        parts = []
        for begin in range(0, size, 8 * _BYTES):
            part = data[begin : begin + 8 * _BYTES].ljust(8 * _BYTES, b"\0")
            numbers = [int.from_bytes(part[i : i + _BYTES], "big") for i in range(0, len(part), _BYTES)]
            parts += [number.to_bytes(_BYTES, "big") for number in self.sum(numbers)]
        return b"".join(parts)[:size].decode()

    def asked_to_stop(self, flag: bool) -> bool:
        """At each step: whether `flag` is true for one of them. With dist_async nobody waits to learn it."""
        if self._engine.in_step:
            return self.any(flag)
        if self._lifeline is None:
            return flag
        if flag:
            self._lifeline.ask_stop()
        return self._lifeline.stop_asked

    def own_or_total(self, sums: Sums) -> Sums:
        """At each step: the `total`; with dist_async, whose workers do not wait, `sums`."""
        return self.total(sums) if self._engine.in_step else sums

    def _who(self) -> str:
        return (
            f"this is worker {self.rank} of {self.count}: one of the others is late, whose own messages say why; "
            "a parameter server does not tell which"
        )


def _shown(text: Optional[str]) -> str:
    """A value in JSON, which has no control characters, cut."""
    if text is None:
        return "nothing"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _end(status: int) -> None:
    """End this process without the clean-up of native code."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # closed, or its reader is gone
            stream.flush()
    os._exit(status)
