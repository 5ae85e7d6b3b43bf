"""The CUDA 11 libraries that mxnet-cu112 is linked with, loaded from their wheels before MXNet is.

MXNet's own wheel finds no library outside its folder, and the system's loader finds none inside an environment. But
a library that is already loaded satisfies every later one that needs it by name.
"""

from __future__ import annotations

import ctypes
import glob
import os
import sys
from typing import NamedTuple, Optional

from gluon_resnet.errors import EnvironmentProblem


class CudaLibrary(NamedTuple):
    """`name` is the name by which others need it; the wheel `package` has it in nvidia/FOLDER/lib."""

    name: str
    folder: str
    package: str


# Each one after those that it needs. These two find cuDNN's other parts and NVRTC's built-ins beside themselves.
CUDA_LIBRARIES = (
    CudaLibrary("libcudart.so.11.0", "cuda_runtime", "nvidia-cuda-runtime-cu11"),
    CudaLibrary("libnvToolsExt.so.1", "nvtx", "nvidia-nvtx-cu11"),
    CudaLibrary("libnvrtc.so.11.2", "cuda_nvrtc", "nvidia-cuda-nvrtc-cu11"),
    CudaLibrary("libcublasLt.so.11", "cublas", "nvidia-cublas-cu11"),
    CudaLibrary("libcublas.so.11", "cublas", "nvidia-cublas-cu11"),
    CudaLibrary("libcufft.so.10", "cufft", "nvidia-cufft-cu11"),
    CudaLibrary("libcurand.so.10", "curand", "nvidia-curand-cu11"),
    CudaLibrary("libcusolver.so.11", "cusolver", "nvidia-cusolver-cu11"),
    CudaLibrary("libcudnn.so.8", "cudnn", "nvidia-cudnn-cu11"),
    CudaLibrary("libnccl.so.2", "nccl", "nvidia-nccl-cu11"),
)


def is_cuda_build(mxnet: str) -> bool:
    """Whether the package in the folder `mxnet` came with the wheel mxnet-cu112; takes one look at a folder."""
    return bool(glob.glob(os.path.join(glob.escape(os.path.dirname(mxnet)), "mxnet_cu112-*.dist-info")))


def load_cuda_libraries() -> None:
    """Load them all, for every library that follows; EnvironmentProblem, in one sentence, for a missing one.

    A wheel in this environment takes precedence over the system's library, because the wheels' versions were tested
    together. Without the wheel the system's loader is asked, including LD_LIBRARY_PATH.
    """
    if not _loads("libcuda.so.1"):
        raise EnvironmentProblem(
            "mxnet-cu112 cannot be imported without NVIDIA's driver (libcuda.so.1): install the driver, "
            "or pip uninstall -y mxnet-cu112 && pip install 'gluon-resnet[cpu]'"
        )
    for library in CUDA_LIBRARIES:
        path = _in_wheel(library)
        if not _loads(path or library.name):
            if path:
                message = f"{path} cannot be loaded: pip install --force-reinstall {library.package}"
            else:
                message = (
                    f"mxnet-cu112 needs {library.name}, but neither this environment nor the system has it: "
                    f"pip install 'gluon-resnet[cu112]' brings it with {library.package}"
                )
            raise EnvironmentProblem(message)


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library, ctypes.RTLD_GLOBAL)
    except OSError:
        return False
    return True


def _in_wheel(library: CudaLibrary) -> Optional[str]:
    """Its path, found without importing nvidia, which other wheels share, with or without an __init__.py."""
    for folder in sys.path:
        path = os.path.join(folder, "nvidia", library.folder, "lib", library.name)
        if os.path.exists(path):
            return path
    return None
