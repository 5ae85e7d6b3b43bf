"""The loops over pixels in plain C++ and in SIMD: the same bytes."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import pytest

DIGEST = """
import hashlib, sys
from gluon_resnet.data import EvalTransform, Loader, TrainTransform

digest = hashlib.sha256()
for size in (1, 3, 15, 16, 17, 40, 65):
    normal = {"mean": (123.68, 116.779, 103.939), "std": (58.393, 57.12, 57.375)}
    for transform in (
        TrainTransform(size=size, area=(0.01, 1.0), **normal),
        EvalTransform(size=size, resize=size, **normal),
        EvalTransform(size=size, resize=size + 60, **normal),
        EvalTransform(size=size, resize=None, **normal),
        TrainTransform(size=size, crop="pad", padding=9, **normal),
    ):
        for layout in ("NCHW", "NHWC"):
            for batch in Loader(sys.argv[1], 8, transform, seed=size, threads=2, layout=layout):
                digest.update(batch.data.tobytes())
print(digest.hexdigest())
"""


def digest(path: str, simd: str) -> str:
    environment = {**os.environ, "GLUON_RESNET_SIMD": simd}
    command = [sys.executable, "-c", DIGEST, path]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()


def test_plain_and_simd_loops_give_the_same_bytes(record_path: str) -> None:
    with open("/proc/cpuinfo", encoding="ascii") as file:
        if "avx2" not in file.read():
            pytest.skip("this processor has no AVX2")
    plain = digest(record_path, "none")
    assert plain == digest(record_path, "")
    assert len(plain) == len(hashlib.sha256().hexdigest())
