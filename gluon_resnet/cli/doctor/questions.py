"""Questions that doctor asks of the native core and of MXNet, each in a separate process (environment/apart.py)."""

from __future__ import annotations

import os
from typing import Any

# The runtime features of MXNet that make training possible or faster.
FEATURES = ("CUDA", "CUDNN", "NCCL", "MKLDNN", "OPENMP", "BLAS_OPEN", "DIST_KVSTORE", "SIGNAL_HANDLER")


def describe_core() -> dict[str, Any]:
    """The files of the image libraries that it is linked with, and the memory left, in bytes."""
    import gluon_resnet.data  # noqa: F401
    from gluon_resnet.data.memory import available_memory

    with open("/proc/self/maps", encoding="utf-8", errors="replace") as stream:
        mapped = {line.split()[-1] for line in stream if ".so" in line}
    names = {os.path.basename(path) for path in mapped if "/cv2/" not in path and "opencv_python" not in path}
    libraries = sorted(name for name in names if name.startswith(("libjpeg", "libpng", "libopencv_core")))
    return {"libraries": libraries, "available_memory": available_memory()}


def describe_mxnet() -> dict[str, Any]:
    """MXNet's version, file and features, and the variables that it was given; it must be able to compute."""
    before = dict(os.environ)
    from gluon_resnet._mxnet import mx

    given = {
        name: value
        for name, value in os.environ.items()
        if before.get(name) != value and name.startswith(("OMP_", "GOMP_", "MXNET_", "DNNL_"))
    }
    compute("cpu", 0)
    return {
        "version": mx.__version__,
        "library": mx.libinfo.find_lib_path()[0],
        "features": {name: mx.runtime.Features().is_enabled(name) for name in FEATURES},
        "set_by_gluon_resnet": given,
        "threads": int(os.environ["OMP_NUM_THREADS"]),
    }


def compute(device: str, index: int) -> None:
    """Compute a convolution and its gradient, with oneDNN on the device ``cpu`` and cuDNN on ``gpu``."""
    from gluon_resnet._mxnet import mx

    context = mx.Context(device, index)
    image, weight = mx.nd.ones((1, 1, 4, 4), ctx=context), mx.nd.ones((1, 1, 3, 3), ctx=context)
    weight.attach_grad()
    with mx.autograd.record():
        output = mx.nd.Convolution(image, weight, kernel=(3, 3), num_filter=1, no_bias=True)
    output.backward()
    found = {*output.asnumpy().ravel().tolist(), *weight.grad.asnumpy().ravel().tolist()}
    if found != {9.0, 4.0}:
        raise ArithmeticError(f"a convolution of ones gave {sorted(found)}, not 9 and its gradient 4")


def import_training() -> None:
    """Import everything that train.py imports."""
    import gluon_resnet.cli.train  # noqa: F401
