"""python -m gluon_resnet: the programs of tools/, by another name."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

import gluon_resnet
from gluon_resnet.__main__ import COMMANDS
from gluon_resnet.cli import command

ROOT = pathlib.Path(__file__).resolve().parent.parent


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "gluon_resnet", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_tool_is_a_command():
    assert {path.stem for path in (ROOT / "tools").glob("*.py")} <= set(COMMANDS)


def test_help_names_every_command():
    done = run("--help")
    assert done.returncode == 0
    assert all(f"\n  {name} " in done.stdout for name in COMMANDS)
    assert run("--version").stdout == f"gluon-resnet {gluon_resnet.__version__}\n"


def test_a_command_prints_what_its_tool_prints():
    arguments = ["resnet20", "--num-classes", "7"]
    tool = subprocess.run(
        [sys.executable, ROOT / "tools" / "summary.py", *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    done = run("summary", *arguments)
    assert (done.returncode, done.stdout) == (0, tool.stdout)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "python -m gluon_resnet: error: the following arguments are required"),
        (["tarin"], "python -m gluon_resnet: error: argument COMMAND: invalid choice: 'tarin'"),
        (["train", "--bogus"], "python -m gluon_resnet train: error: "),
        (["summary", "resnet7"], "python -m gluon_resnet summary: error: "),
    ],
)
def test_bad_arguments_are_told_by_the_name_that_was_typed(arguments, message):
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(message)


@pytest.mark.parametrize(
    ("program", "name"),
    [(["tools/train.py"], "train.py"), (["-m", "gluon_resnet", "train"], "python -m gluon_resnet train")],
)
def test_without_mxnet_a_command_says_what_to_install_in_one_sentence(tmp_path, program, name):
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['mxnet'] = None")
    done = subprocess.run(
        [sys.executable, *program, "--data-train", "x.rec"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == (
        f"{name}: error: this needs MXNet, which is not installed: pip install gluon-resnet[cpu]\n"
    )


def test_the_command_that_files_record_starts_the_program_again(monkeypatch):
    python = os.path.basename(sys.executable)
    monkeypatch.setattr(sys, "argv", ["tools/train.py", "--resume"])
    assert command.program("train") == "train.py"
    assert command.as_typed(["--prefix", "a b"]) == f"{python} tools/train.py --prefix 'a b'"
    monkeypatch.setattr(sys, "argv", ["python -m gluon_resnet train", "--resume"])
    assert command.program("train") == "python -m gluon_resnet train"
    assert command.as_typed(["--prefix", "a b"]) == f"{python} -m gluon_resnet train --prefix 'a b'"
