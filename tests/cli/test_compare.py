"""tools/compare.py: what it says of runs side by side, finished or not, without MXNet."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

import cv2
import pytest

from gluon_resnet.cli.compare import main
from gluon_resnet.errors import DataError, EnvironmentProblem, UsageError
from tests.support.paths import ROOT
from tests.support.recorded_runs import write_run

OLD = str(ROOT / "results" / "cifar10" / "resnet20" / "log.jsonl")


def table(text: str) -> dict[str, list[str]]:
    """The cells of each row, by its first; columns are two or more spaces apart."""
    rows = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in text.splitlines()]
    return {row[0]: row[1:] for row in rows if row}


def test_runs_stand_side_by_side(tmp_path, capsys):
    a = write_run(tmp_path / "a", [50.0, 30.0, 35.0], data_wait=0.25)
    b = write_run(tmp_path / "b", [45.0, 40.0], planned=9, settings={"lr": 0.2, "momentum": None})
    assert main([a, f"{b}-log.jsonl"]) is None
    out, err = capsys.readouterr()
    rows = table(out)
    assert out.splitlines()[0].split() == ["a", "b"]
    assert rows["epochs"] == ["3 of 3", "2 of 9"]
    assert rows["iterations"] == ["1,200", "800"]
    assert rows["training error, last"] == ["25.00 %", "30.00 %"]
    assert rows["validation error, last"] == ["35.00 %", "40.00 %"]
    assert rows["validation error, best"] == ["30.00 % (epoch 2)", "40.00 % (epoch 2)"]
    assert rows["validation top-5 error, last"] == ["6.00 %", "6.00 %"]
    assert rows["images/s"] == ["1,000", "1,000"]
    assert rows["loading"] == ["25.0 %"]  # b did not measure it
    assert rows["time"] == ["30 s", "20 s"]
    assert rows["lr"] == ["0.1", "0.2"]
    assert "network" not in rows  # both have the same
    assert "momentum" not in rows  # not given is None
    assert err == ""


def test_as_json(tmp_path, capsys):
    runs = [write_run(tmp_path / name, [50.0, 30.0, 35.0]) for name in "ab"]
    assert main([*runs, "--json"]) is None
    content = json.loads(capsys.readouterr().out)
    assert content["notes"] == []
    first = content["runs"][0]
    assert (first["name"], first["epochs"], first["planned_epochs"], first["iterations"]) == ("a", 3, 3, 1200)
    assert (first["best"]["epoch"], first["last"]["val_top1_error"]) == (2, 35.0)
    assert (first["seconds"], first["images_per_second"]) == (30.0, 1000.0)
    assert first["settings"]["lr"] == 0.1


def test_the_same_records_are_the_same_wherever_they_are(tmp_path, capsys):
    known = "(50 images, fingerprint 0123456789abcdef)"
    a = write_run(tmp_path / "a", [50.0], data=f"val.rec {known}")
    b = write_run(tmp_path / "b", [50.0], data=f"../data/val.rec {known}")
    c = write_run(tmp_path / "c", [50.0], data=f"val.rec {known.replace('0', 'f', 2)}")
    assert main([a, b]) is None
    assert "validation data" not in capsys.readouterr().err
    assert main([a, b, c]) is None
    assert "note: the runs differ in validation data: a: val.rec" in capsys.readouterr().err


def test_runs_that_are_hard_to_compare_say_so(tmp_path, capsys):
    a = write_run(tmp_path / "a", [50.0])
    b = write_run(tmp_path / "b", [50.0], data="other.rec (9 images)", top_k=3)
    assert main([a, b, OLD]) is None
    out, err = capsys.readouterr()
    assert "note: the runs differ in validation data: a: val.rec (50 images); b: other.rec (9 images)" in err
    assert "note: the runs differ in the error beside top-1: a: top-5; b: top-3; resnet20: top-5" in err
    assert "note: resnet20 was made by a version that kept no settings" in err
    assert table(out)["validation error, best"][-1] == "15.42 % (epoch 20)"
    assert "validation top-k error, last" in table(out)


def test_unfinished_runs_are_read(tmp_path, capsys):
    a = write_run(tmp_path / "a", [50.0, 30.0], planned=5)
    with open(f"{a}-steps.jsonl", "a") as stream:
        stream.write('{"iteration": 82')  # a line that is being written
    b = write_run(tmp_path / "b", [50.0], planned=5)
    (tmp_path / "b-log.jsonl").write_text("")  # in its first epoch
    assert main([a, b, "--output", str(tmp_path / "both.png")]) is None
    rows = table(capsys.readouterr().out)
    assert rows["epochs"] == ["2 of 5", "0 of 5"]
    assert rows["iterations"] == ["800", "400"]
    assert rows["validation error, last"] == ["30.00 %"]
    assert cv2.imread(str(tmp_path / "both.png")) is not None
    assert main([b, "--json"]) is None
    first = json.loads(capsys.readouterr().out)["runs"][0]
    assert (first["best"], first["images_per_second"]) == (None, None)


def test_runs_of_one_name_are_told_apart(tmp_path, capsys):
    runs = []
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        runs.append(write_run(tmp_path / folder / "a", [50.0]))
    main(runs)
    assert capsys.readouterr().out.splitlines()[0].split() == runs


def test_errors_are_one_sentence_and_a_status(tmp_path):
    a = write_run(tmp_path / "a", [50.0, 30.0])
    damaged = write_run(tmp_path / "damaged", [50.0, 30.0])
    lines = pathlib.Path(f"{damaged}-log.jsonl").read_text().splitlines()
    pathlib.Path(f"{damaged}-log.jsonl").write_text(f"{lines[0]}\n{lines[1][:50]}\n")
    with pytest.raises(UsageError, match=r"missing is not a run: expected the log .*missing-log\.jsonl"):
        main([a, str(tmp_path / "missing")])
    with pytest.raises(DataError, match=r"damaged-log\.jsonl: line 2 is not an epoch's record"):
        main([a, damaged])
    for arguments, status in (
        ([a, "missing"], 2),
        ([damaged], 1),
        ([], 2),
        ([a, "--output", "/proc/a.png"], 1),
    ):
        done = run_tool(arguments)
        assert (done.returncode, done.stderr.count("Traceback")) == (status, 0)
        assert "error: " in done.stderr


def test_it_needs_no_mxnet(tmp_path):
    runs = [write_run(tmp_path / name, [50.0, 30.0]) for name in "ab"]
    done = run_tool([*runs, "--output", str(tmp_path / "c.png")])
    assert (done.returncode, done.stderr) == (0, "")
    assert "validation error, best" in done.stdout
    assert (tmp_path / "c.png").exists()


def test_without_tabulate_it_says_what_to_install(tmp_path, monkeypatch):
    a = write_run(tmp_path / "a", [50.0])
    monkeypatch.setitem(sys.modules, "tabulate", None)
    with pytest.raises(EnvironmentProblem, match=r"gluon-resnet\[plot\]"):
        main([a])
    assert main([a, "--json"]) is None


def run_tool(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """The program itself, where MXNet cannot be imported."""
    code = "import runpy, sys; sys.modules['mxnet'] = None; runpy.run_path(sys.argv[0], run_name='__main__')"
    command = f"import sys; sys.argv = sys.argv[1:]; {code}"
    tool = str(ROOT / "tools" / "compare.py")
    return subprocess.run(
        [sys.executable, "-c", command, tool, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
