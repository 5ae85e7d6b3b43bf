"""A loader as MXNet's DataIter, for users of Module and of old training scripts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Optional

import numpy as np

from gluon_resnet.data.loader import Batch, Loader
from gluon_resnet.errors import UsageError

if TYPE_CHECKING:
    import mxnet


def mxnet_iter(
    loader: Loader, data_name: str = "data", label_name: str = "softmax_label"
) -> mxnet.io.DataIter:
    """Wrap `loader` as an ``mx.io.DataIter``: one pass is one epoch, and `reset` begins the next.

    The arrays share the loader's memory, which is reused only when MXNet's asynchronous engine has no more pending
    reads of them.

    Args:
        loader: a loader with ``last_batch`` ``'pad'`` or ``'discard'``, since a DataIter's batches all have one shape.
        data_name, label_name: the names of the network's inputs, as in ``mx.io.ImageRecordIter``.

    Raises:
        UsageError: the loader has ``last_batch='keep'``.
        EnvironmentProblem: MXNet is not installed.
    """
    from gluon_resnet._mxnet import mx  # only here: the data half works without MXNet

    if loader.last_batch == "keep":
        raise UsageError(
            "last_batch: a DataIter's batches all have one size; expected 'pad' or 'discard', found 'keep'"
        )

    class LoaderIter(mx.io.DataIter):
        def __init__(self) -> None:
            super().__init__(loader.batch_size)
            self._epoch: Optional[Iterator[Batch]] = None
            self._batch: Optional[Batch] = None

        @property
        def provide_data(self) -> list[mx.io.DataDesc]:
            shape = (loader.batch_size, *loader.image_shape)
            return [mx.io.DataDesc(data_name, shape, np.dtype(loader.dtype).type, loader.layout)]

        @property
        def provide_label(self) -> list[mx.io.DataDesc]:
            width = () if loader.label_width == 1 else (loader.label_width,)
            return [mx.io.DataDesc(label_name, (loader.batch_size, *width), np.float32)]

        def reset(self) -> None:
            self._epoch = self._batch = None

        def iter_next(self) -> bool:
            """Advance to the next batch, which the get...() methods return; False at the end of the epoch."""
            if self._epoch is None:
                self._epoch = iter(loader)
            self._batch = None  # so that its memory may serve the next one
            self._batch = next(self._epoch, None)
            return self._batch is not None

        def next(self) -> mx.io.DataBatch:
            if not self.iter_next():
                raise StopIteration
            return mx.io.DataBatch(
                data=self.getdata(),
                label=self.getlabel(),
                pad=self.getpad(),
                index=self.getindex(),
                provide_data=self.provide_data,
                provide_label=self.provide_label,
            )

        def getdata(self) -> list[mx.nd.NDArray]:
            return [mx.nd.from_dlpack(self._current().__dlpack__())]

        def getlabel(self) -> list[mx.nd.NDArray]:
            return [mx.nd.array(self._current().label)]

        def getindex(self) -> np.ndarray:
            return self._current().ids.copy()

        def getpad(self) -> int:
            return self._current().pad

        def _current(self) -> Batch:
            if self._batch is None:
                raise UsageError(
                    "there is no batch: call iter_next() first, and continue only if it returns True"
                )
            return self._batch

    return LoaderIter()
