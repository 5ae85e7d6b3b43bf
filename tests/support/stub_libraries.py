"""Shared libraries of a few lines, for tests that need NVIDIA's by name on machines that have none."""

from __future__ import annotations

import pathlib
import shutil
import subprocess

import pytest

# A driver with these GPUs: an H200, which MXNet has no kernels for, and an A10, which it runs on.
TWO_GPUS = """
#include <string.h>
int cuInit(unsigned flags) { return 0; }
int cuDriverGetVersion(int *version) { *version = 12040; return 0; }
int cuDeviceGetCount(int *count) { *count = 2; return 0; }
int cuDeviceGet(int *device, int index) { *device = index; return 0; }
int cuDeviceGetName(char *name, int size, int device) {
    strncpy(name, device ? "NVIDIA A10" : "NVIDIA H200", size);
    return 0;
}
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    *value = attribute == 75 ? (device ? 8 : 9) : (device ? 6 : 0);
    return 0;
}
"""


def build_library(path: pathlib.Path, code: str = "", needs: pathlib.Path | None = None) -> pathlib.Path:
    """Compile C into the shared library `path`, linked with the one at `needs`; skips where no compiler is."""
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("there is no gcc")
    path.parent.mkdir(parents=True, exist_ok=True)
    command = [compiler, "-shared", "-fPIC", f"-Wl,-soname,{path.name}", "-o", str(path), "-x", "c", "-"]
    if needs:
        command += ["-x", "none", "-Wl,--no-as-needed", str(needs)]
    subprocess.run(command, input=code, text=True, check=True)
    return path
