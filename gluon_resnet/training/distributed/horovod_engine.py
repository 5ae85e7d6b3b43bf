"""Horovod as an engine: the workers add up gradients among themselves, without servers."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from gluon_resnet._mxnet import mx
from gluon_resnet.errors import EnvironmentProblem, UsageError
from gluon_resnet.training.distributed.engine import Engine, address_towards


class Horovod(Engine):
    """`horovod`: the processes started by horovodrun, communicating through Gloo.

    Gradients are summed in one group and in place: the order of the additions does not depend on timing, and the sum is
    the same to the bit in all workers. UsageError if horovodrun did not start this process, EnvironmentProblem if
    Horovod is not installed.
    """

    def __init__(self) -> None:
        if "HOROVOD_RANK" not in os.environ:
            raise UsageError(
                "the KVStore horovod needs several processes: start them with horovodrun -np N --gloo python ..."
            )
        # Its Gloo would become visible to all libraries, and PyTorch, which tensorboardX imports, would crash on it.
        mode, ctypes.RTLD_GLOBAL = ctypes.RTLD_GLOBAL, ctypes.RTLD_LOCAL  # type: ignore[misc]
        try:
            import horovod.mxnet as hvd
        except ImportError as error:
            raise EnvironmentProblem(
                f"Horovod for MXNet is not installed ({str(error).splitlines()[0]}): "
                "type scripts/install_horovod.sh PYTHON, with the path of this Python"
            ) from None
        finally:
            ctypes.RTLD_GLOBAL = mode  # type: ignore[misc]
        self._hvd = hvd
        hvd.init()
        super().__init__("device", hvd.rank(), hvd.size())

    def begin(self, copies: Sequence[Sequence[Any]]) -> None:
        for index, (first, *others) in enumerate(copies):
            self._hvd.broadcast_(first, root_rank=0, name=f"parameter{index}")
            for other in others:
                first.copyto(other)
        mx.nd.waitall()

    def combine(self, copies: Sequence[Sequence[Any]]) -> None:
        firsts = [first for first, *_ in copies]
        self._hvd.grouped_allreduce_(firsts, op=self._hvd.Sum, name="gradients")
        for first, *others in copies:
            for other in others:
                first.copyto(other)

    def sum(self, values: Sequence[int]) -> list[int]:
        return [int(value) for value in self._sum(np.array(values, "int64"))]

    def sum_array(self, array: np.ndarray) -> np.ndarray:
        return self._sum(array)

    def _sum(self, array: np.ndarray) -> np.ndarray:
        tensor = mx.nd.array(array, dtype=array.dtype)
        name = f"sum of {array.dtype} {array.shape}"
        return np.asarray(self._hvd.allreduce_(tensor, op=self._hvd.Sum, name=name).asnumpy())

    def barrier(self) -> None:
        self.sum([0])

    def address(self) -> str:
        rendezvous, port = (os.environ[f"HOROVOD_GLOO_RENDEZVOUS_{part}"] for part in ("ADDR", "PORT"))
        return address_towards(rendezvous, int(port))


def own_share(gpus: Sequence[int]) -> list[int]:
    """This process's share of a machine's `gpus` among all processes that horovodrun has started on it.

    UsageError if they cannot be divided evenly.
    """
    rank, size = (
        int(os.environ.get(f"HOROVOD_LOCAL_{name}", default)) for name, default in (("RANK", 0), ("SIZE", 1))
    )
    if len(gpus) % size:
        raise UsageError(
            f"{len(gpus)} GPUs cannot be divided among {size} processes on a machine: give --gpus another number"
        )
    share = len(gpus) // size
    return list(gpus[rank * share : (rank + 1) * share])
