"""GPUs are checked before any work; drivers are faked."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest

from gluon_resnet._mxnet import mx
from gluon_resnet.environment.driver import Gpu, list_gpus
from gluon_resnet.errors import EnvironmentProblem
from gluon_resnet.training import devices
from gluon_resnet.training.devices import gpu_contexts


@pytest.fixture
def machine(monkeypatch):
    """Pretend that MXNet has CUDA and that the machine has GPUs of these compute capabilities."""

    def pretend(*capabilities):
        monkeypatch.setattr(devices, "has_cuda", lambda: True)
        monkeypatch.setattr(devices, "list_gpus", lambda: [Gpu("NVIDIA Test", c) for c in capabilities])

    return pretend


def test_a_build_without_cuda_is_told():
    if mx.runtime.Features().is_enabled("CUDA"):
        pytest.skip("this MXNet has CUDA")
    with pytest.raises(EnvironmentProblem, match=r"built without CUDA: pip install 'gluon-resnet\[cu112\]'"):
        gpu_contexts([0])


def test_a_machine_without_driver_or_gpu_is_told(machine, monkeypatch):
    machine()
    with pytest.raises(EnvironmentProblem, match="this machine has no GPU"):
        gpu_contexts([0])

    def no_library(name):
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", no_library)
    with pytest.raises(EnvironmentProblem, match="no NVIDIA driver"):
        list_gpus()


def test_an_id_that_does_not_exist_is_told(machine):
    machine((7, 0), (7, 0))
    with pytest.raises(EnvironmentProblem, match="no GPU 2: this machine has 2"):
        gpu_contexts([0, 2])


@pytest.mark.parametrize("capability", [(9, 0), (10, 0), (12, 0), (3, 7)])
def test_a_gpu_that_mxnet_has_no_kernels_for_is_told(machine, capability):
    machine((8, 0), capability)
    text = rf"GPU 1 \(NVIDIA Test\) has compute capability {capability[0]}\.{capability[1]}"
    with pytest.raises(EnvironmentProblem, match=text):
        gpu_contexts([1])
    assert gpu_contexts([0]) == [mx.gpu(0)]


@pytest.mark.parametrize("capability", [(5, 0), (6, 1), (7, 5), (8, 6), (8, 9)])
def test_a_gpu_that_mxnet_has_kernels_for_is_used(machine, capability):
    machine(capability, capability)
    assert gpu_contexts([1, 0]) == [mx.gpu(1), mx.gpu(0)]


class FakeDriver:
    """libcuda with one GPU, which fails in the function called `failing`."""

    def __init__(self, status: int = 0, failing: str = "") -> None:
        self._status, self._failing = status, failing

    def __getattr__(self, name):
        def function(*arguments):
            if name == "cuDeviceGetCount":
                arguments[0]._obj.value = 1
            elif name == "cuDeviceGetName":
                arguments[0].value = b"NVIDIA H200"
            elif name == "cuDeviceGetAttribute":
                arguments[0]._obj.value = {75: 9, 76: 0}[arguments[1]]
            return self._status if name == self._failing else 0

        return function


@pytest.mark.parametrize(
    ("driver", "expected"),
    [
        (FakeDriver(), [Gpu("NVIDIA H200", (9, 0))]),
        (FakeDriver(100, "cuInit"), []),
        (FakeDriver(999, "cuInit"), "cuInit failed with error 999"),
        (FakeDriver(2, "cuDeviceGetAttribute"), "cuDeviceGetAttribute failed with error 2"),
    ],
)
def test_the_driver_is_asked(monkeypatch, driver, expected):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: driver)
    if isinstance(expected, str):
        with pytest.raises(EnvironmentProblem, match=expected):
            list_gpus()
    else:
        assert list_gpus() == expected


@pytest.mark.parametrize(("count", "expected"), [(1, [5]), (2, [3, 2]), (4, [2, 1, 1, 1]), (6, [1] * 6)])
def test_cpu_contexts_share_the_threads_out(count, expected):
    program = """if True:
        import ctypes, sys
        from gluon_resnet._mxnet import mx
        from gluon_resnet.training.devices import cpu_contexts

        @ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)
        def show(run_context, nothing):
            print(ctypes.CDLL("libgomp.so.1").omp_get_max_threads(), flush=True)

        for context in cpu_contexts(int(sys.argv[1])):
            device = (ctypes.c_int * 2)(1, context.device_id)
            push = mx.base._LIB.MXEnginePushSync
            mx.base.check_call(push(show, None, None, device, None, 0, None, 0, None, 0, None))
            mx.nd.waitall()
    """
    command = [sys.executable, "-c", program, str(count)]
    environment = {**os.environ, "OMP_NUM_THREADS": "5"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert list(map(int, done.stdout.split())) == expected
