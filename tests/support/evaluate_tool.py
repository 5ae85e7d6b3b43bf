"""For tests of tools/evaluate.py: records with class names, and the program in this process or its own."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys

import pytest

from gluon_resnet.cli.evaluate import main
from tests.support.paths import ROOT
from tests.support.pictures import encode, picture, write_records

TOOL = ROOT / "tools" / "evaluate.py"
CLASSES = [f"class {label}" for label in range(12)]
PAYLOADS = [encode(picture(40 + index % 9, 50 - index % 11, index)) for index in range(30)]
LABELS = [index * 5 % 12 for index in range(30)]


def pack(path: pathlib.Path, payloads=PAYLOADS, labels=LABELS, names=CLASSES) -> str:
    path.with_suffix(".classes").write_text("".join(f"{name}\n" for name in names))
    return write_records(path, list(payloads), list(labels))


def tool(*arguments: str, **options) -> subprocess.Popen:
    """The program itself, in a process of its own."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, str(TOOL), *arguments], **pipes, **options)


def evaluated(capsys: pytest.CaptureFixture, *arguments: str) -> dict:
    assert main([*arguments, "--json"]) is None
    return json.loads(capsys.readouterr().out)
