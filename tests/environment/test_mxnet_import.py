"""What stands between this package and MXNet 1.9.1, each time in a process of its own."""

from __future__ import annotations

import ast
import os
import subprocess
import sys

import pytest

from tests.support.paths import ROOT

# Stands in for MXNet where the real one would take a second to load, and tells what it saw.
FAKE_MXNET = """
import os, warnings
import numpy
from distutils.version import LooseVersion, StrictVersion
assert LooseVersion("1.26.4") >= LooseVersion("1.17") and not StrictVersion("1.9") >= StrictVersion("1.17")
warnings.warn("old", DeprecationWarning)
seen = {name: os.environ.get(name) for name in os.environ if name.startswith(("OMP_", "GOMP_", "MXNET_"))}
gluon = nd = None
"""
NO_DISTUTILS = "import sys; sys.modules['distutils'] = None; "  # as Python 3.12 without setuptools
IMPORT = "from gluon_resnet._mxnet import mx; "


@pytest.fixture
def run(tmp_path):
    """Run code with a fake MXNet in front; environment variables by keyword, None: unset."""

    def run(code, mxnet=FAKE_MXNET, **environment):
        if mxnet is not None:
            (tmp_path / "mxnet.py").write_text(mxnet)
        ours = ("OMP_", "GOMP_", "MXNET_", "GLUON_RESNET_")
        variables = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
        variables.update({k: v for k, v in environment.items() if v is not None})
        variables["PYTHONPATH"] = os.pathsep.join([str(tmp_path), str(ROOT)])
        command = [sys.executable, "-W", "error", "-c", code]
        return subprocess.run(
            command, env=variables, capture_output=True, text=True, timeout=600, check=False
        )

    return run


def output(result):
    assert result.stderr == ""
    assert result.returncode == 0
    return result.stdout.strip()


def test_the_real_one_without_a_warning(run):
    code = "x = mx.np.array([1, 2, 3]); print(mx.__version__, x[x > 1].sum())"
    assert output(run(NO_DISTUTILS + IMPORT + code, mxnet=None)) == "1.9.1 5.0"


@pytest.mark.parametrize(
    ("environment", "threads"),
    [
        ({}, str(len(os.sched_getaffinity(0)))),
        ({"OMP_NUM_THREADS": "3"}, "3"),
        ({"GLUON_RESNET_OMP_THREADS": "5"}, "5"),
        ({"GLUON_RESNET_OMP_THREADS": "5", "OMP_NUM_THREADS": "3"}, "5"),
    ],
)
def test_the_number_of_threads_is_set_before_the_import(run, environment, threads):
    assert output(run(IMPORT + "print(mx.seen['OMP_NUM_THREADS'])", **environment)) == threads


@pytest.mark.parametrize(("quota", "threads"), [(0.5, 1), (1.0, 1), (1e6, len(os.sched_getaffinity(0)))])
def test_a_container_has_as_many_threads_as_it_may_use(run, quota, threads):
    limited = f"import gluon_resnet.environment.processor as p; p.processor_quota = lambda: {quota}\n"
    assert output(run(limited + IMPORT + "print(mx.seen['OMP_NUM_THREADS'])")) == str(threads)


@pytest.mark.parametrize(
    ("variable", "value"),
    [("OMP_NUM_THREADS", "0"), ("OMP_NUM_THREADS", "4,2"), ("GLUON_RESNET_OMP_THREADS", "four")],
)
def test_a_number_of_threads_that_would_end_the_process(run, variable, value):
    result = run(IMPORT, **{variable: value})
    assert f"UsageError: OMP_NUM_THREADS must be a number of threads, not {value!r}" in result.stderr


@pytest.mark.parametrize(
    ("environment", "count"),
    [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, "None")],
)
def test_threads_do_not_spin_for_long_unless_told_otherwise(run, environment, count):
    assert output(run(IMPORT + "print(mx.seen.get('GOMP_SPINCOUNT'))", **environment)) == count


@pytest.mark.parametrize("given", [None, "0"])
def test_cuda_graphs_are_on_unless_told_otherwise(run, given):
    result = run(IMPORT + "print(mx.seen['MXNET_ENABLE_CUDA_GRAPHS'])", MXNET_ENABLE_CUDA_GRAPHS=given)
    assert output(result) == (given or "1")


def test_no_trace_of_distutils_is_left(run):
    result = run(
        NO_DISTUTILS + IMPORT + "print([name for name in sys.modules if name.split('.')[0] == 'distutils'])"
    )
    assert output(result) == "[]"


@pytest.mark.parametrize(
    ("before", "mxnet", "message"),
    [
        ("import sys; sys.modules['mxnet'] = None; ", None, "pip install 'gluon-resnet[cpu]'"),
        ("import numpy; numpy.__version__ = '2.1.0'; ", FAKE_MXNET, "needs NumPy 1, but 2.1.0 is installed"),
        ("", "raise OSError('libquadmath.so.0: cannot open shared object file')", "libquadmath.so.0: cannot"),
    ],
)
def test_what_is_missing_is_said_in_one_sentence(run, before, mxnet, message):
    code = f"""
{before}
from gluon_resnet.errors import EnvironmentProblem
try:
    {IMPORT}
except ImportError as error:
    print(isinstance(error, EnvironmentProblem), error)
"""
    lines = output(run(code, mxnet=mxnet)).splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("True ")
    assert message in lines[0]


@pytest.mark.parametrize(("allowed", "said"), [(5, "can't start new thread"), (6, "imported")])
def test_where_mxnet_could_not_start_its_threads_it_is_not_imported(run, allowed, said):
    """It would end the process with SIGABRT."""
    code = f"""
import threading
real, left = threading.Thread.start, iter(range({allowed}))
def start(thread):
    if next(left, None) is None:
        raise RuntimeError("can't start new thread")
    real(thread)
threading.Thread.start = start
try:
    {IMPORT}
    print("imported")
except RuntimeError as error:
    print(error)
print(threading.active_count())
"""
    assert output(run(code)) == f"{said}\n1"


def test_a_failure_inside_mxnet_is_not_hidden(run):
    result = run(IMPORT, mxnet="import no_such_module")
    assert "No module named 'no_such_module'" in result.stderr


class Imports(ast.NodeVisitor):
    """Collects the names of what a module imports when it runs."""

    def __init__(self):
        self.names = []

    def visit_If(self, node):
        if ast.unparse(node.test) != "TYPE_CHECKING":
            self.generic_visit(node)

    def visit_Import(self, node):
        self.names += [alias.name for alias in node.names]

    def visit_ImportFrom(self, node):
        self.names.append("." * node.level + (node.module or ""))


def test_nobody_imports_mxnet_before_it_is_prepared():
    for path in (ROOT / "gluon_resnet").rglob("*.py"):
        if path.name == "_mxnet.py":
            continue
        imports = Imports()
        imports.visit(ast.parse(path.read_text(encoding="utf-8")))
        assert "mxnet" not in imports.names, path
        if any(name.startswith("mxnet.") for name in imports.names):  # what MXNet does not load itself
            assert "gluon_resnet._mxnet" in imports.names, path
