"""A checkout whose C++ extension is not built, or cannot be loaded, says what to type."""

from __future__ import annotations

import pathlib
import shutil
import subprocess
import sys

import pytest

from tests.support.paths import ROOT


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """What a clone has of the package, before anything is built."""
    root = tmp_path_factory.mktemp("clone")
    shutil.copytree(
        ROOT / "gluon_resnet", root / "gluon_resnet", ignore=shutil.ignore_patterns("*.so", "__pycache__")
    )
    shutil.copytree(ROOT / "tools", root / "tools")
    (root / "setup.py").touch()
    return root


def run(root: pathlib.Path, *arguments: str) -> tuple[int, str]:
    done = subprocess.run([sys.executable, *arguments], cwd=root, capture_output=True, text=True, timeout=600)
    return done.returncode, done.stderr


PYTHON = f"Python {sys.version_info.major}.{sys.version_info.minor}"


@pytest.mark.parametrize("tool", ["im2rec.py", "train.py"])
def test_a_tool_says_in_one_sentence_what_to_type(checkout: pathlib.Path, tool: str) -> None:
    status, said = run(checkout, f"tools/{tool}", "--help")
    assert (status, said) == (
        1,
        f"{tool}: error: the C++ extension of gluon-resnet is not built for this {PYTHON}: "
        f"type 'make setup' in {checkout}\n",
    )


def test_a_program_gets_an_import_error_that_says_it(checkout: pathlib.Path) -> None:
    program = (
        "try:\n    import gluon_resnet.data\nexcept ImportError as error:\n    raise SystemExit(str(error))"
    )
    status, said = run(checkout, "-c", program)
    assert (status, said.strip().split(": type ")[1]) == (1, f"'make setup' in {checkout}")
    (checkout / "setup.py").rename(checkout / "setup")  # as among an environment's packages
    try:
        assert "type 'pip install .' again" in run(checkout, "-c", program)[1]
    finally:
        (checkout / "setup").rename(checkout / "setup.py")


def test_an_extension_that_cannot_be_loaded_says_why(checkout: pathlib.Path) -> None:
    broken = checkout / "gluon_resnet" / "data" / "_native.abi3.so"
    broken.write_bytes(b"no library")
    try:
        status, said = run(checkout, "tools/im2rec.py", "--help")
    finally:
        broken.unlink()
    assert status == 1
    assert said.startswith("im2rec.py: error: the C++ extension of gluon-resnet cannot be loaded (")
    assert said.endswith(f"): to rebuild it, type 'make setup' in {checkout}\n")
