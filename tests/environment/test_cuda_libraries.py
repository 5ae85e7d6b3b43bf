"""CUDA's libraries are loaded from wheels before MXNet's CUDA build; wheels, MXNet and driver are stubs."""

from __future__ import annotations

import ctypes
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

from gluon_resnet.environment.cuda_libraries import CUDA_LIBRARIES
from tests.support.paths import ROOT
from tests.support.stub_libraries import build_library

# Tells where each library of CUDA came from; a name in RTLD_GLOBAL's scope is found without a handle.
FAKE_MXNET = """
import ctypes
with open("/proc/self/maps") as stream:
    paths = {line.split()[-1] for line in stream if "/lib" in line}
seen = sorted(path for path in paths if path.split("/")[-1].startswith(%r))
everywhere = hasattr(ctypes.CDLL(None), "stub_of_cudart")
gluon = nd = None
"""
NAMES = tuple(library.name for library in CUDA_LIBRARIES)
SAY = """
try:
    from gluon_resnet._mxnet import mx
    print(mx.everywhere, *mx.seen)
except ImportError as error:
    print(type(error).__name__, error)
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder like site-packages with all of the wheels' libraries, and one with a driver."""
    folder = tmp_path_factory.mktemp("wheels")
    paths = {}
    for library in CUDA_LIBRARIES:
        needs = paths.get("libcublasLt.so.11") if library.name == "libcublas.so.11" else None
        path = folder / "site" / "nvidia" / library.folder / "lib" / library.name
        symbol = "cudart" if library.folder == "cuda_runtime" else "another"
        paths[library.name] = build_library(path, f"int stub_of_{symbol};", needs)
    build_library(folder / "driver" / "libcuda.so.1")
    return folder


def skip_where_the_system_has(name):
    """Machines with GPUs have some of these."""
    try:
        ctypes.CDLL(name)
    except OSError:
        return
    pytest.skip(f"this system has {name}")


class Environment:
    """A site-packages of a test's own; `imported` is what comes of importing the fake MXNet there."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.site, self.driver = folder / "site", folder / "driver"
        (self.site / "mxnet").mkdir()
        (self.site / "mxnet" / "__init__.py").write_text(FAKE_MXNET % (NAMES,))
        (self.site / "mxnet_cu112-1.9.1.dist-info").mkdir()

    def path(self, name: str) -> pathlib.Path:
        (library,) = (library for library in CUDA_LIBRARIES if library.name == name)
        return self.site / "nvidia" / library.folder / "lib" / name

    def imported(self) -> list[str]:
        variables = {
            **os.environ,
            "PYTHONPATH": f"{self.site}:{ROOT}",
            "LD_LIBRARY_PATH": str(self.driver),
        }
        done = subprocess.run(
            [sys.executable, "-c", SAY],
            env=variables,
            capture_output=True,
            text=True,
            timeout=600,
            check=True,
        )
        assert done.stderr == ""
        return done.stdout.strip().splitlines()[0].split(" ")


@pytest.fixture
def environment(built, tmp_path):
    shutil.copytree(built, tmp_path, dirs_exist_ok=True)
    return Environment(tmp_path)


def test_the_wheels_libraries_are_loaded_for_all_that_follow(environment):
    assert environment.imported() == ["True", *sorted(str(environment.path(name)) for name in NAMES)]


def test_the_cpu_build_loads_none_of_them_and_needs_no_driver(environment):
    (environment.site / "mxnet_cu112-1.9.1.dist-info").rmdir()
    shutil.rmtree(environment.driver)
    assert environment.imported() == ["False"]


def test_a_library_of_the_system_takes_the_place_of_a_missing_wheel(environment):
    shutil.move(environment.path("libcudnn.so.8"), environment.driver)
    assert str(environment.driver / "libcudnn.so.8") in environment.imported()


def test_a_wheel_goes_before_the_system(environment):
    shutil.copy(environment.path("libcudnn.so.8"), environment.driver)
    assert str(environment.path("libcudnn.so.8")) in environment.imported()
    assert str(environment.driver / "libcudnn.so.8") not in environment.imported()


@pytest.mark.parametrize("library", CUDA_LIBRARIES, ids=lambda library: library.name)
def test_a_library_that_is_nowhere_is_named_with_what_to_install(environment, library):
    skip_where_the_system_has(library.name)
    environment.path(library.name).unlink()
    assert " ".join(environment.imported()) == (
        f"MXNetUnavailable mxnet-cu112 needs {library.name}, but neither this environment nor the system has it: "
        f"pip install 'gluon-resnet[cu112]' brings it with {library.package}"
    )


def test_a_damaged_library_is_named_with_what_to_install(environment):
    path = environment.path("libnccl.so.2")
    path.write_bytes(path.read_bytes()[:100])
    assert " ".join(environment.imported()) == (
        f"MXNetUnavailable {path} cannot be loaded: pip install --force-reinstall nvidia-nccl-cu11"
    )


def test_a_missing_driver_is_told_with_both_ways_out(environment):
    skip_where_the_system_has("libcuda.so.1")
    (environment.driver / "libcuda.so.1").unlink()
    assert " ".join(environment.imported()) == (
        "MXNetUnavailable mxnet-cu112 cannot be imported without NVIDIA's driver (libcuda.so.1): install the "
        "driver, or pip uninstall -y mxnet-cu112 && pip install 'gluon-resnet[cpu]'"
    )


def test_the_extra_names_the_wheels_that_are_loaded_and_no_others():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (extra,) = re.findall(r"^cu112 = \[\n(.*?)^\]", text, re.MULTILINE | re.DOTALL)
    named = set(re.findall(r'"(nvidia-[a-z0-9-]+)>=[0-9.]+,<[0-9]+"', extra))
    assert named == {library.package for library in CUDA_LIBRARIES}
