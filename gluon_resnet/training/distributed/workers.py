"""The workers of a run: processes that train one network together, perhaps on several machines."""

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
_BYTES = 6  # of text in one integer
_TOLD, _LONGEST = 5, 80  # differences between workers that are reported, and characters of a value


class Workers:
    """Adds up numbers over the workers of an engine; a single worker has nothing to add.

    Every method, except `asked_to_stop` and `own_or_total` with dist_async, is called by all workers at the same point
    of the run, and waits for the last of them.

    A context manager: within it, `lost` is called in a thread when another worker is gone, for which MXNet would wait
    for ever. Leaving it through an exception makes this process end at once, with the exit status of a command that
    fails with that exception, and informs the others.

    Args:
        engine: the engine from devices.open_engine; None if this is the only worker.
        lost: a function that takes the rank of the worker that is gone. The main thread may be waiting inside MXNet and
            never return.
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
            self._engine.barrier()  # so that each is watched until all are done
            self._engine.wait_at_exit(True)
        elif isinstance(error, mx.MXNetError):
            self._lifeline.wait()  # Horovod fails if another worker is gone, and may be the first to notice
        self._lifeline.close(failed=error is not None)
        if error is not None:
            # Runs before MXNet's own handler, which waits for the others' part of the queued work.
            atexit.register(_end, exit_status(error))

    def sum(self, values: Sequence[int]) -> list[int]:
        """The sums over the workers of each of up to 8 `values` from 0 to 2^48 - 1."""
        if self.count == 1:
            return list(values)
        with doing("waiting for the other workers to reach the same point", self._who):
            return self._engine.sum(values)

    def total(self, sums: Sums) -> Sums:
        """The `sums` of all workers added up; each loss is rounded to a millionth, and must be below 2.6e8.

        Gradient norms, which already are those of all workers, stay as they are.
        """
        if self.count == 1:
            return sums
        loss = min(round(max(sums.loss, 0.0) / _LOSS_UNIT), 2**48 - 1)
        loss, top1_right, topk_right, images = self.sum((loss, sums.top1_right, sums.topk_right, sums.images))
        return replace(
            sums, loss=loss * _LOSS_UNIT, top1_right=top1_right, topk_right=topk_right, images=images
        )

    def any(self, flag: bool) -> bool:
        """Whether `flag` is true for at least one worker."""
        return self.sum([flag])[0] > 0

    def agree(self, value: int) -> bool:
        """Whether `value`, below 2^32, is the same for all workers."""
        return not self.any(
            self.sum([value]) != [value * self.count]
        )  # if not all equal, one is not the mean

    def require_same(self, values: Mapping[str, Any]) -> None:
        """Raise UsageError, saying what differs and where, unless all workers have the same JSON `values`."""
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
            f"worker {differing} does not train like worker 0 ({differences}): "
            "start all workers with the same options, on the same records"
        )

    def _text_of(self, rank: int, text: str) -> str:
        """The `text` of worker `rank`, distributed to all."""
        data = text.encode() if rank == self.rank else b""
        (size,) = self.sum([len(data)])
        parts = []
        for begin in range(0, size, 8 * _BYTES):
            part = data[begin : begin + 8 * _BYTES].ljust(8 * _BYTES, b"\0")
            numbers = [int.from_bytes(part[i : i + _BYTES], "big") for i in range(0, len(part), _BYTES)]
            parts += [number.to_bytes(_BYTES, "big") for number in self.sum(numbers)]
        return b"".join(parts)[:size].decode()

    def asked_to_stop(self, flag: bool) -> bool:
        """For each step: whether `flag` is true for any worker. With dist_async nobody waits for the answer."""
        if self._engine.in_step:
            return self.any(flag)
        if self._lifeline is None:
            return flag
        if flag:
            self._lifeline.ask_stop()
        return self._lifeline.stop_asked

    def own_or_total(self, sums: Sums) -> Sums:
        """For each step: the `total` or, with dist_async, whose workers do not wait, just `sums`."""
        return self.total(sums) if self._engine.in_step else sums

    def _who(self) -> str:
        return (
            f"this is worker {self.rank} of {self.count}: another worker is late, and its own messages say why; "
            "a parameter server does not tell which"
        )


def _shown(text: Optional[str]) -> str:
    """A shortened value in JSON, which has no control characters."""
    if text is None:
        return "nothing"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _end(status: int) -> None:
    """End this process without cleaning up native code."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # closed, or the reader is gone
            stream.flush()
    os._exit(status)
