"""The fuzzers' first inputs, and those that once failed, through every target: scripts/fuzz.sh looks for others."""

from __future__ import annotations

import contextlib
import os
import pathlib
import subprocess

import pytest
from fuzz_seeds import images, records
from seeds import SEEDS
from targets import TARGETS, check, temporary_path

from gluon_resnet.data import RecordFile, decode
from gluon_resnet.errors import ImageError, RecordError
from tests.support.deployed import program
from tests.support.paths import ROOT

REGRESSIONS = ROOT / "tests" / "fuzz" / "regressions"
NATIVE = {  # beside base/, what of csrc/ a target needs
    "params": ["predictor/parameters.cc", "graph/*.cc"],
    "card": ["predictor/card.cc", "graph/*.cc"],
    "index": ["records/record_*.cc"],
    "symbol": ["graph/*.cc"],
}


def inputs(name: str) -> dict[str, bytes]:
    """The seeds of a target, and its regressions."""
    regressions = {path.name: path.read_bytes() for path in sorted((REGRESSIONS / name).glob("*"))}
    return {**(SEEDS[name]() if name in SEEDS else {}), **regressions}


def test_regressions_are_of_targets():
    assert {path.name for path in REGRESSIONS.iterdir()} <= {"image", "record", *NATIVE, *TARGETS}


@pytest.mark.parametrize("name", TARGETS)
def test_inputs_are_read_or_refused_in_python(name: str) -> None:
    target, path = TARGETS[name](), temporary_path()
    for data in inputs(name).values():
        for end in {len(data), *range(0, len(data), 1 + len(data) // 8)}:
            check(target, path, data[:end])


@pytest.mark.parametrize("name", NATIVE)
def test_inputs_are_read_or_refused_in_cpp(name: str, tmp_path: pathlib.Path) -> None:
    objects = pathlib.Path(program()).parent / "CMakeFiles"  # that the program was made of
    parts = [part for pattern in ("base/*.cc", *NATIVE[name]) for part in objects.glob(f"*.dir/{pattern}.o")]
    native = ROOT / "tests" / "native"
    compiler = os.environ.get("CXX", "g++")  # with which make coverage made the objects
    command = [compiler, "-std=c++17", f"-I{ROOT / 'csrc'}", native / "replay.cc", native / f"fuzz_{name}.cc"]
    built = subprocess.run([*command, *parts, "-o", tmp_path / "replay"], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    paths = [tmp_path / str(index) for index in range(len(inputs(name)))]
    for path, data in zip(paths, inputs(name).values()):
        path.write_bytes(data)
    done = subprocess.run([tmp_path / "replay", *paths], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"{len(paths)} inputs\n"), done.stderr


def test_images_are_decoded_or_refused() -> None:
    for data in {**images(), **inputs("image")}.values():
        with contextlib.suppress(ImageError):
            decode(data)


def test_records_are_read_or_refused(tmp_path: pathlib.Path) -> None:
    for name, data in {**records(), **inputs("record")}.items():
        index, _, content = data.partition(b"\0")
        path = tmp_path / f"{name}.rec"
        path.write_bytes(content)
        if index:
            path.with_suffix(".idx").write_bytes(index)
        with contextlib.suppress(RecordError):
            file = RecordFile(path)
            for record in range(len(file)):
                with contextlib.suppress(RecordError):
                    file[record]
