"""python -m gluon_resnet doctor where something is missing or broken: sentences, never a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy
import pytest

import gluon_resnet
from tests.support.paths import ROOT
from tests.support.stub_libraries import TWO_GPUS, build_library


@pytest.fixture
def run(tmp_path):
    """Run it with the fake modules in tmp_path in front, and the stub of a driver there."""

    def run(*arguments, **environment):
        return subprocess.run(
            [sys.executable, "-m", "gluon_resnet", "doctor", *arguments],
            cwd=ROOT,
            env={
                **os.environ,
                "PYTHONPATH": str(tmp_path),
                "LD_LIBRARY_PATH": str(tmp_path),
                **environment,
            },
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def texts(done):
    """What stands behind ``needed:`` and ``note:`` in a report, which shows no traceback."""
    assert "Traceback" not in done.stdout
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    return [line for line in lines if line.startswith(("needed: ", "note: "))]


def test_this_machine_can_train(run):
    done = run(OMP_NUM_THREADS="1")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"gluon-resnet   {gluon_resnet.__version__} in {ROOT}" in done.stdout
    assert "MXNet          1.9.1 (mxnet" in done.stdout
    assert "  threads      1, set by OMP_NUM_THREADS" in done.stdout
    assert f"numpy {numpy.__version__}" in done.stdout
    assert "libjpeg" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("Training works on this machine")


def test_json_has_the_same(run):
    done = run("--json", OMP_NUM_THREADS="1")
    assert done.returncode == 0
    found = json.loads(done.stdout)
    assert found["training_works"] is True
    assert found["mxnet"]["features"]["MKLDNN"] is True
    assert found["mxnet"]["features"]["SIGNAL_HANDLER"] is True
    assert found["mxnet"]["threads"] == 1
    assert found["processor"]["usable"] == len(os.sched_getaffinity(0))
    assert found["packages"][""]["numpy"] == numpy.__version__


@pytest.mark.parametrize(
    ("mxnet", "expected"),
    [
        (
            "raise OSError('libquadmath.so.0: cannot open shared object file')",
            "MXNet cannot be loaded: libquadmath.so.0: cannot open shared object file "
            "(Debian and Ubuntu: apt-get install libgomp1 libquadmath0)",
        ),
        ("import os; os.abort()", "MXNet does not work (it ended by SIGABRT: without a word): pip install "),
        (
            "import os; os._exit(0)",
            "MXNet does not work (it ended with status 0: without a word): pip install ",
        ),
        (
            "import nothing_like_it",
            "MXNet does not work (ModuleNotFoundError: No module named 'nothing_like_it')",
        ),
        ("raise SystemExit(3)", "MXNet does not work (SystemExit: 3): pip install "),
        (
            "gluon = nd = None",
            "MXNet does not work (AttributeError: module 'mxnet' has no attribute 'Context'): ",
        ),
    ],
)
def test_a_broken_mxnet_is_told_in_one_sentence(run, tmp_path, mxnet, expected):
    (tmp_path / "mxnet.py").write_text(mxnet)
    done = run()
    assert done.returncode == 1
    (text,) = (text for text in texts(done) if "MXNet" in text)
    assert text.startswith(f"needed: {expected}")
    assert done.stdout.splitlines()[-1] == "Training does not work here until everything needed is in place."


def test_a_number_of_threads_that_mxnet_cannot_take_is_told(run):
    done = run(OMP_NUM_THREADS="4,2")
    assert done.returncode == 1
    assert texts(done) == ["needed: OMP_NUM_THREADS must be a number of threads, not '4,2'"]


@pytest.fixture
def no_mxnet(tmp_path):
    """For tests of other things: it starts fast."""
    (tmp_path / "mxnet.py").write_text("raise OSError('not this one')")


@pytest.mark.parametrize("name", ["numpy", "cv2"])
def test_a_broken_package_is_told(run, tmp_path, no_mxnet, name):
    (tmp_path / f"{name}.py").write_text("raise ImportError('it is broken')")
    done = run()
    assert done.returncode == 1
    assert any("it is broken" in text and text.startswith("needed: ") for text in texts(done))


def test_gpus_of_a_real_driver_are_judged(run, tmp_path):
    build_library(tmp_path / "libcuda.so.1", TWO_GPUS)
    done = run()
    assert done.returncode == 0
    assert "NVIDIA driver  for CUDA up to 12.4" in done.stdout
    assert (
        "GPU 0          NVIDIA H200, compute capability 9.0: MXNet cannot run on it\n"
        "GPU 1          NVIDIA A10, compute capability 8.6: MXNet can run on it\n"
    ) in done.stdout
    assert (
        "note: GPU 0 (NVIDIA H200) cannot be used: MXNet 1.9.1 has no kernels for compute capability 9.0, "
        "only for 5.0 to 8.x: omit it from --gpus"
    ) in texts(done)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("int cuDriverGetVersion(int *v) { return 999; }", "cuDriverGetVersion failed with error 999"),
        ("#include <stdlib.h>\nint cuDriverGetVersion(int *v) { abort(); }", "(it ended by SIGABRT: "),
        ("int nothing;", "(AttributeError: "),
    ],
)
def test_a_broken_driver_is_told(run, tmp_path, no_mxnet, code, expected):
    build_library(tmp_path / "libcuda.so.1", code)
    (text,) = (text for text in texts(run()) if "driver" in text)
    assert text.startswith("note: the NVIDIA driver does not work")
    assert expected in text
    assert text.endswith("or start the container with --gpus all")


def test_names_that_the_terminal_has_no_letters_for(run):
    done = run(PYTHONIOENCODING="ascii", CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 0
    assert done.stdout.isascii()
