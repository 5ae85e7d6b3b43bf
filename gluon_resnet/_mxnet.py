"""The only module that imports mxnet: it provides what MXNet 1.9.1 needs today before it is imported.

``from gluon_resnet._mxnet import mx, gluon, nd``; MXNetUnavailable, an ImportError, says what is missing.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import sys
import threading
import types
import warnings
from collections.abc import Iterator

import numpy

from gluon_resnet.environment.cuda_libraries import is_cuda_build, load_cuda_libraries
from gluon_resnet.environment.extras import how_to_get_mxnet
from gluon_resnet.environment.processor import usable_processors
from gluon_resnet.errors import EnvironmentProblem, UsageError

_THREADS = 6  # the number that MXNet starts when it is loaded


class MXNetUnavailable(EnvironmentProblem, ImportError):
    """MXNet is not installed, or cannot be loaded here."""


def _set_environment() -> None:
    """Set variables that MXNet and its OpenMP read when they are loaded, or at the first graph; later is too late."""
    if "GLUON_RESNET_OMP_THREADS" in os.environ:
        os.environ["OMP_NUM_THREADS"] = os.environ["GLUON_RESNET_OMP_THREADS"]
    # If this is unset, MXNet takes half of the processors; if it is not a number, MXNet ends the process.
    # More threads than a container may use at once would wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", str(usable_processors()))
    for name in ("OMP_NUM_THREADS", "MXNET_CPU_WORKER_NTHREADS"):
        threads = os.environ.get(name, "1")
        if not re.fullmatch("[1-9][0-9]{0,3}", threads):
            raise UsageError(f"{name} must be a number of threads, not {threads!r}")
    if "OMP_WAIT_POLICY" not in os.environ:
        # How long a thread spins before it sleeps. A ResNet-20 step (batch 128, 2 cores) takes, in seconds, alone and
        # beside a busy process: default 0.18 and 1 to 9, OMP_WAIT_POLICY=passive 0.9 and 1.4 to 3, this 0.2 and 0.8.
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    # Hybridized networks are static graphs here; a build without CUDA ignores this.
    os.environ.setdefault("MXNET_ENABLE_CUDA_GRAPHS", "1")


def _require_threads() -> None:
    """Raise Python's RuntimeError if MXNet cannot start the threads that it needs, which would end the process."""
    done = threading.Event()
    started: list[threading.Thread] = []
    try:
        for _ in range(_THREADS):
            thread = threading.Thread(target=done.wait)
            thread.start()
            started.append(thread)
    finally:
        done.set()
        for thread in started:
            thread.join()


@contextlib.contextmanager
def _distutils() -> Iterator[None]:
    """Provide `distutils.version`, dropped in Python 3.12, with which MXNet compares versions during its import."""
    if importlib.util.find_spec("distutils"):  # setuptools provides it
        yield
        return
    package, version = types.ModuleType("distutils"), types.ModuleType("distutils.version")
    for name in ("LooseVersion", "StrictVersion"):
        setattr(version, name, lambda text: tuple(map(int, re.findall(r"\d+", text))))
    sys.modules.update({"distutils": package, "distutils.version": version})
    try:
        yield
    finally:
        del sys.modules["distutils"], sys.modules["distutils.version"]


_spec = importlib.util.find_spec("mxnet")
if _spec is None or _spec.origin is None:  # a mere folder of that name
    raise MXNetUnavailable(f"this needs MXNet, which {how_to_get_mxnet()}")
if int(numpy.__version__.split(".")[0]) >= 2:
    raise MXNetUnavailable(
        f"MXNet 1.9.1 needs NumPy 1, but {numpy.__version__} is installed: pip install 'numpy<2'"
    )

_set_environment()
if is_cuda_build(os.path.dirname(_spec.origin)):
    try:
        load_cuda_libraries()
    except EnvironmentProblem as error:
        raise MXNetUnavailable(str(error)) from None
_require_threads()
numpy.bool = bool  # type: ignore[attr-defined]  # as until NumPy 1.24; MXNet also uses it at run time
with _distutils(), warnings.catch_warnings():
    warnings.simplefilter("ignore")  # names that NumPy and Python have deprecated since 2022
    try:
        import mxnet as mx
        from mxnet import gluon, nd
    except OSError as error:  # a shared library that the wheel expects from the system
        found = "cannot open shared object file" not in str(
            error
        )  # it was found, but is not the expected one
        hint = "" if found else " (Debian and Ubuntu: apt-get install libgomp1 libquadmath0)"
        raise MXNetUnavailable(f"MXNet cannot be loaded: {error}{hint}") from error

__all__ = ["MXNetUnavailable", "gluon", "mx", "nd"]
