"""What computes: the contexts of a run and its KVStore, checked before any work starts."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

from gluon_resnet._mxnet import mx
from gluon_resnet.errors import EnvironmentProblem, UsageError

# mxnet-cu112 1.9.1 has machine code for sm_50 to sm_86 and no PTX that a driver could compile for others.
# Code for 8.6 and below runs on later devices of major version 8, too.
_OLDEST = (5, 0)
_NEWEST_MAJOR = 8

_CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 75
_CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 76

KVSTORES = ("local", "device", "nccl", "dist_sync", "dist_device_sync", "dist_async")


class Gpu(NamedTuple):
    """A device as the driver describes it."""

    name: str
    capability: tuple[int, int]


def list_gpus() -> list[Gpu]:
    """The GPUs that the driver shows this process (CUDA_VISIBLE_DEVICES applies), in order of their ids.

    Asks the driver itself: MXNet cannot tell a compute capability before its first kernel fails.
    """
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        raise EnvironmentProblem(
            "no NVIDIA driver was found (libcuda.so.1): install it, or leave --gpus out to train on the CPU"
        ) from None

    def call(function: str, *arguments: Any) -> None:
        status = getattr(cuda, function)(*arguments)
        if status:
            raise EnvironmentProblem(
                f"the NVIDIA driver does not work: {function} failed with error {status}"
            )

    def attribute(number: int, device: ctypes.c_int) -> int:
        value = ctypes.c_int()
        call("cuDeviceGetAttribute", ctypes.byref(value), number, device)
        return value.value

    count = ctypes.c_int()
    status = cuda.cuInit(0)
    if status == 100:  # CUDA_ERROR_NO_DEVICE
        return []
    if status:
        raise EnvironmentProblem(f"the NVIDIA driver does not work: cuInit failed with error {status}")
    call("cuDeviceGetCount", ctypes.byref(count))
    gpus = []
    for index in range(count.value):
        device = ctypes.c_int()
        name = ctypes.create_string_buffer(256)
        call("cuDeviceGet", ctypes.byref(device), index)
        call("cuDeviceGetName", name, len(name), device)
        capability = (
            attribute(_CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device),
            attribute(_CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, device),
        )
        gpus.append(Gpu(name.value.decode(errors="replace"), capability))
    return gpus


def has_cuda() -> bool:
    """Whether the installed MXNet was built with CUDA."""
    return bool(mx.runtime.Features().is_enabled("CUDA"))


def gpu_contexts(ids: Sequence[int]) -> list[Any]:
    """The contexts of the GPUs `ids`; EnvironmentProblem, in one sentence, for one that cannot be used."""
    if not has_cuda():
        raise EnvironmentProblem(
            "this MXNet was built without CUDA: install gluon-resnet[cu112], "
            "or leave --gpus out to train on the CPU"
        )
    gpus = list_gpus()
    if not gpus:
        raise EnvironmentProblem("this machine has no GPU: leave --gpus out to train on the CPU")
    for index in ids:
        if index >= len(gpus):
            raise EnvironmentProblem(f"there is no GPU {index}: this machine has {len(gpus)}, counted from 0")
        name, (major, minor) = gpus[index]
        if (major, minor) < _OLDEST or major > _NEWEST_MAJOR:
            raise EnvironmentProblem(
                f"GPU {index} ({name}) has compute capability {major}.{minor}, and MXNet 1.9.1 has kernels "
                "for 5.0 to 8.x only: choose another GPU, or leave --gpus out to train on the CPU"
            )
    return [mx.gpu(index) for index in ids]


def cpu_contexts(count: int) -> list[Any]:
    """`count` data-parallel CPU contexts: cpu(0), cpu(1), ..."""
    return [mx.cpu(index) for index in range(count)]


def open_kvstore(name: str, contexts: Sequence[Any]) -> Any:
    """What `Trainer` takes as its kvstore: `name` itself on one machine, an open store for ``dist_*``.

    MXNet takes any name and silently trains alone, so names are checked here: UsageError.
    """
    if name not in KVSTORES:
        raise UsageError(f"there is no KVStore {name!r}: choose one of {', '.join(KVSTORES)}")
    if name == "nccl" and contexts[0].device_type != "gpu":
        raise UsageError("the KVStore nccl joins GPUs: give --gpus, or choose local or device")
    if not name.startswith("dist_"):
        return name
    if "DMLC_ROLE" not in os.environ:
        raise UsageError(
            f"the KVStore {name} needs a cluster: DMLC_ROLE is not set, start it with a launcher"
        )
    if name == "dist_async":
        # Its servers apply the updates with the learning rate of the first step, whatever is set later.
        raise UsageError(
            "the KVStore dist_async cannot follow a learning-rate schedule yet: choose dist_sync"
        )
    return mx.kv.create(name)
