"""tools/im2rec.py: bad pictures, bad records, and everything that it refuses."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from gluon_resnet.cli.im2rec import main
from gluon_resnet.data import RecordFile
from gluon_resnet.data.packing.image_list import read_list
from gluon_resnet.errors import DataError, RecordError, UsageError
from tests.support.collections_of_pictures import files, im2rec, write_tar
from tests.support.paths import ROOT

TOOL = ROOT / "tools" / "im2rec.py"


def run_tool(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(TOOL), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600)


def test_bad_pictures(pets: pathlib.Path, tmp_path: pathlib.Path, capfd: pytest.CaptureFixture[str]) -> None:
    whole = (pets / "cat" / "3.jpg").read_bytes()
    (pets / "cat" / "cut.jpg").write_bytes(whole[:-200])
    for i in range(22):
        (pets / "owl" / f"text {i}.png").write_bytes(b"some text")

    assert main([str(tmp_path / "p"), str(pets), "--pass-through"]) == 1
    said = capfd.readouterr().err.splitlines()
    assert len(said) == 22
    assert f"and 3 more; they are all in {tmp_path / 'p.errors.txt'}" in said
    assert (
        "p.rec: 23 of 35 pictures are bad, so nothing was written; give --on-error skip to leave" in said[-1]
    )
    assert list(files(tmp_path / "p")) == [".txt"]
    lines = (tmp_path / "p.errors.txt").read_text().splitlines()
    assert len(lines) == 23
    assert any(line.startswith(f"{pets}/cat/cut.jpg\tbad JPEG: Premature end") for line in lines)

    im2rec(tmp_path / "p", pets, "--pass-through", "--on-error", "skip")
    captured = capfd.readouterr()
    assert "p.rec: 12 records in 3 classes" in captured.out
    assert captured.out.endswith("images/s, 23 skipped\n")
    assert "text" in captured.err
    assert len(RecordFile(tmp_path / "p.rec")) == 12

    shutil.rmtree(tmp_path / "pets" / "dog")
    im2rec(tmp_path / "q", pets, "--pass-through", "--no-verify")
    assert len(RecordFile(tmp_path / "q.rec")) == 31


def test_a_list_that_names_what_is_not_there(
    pets: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "p.lst").write_text("0\t0\tcat/0.png\n1\t1\tcat/none.png\n")
    tar = write_tar(tmp_path / "t", {"cat/0.png": (pets / "cat" / "0.png").read_bytes()})
    for root, reason in [(pets, "none.png: cannot open: No such file"), (tar, "no such member in")]:
        assert main([str(tmp_path / "p"), str(root)]) == 1
        assert reason in capsys.readouterr().err


def test_check_and_rebuild(
    pets: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    im2rec(tmp_path / "p", pets)
    capsys.readouterr()
    im2rec(tmp_path / "p", "--check")
    assert "p.rec: 12 records, all of them whole, " in capsys.readouterr().out

    index = (tmp_path / "p.idx").read_bytes()
    (tmp_path / "p.idx").unlink()
    with pytest.raises(RecordError, match=r"p\.rec: has no index; im2rec\.py --rebuild-index writes it"):
        im2rec(tmp_path / "p.rec", "--check")
    im2rec(tmp_path / "p.rec", "--rebuild-index")
    assert "p.idx: 12 records\n" in capsys.readouterr().out
    assert (tmp_path / "p.idx").read_bytes() == index

    (tmp_path / "p.idx").write_bytes(b"".join(index.splitlines(keepends=True)[:-1]))
    with pytest.raises(RecordError, match="the index does not list the record here"):
        im2rec(tmp_path / "p", "--check")
    data = (tmp_path / "p.rec").read_bytes()
    (tmp_path / "p.rec").write_bytes(data[:-20])
    with pytest.raises(RecordError, match="cut short") as caught:
        im2rec(tmp_path / "p", "--rebuild-index")
    assert caught.value.path == str(tmp_path / "p.rec")
    assert (tmp_path / "p.idx").stat().st_size < len(index)  # not replaced


def test_check_names_bad_images(
    pets: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for i in (4, 8):
        path = next(pets.glob(f"*/{i}.jpg"))
        path.write_bytes(path.read_bytes()[:-150])
    im2rec(tmp_path / "p", pets, "--pass-through", "--no-verify")
    capsys.readouterr()
    assert main([str(tmp_path / "p"), "--check", "--num-thread", "3"]) == 1
    captured = capsys.readouterr()
    file = RecordFile(tmp_path / "p.rec")
    entries = read_list(str(tmp_path / "p.lst"))
    bad = [i for i, entry in enumerate(entries) if entry.path[-5:] in ("4.jpg", "8.jpg")]
    assert captured.err.splitlines() == [
        f"{tmp_path / 'p.rec'}: key {file.key(i)} at offset {file.offset(i)}: "
        "bad JPEG: Premature end of JPEG file"
        for i in bad
    ]
    assert "12 records, 2 of them bad" in captured.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("p", "the following arguments are required: root"),
        ("p pets --chunks 0", "--chunks: expected a positive number, found 0"),
        ("p pets --num-thread 0", "--num-thread: expected a positive number, found 0"),
        ("p pets --train-ratio 1.5", "expected numbers from 0 to 1"),
        ("p pets --train-ratio 0.8 --test-ratio 0.3", "with a sum of at most 1"),
        ("p pets --color 2", "invalid choice: 2"),
        ("p pets --quality 0", "quality: expected 1 to 100, found 0"),
        ("p pets --resize -5", "resize: expected a positive length, found -5"),
        ("p pets --source tar", "--source tar: pets is a folder"),
        ("p pets --source cifar10 --list", "--source cifar10 has no lists"),
        ("p pets --source cifar10 --pass-through", "--source cifar10 has pixels"),
        ("p pets --check --rebuild-index", "not allowed with argument"),
    ],
)
def test_wrong_arguments_exit_with_2(
    pets: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: str,
    message: str,
) -> None:
    monkeypatch.chdir(pets.parent)
    with pytest.raises((UsageError, SystemExit)) as caught:
        main(arguments.split())
    assert getattr(caught.value, "code", 2) == 2
    assert message in capsys.readouterr().err + str(caught.value)
    assert os.listdir() == ["pets"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("p none", "none: no such file or folder"),
        ("p empty", "empty: has no pictures, that is, files ending with .jpeg .jpg .jpe .jfif .png .bmp"),
        ("p pets --source cifar10", "pets: expected CIFAR-10's batches"),
        ("p text", "text: not a tar archive, or not a complete one"),
        ("p pets --chunks 7", "p_6.lst: none of the 12 pictures is left for this list"),
        ("none --check", "none.rec"),
        ("none --rebuild-index", "none.rec"),
    ],
)
def test_what_cannot_work_is_one_sentence(
    pets: pathlib.Path, monkeypatch: pytest.MonkeyPatch, arguments: str, message: str
) -> None:
    monkeypatch.chdir(pets.parent)
    pathlib.Path("empty").mkdir()
    pathlib.Path("text").write_text("text")
    with pytest.raises((DataError, OSError)) as caught:
        main(arguments.split())
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(pathlib.Path().glob("p*.*"))


def test_the_program_itself(pets: pathlib.Path, tmp_path: pathlib.Path) -> None:
    done = run_tool(tmp_path / "p", pets)
    assert (done.returncode, done.stderr) == (0, "")
    done = run_tool(tmp_path / "p", tmp_path / "none")
    assert (done.returncode, done.stderr) == (
        1,
        f"im2rec.py: error: {tmp_path / 'none'}: no such file or folder\n",
    )
    done = run_tool("/proc/p", pets)
    assert done.returncode == 1
    assert done.stderr.startswith("im2rec.py: error: /proc/p.partial: ")
    done = run_tool(tmp_path / "p", pets, "--quality", 101)
    assert (done.returncode, done.stderr) == (2, "im2rec.py: error: quality: expected 1 to 100, found 101\n")
    (pets / "cat" / "b\udcff.jpg").write_bytes(b"")
    done = run_tool(tmp_path / "q", pets)
    assert done.returncode == 1
    assert "b\\udcff.jpg: the file is empty\n" in done.stderr
