"""The package's types, as mypy has them for a user's code."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

from tests.support.paths import ROOT

pytest.importorskip("mypy")

PROGRAM = """
from typing import Any

import numpy as np
from typing_extensions import assert_type

from gluon_resnet.data import Batch, EvalTransform, Loader, Record, RecordFile

loader = Loader(["a.rec", RecordFile("b.rec")], 4, EvalTransform(224, 224), rank=1, world_size=2)
for batch in loader:
    assert_type(batch, Batch)
    assert_type(batch.pad, int)
    assert_type(batch.label.dtype.itemsize, int)
    tensor = np.from_dlpack(batch)
    batch.ids + 1
assert_type(loader.state_dict(), dict[str, Any])
assert_type(loader.files[0][0], Record)
Loader("a.rec", "4", EvalTransform())  # type: ignore[arg-type]
Loader("a.rec", 4, EvalTransform(), thread=1)  # type: ignore[call-arg]
batch.rows  # type: ignore[attr-defined]
"""


def test_a_users_program_is_checked_strictly(tmp_path: pathlib.Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "program.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "Success: no issues found in 1 source file\n")
