"""The contexts of a run and its engine, checked before any work starts."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from typing import Any

from gluon_resnet._mxnet import mx
from gluon_resnet.environment.driver import list_gpus
from gluon_resnet.errors import EnvironmentProblem, UsageError
from gluon_resnet.training.distributed.dist_engine import AsyncParameterServer, ParameterServer
from gluon_resnet.training.distributed.engine import Engine
from gluon_resnet.training.distributed.horovod_engine import Horovod

KVSTORES = ("local", "device", "nccl", "dist_sync", "dist_device_sync", "dist_async", "horovod")


def has_cuda() -> bool:
    """Whether the installed MXNet was built with CUDA."""
    return bool(mx.runtime.Features().is_enabled("CUDA"))


def gpu_contexts(ids: Sequence[int]) -> list[Any]:
    """The contexts of the GPUs `ids`; EnvironmentProblem, in one sentence, for a GPU that cannot be used."""
    if not has_cuda():
        raise EnvironmentProblem(
            "this MXNet was built without CUDA: pip install 'gluon-resnet[cu112]', "
            "or omit --gpus to train on the CPU"
        )
    gpus = list_gpus()
    if not gpus:
        raise EnvironmentProblem("this machine has no GPU: omit --gpus to train on the CPU")
    for index in ids:
        if index >= len(gpus):
            raise EnvironmentProblem(f"there is no GPU {index}: this machine has {len(gpus)}, counted from 0")
        name, (major, minor) = gpus[index]
        if not gpus[index].runs_mxnet:
            raise EnvironmentProblem(
                f"GPU {index} ({name}) has compute capability {major}.{minor}, but MXNet 1.9.1 only has kernels "
                "for 5.0 to 8.x: choose another GPU, or omit --gpus to train on the CPU"
            )
    return [mx.gpu(index) for index in ids]


def cpu_contexts(count: int) -> list[Any]:
    """`count` data-parallel CPU contexts, cpu(0), cpu(1), ..., that share OpenMP's threads, with at least 1 each.

    Otherwise each of them would use all threads, and they would wait for each other's processors.
    """
    contexts = [mx.cpu(index) for index in range(count)]
    if count > 1:
        # The number of scratch buffers, which all contexts share; MXNet reads it at the first operator. With the
        # default of 4, operators wait for other contexts: a ResNet-20 step (batch 128, 2 contexts, 2 cores) took
        # 366 ms, and now takes 192 ms.
        os.environ.setdefault("MXNET_CPU_TEMP_COPY", "1000")
    threads = int(os.environ["OMP_NUM_THREADS"])  # _mxnet sets it
    for index, context in enumerate(contexts):
        _limit_threads(context, max(1, threads // count + (index < threads % count)))
    return contexts


def _limit_threads(context: Any, threads: int) -> None:
    """Make operators on a CPU context use `threads` threads, which is a setting of the engine's thread for it."""
    openmp = ctypes.CDLL("libgomp.so.1")  # MXNet's
    device = (ctypes.c_int * 2)(context.device_typeid, context.device_id)

    @ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)
    def limit(run_context: Any, nothing: Any) -> None:
        openmp.omp_set_num_threads(threads)

    push = mx.base._LIB.MXEnginePushSync
    mx.base.check_call(push(limit, None, None, device, None, 0, None, 0, None, 0, None))
    mx.nd.waitall()  # the engine needs `limit` until then


def open_engine(name: str, contexts: Sequence[Any]) -> Engine:
    """The engine that combines gradients and numbers with the KVStore `name`; waits for the other workers, if any.

    MXNet accepts any name and then silently trains alone, so names are checked here: UsageError.
    """
    if name not in KVSTORES:
        raise UsageError(f"there is no KVStore {name!r}: choose one of {', '.join(KVSTORES)}")
    if name == "nccl" and contexts[0].device_type != "gpu":
        raise UsageError("the KVStore nccl combines GPUs: give --gpus, or choose local or device")
    if name == "horovod":
        return Horovod()
    if not name.startswith("dist_"):
        return Engine(name)
    if "DMLC_ROLE" not in os.environ:
        raise UsageError(
            f"the KVStore {name} needs a cluster, but DMLC_ROLE is not set: start the run with tools/launch.py"
        )
    return AsyncParameterServer() if name == "dist_async" else ParameterServer(name)
