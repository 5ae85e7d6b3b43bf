"""The GPUs of this machine, as NVIDIA's driver describes them."""

from __future__ import annotations

import ctypes
import glob
import os
from typing import Any, NamedTuple

from gluon_resnet.errors import EnvironmentProblem

# mxnet-cu112 1.9.1 has machine code for sm_50 to sm_86, and no PTX for a driver to compile for others.
# Code for 8.6 and below also runs on later devices of major version 8.
_OLDEST = (5, 0)
_NEWEST_MAJOR = 8

_CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 75
_CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 76


class Gpu(NamedTuple):
    """A device as the driver describes it."""

    name: str
    capability: tuple[int, int]

    @property
    def runs_mxnet(self) -> bool:
        """Whether MXNet 1.9.1 has kernels for the device."""
        return tuple(self.capability) >= _OLDEST and self.capability[0] <= _NEWEST_MAJOR


def list_gpus() -> list[Gpu]:
    """The GPUs that the driver shows this process (CUDA_VISIBLE_DEVICES applies), in order of their ids.

    This asks the driver itself: MXNet cannot report a compute capability until its first kernel fails.
    """
    cuda = _driver()

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


def driver_cuda() -> tuple[int, int]:
    """The newest CUDA version that the driver supports, such as (11, 4)."""
    version = ctypes.c_int()
    status = _driver().cuDriverGetVersion(ctypes.byref(version))
    if status:
        raise EnvironmentProblem(
            f"the NVIDIA driver does not work: cuDriverGetVersion failed with error {status}"
        )
    return version.value // 1000, version.value % 1000 // 10


def count_cards(root: str = "/sys/bus/pci/devices") -> int:
    """The number of NVIDIA GPUs on the PCI bus, with or without a driver; virtual machines hide some."""
    return sum(
        _line(os.path.join(device, "vendor")) == "0x10de"
        and _line(os.path.join(device, "class")).startswith("0x03")  # the class of display controllers
        for device in glob.glob(os.path.join(root, "*"))
    )


def _driver() -> Any:
    try:
        return ctypes.CDLL("libcuda.so.1")
    except OSError:
        raise EnvironmentProblem(
            "no NVIDIA driver was found (libcuda.so.1): install it, or omit --gpus to train on the CPU"
        ) from None


def _line(path: str) -> str:
    try:
        with open(path, encoding="ascii") as stream:
            return stream.readline().strip()
    except OSError:
        return ""
