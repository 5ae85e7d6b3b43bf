"""Commands of a checkout find the environment that `make setup` has made, and leave others alone."""

from __future__ import annotations

import pathlib
import subprocess
import sys
import venv

import pytest

from tests.support.paths import ROOT

STAND_IN = '#!/bin/sh\necho "started $*"\n'


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An interpreter that has nothing but the standard library."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, symlinks=True)
    return str(folder / "bin" / "python")


@pytest.fixture
def checkout(tmp_path: pathlib.Path) -> pathlib.Path:
    """A checkout, whose environment tells how its interpreter is started."""
    (tmp_path / "tools").symlink_to(ROOT / "tools")
    (tmp_path / "gluon_resnet").symlink_to(ROOT / "gluon_resnet")
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(STAND_IN)
    python.chmod(0o755)
    return tmp_path


def run(folder: pathlib.Path, *command: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        command, cwd=folder, env={"PYTHONPATH": str(folder)}, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("start", [["tools/card.py"], ["-m", "gluon_resnet"], ["-m", "gluon_resnet", "card"]])
def test_an_interpreter_that_lacks_the_packages_gives_way(
    checkout: pathlib.Path, bare: str, start: list[str]
) -> None:
    done = run(checkout, bare, *start, "runs/a b", "--help")
    assert (done.returncode, done.stdout, done.stderr) == (
        0,
        f"started {' '.join(start)} runs/a b --help\n",
        "",
    )


def test_an_environment_that_has_them_is_used(checkout: pathlib.Path) -> None:
    done = run(checkout, sys.executable, "tools/card.py", "none")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "card.py: error: none-model.json: No such file or directory\n"


def test_without_an_environment_what_is_missing_is_told(checkout: pathlib.Path, bare: str) -> None:
    (checkout / ".venv" / "bin" / "python").unlink()
    done = run(checkout, bare, "tools/im2rec.py", "a", "b")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "which is not installed: pip install gluon-resnet, or make setup in a checkout" in done.stderr


def test_its_own_interpreter_does_not_start_itself_again(tmp_path: pathlib.Path, bare: str) -> None:
    for name in ("tools", "gluon_resnet"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / ".venv").symlink_to(pathlib.Path(bare).parent.parent)
    done = run(tmp_path, str(tmp_path / ".venv" / "bin" / "python"), "tools/im2rec.py", "a", "b")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
