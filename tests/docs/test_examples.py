"""The programs in examples/ do what they say, on record files of the test's own."""

from __future__ import annotations

import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
from typing import Any

import pytest

from tests.support.paths import ROOT
from tests.support.pictures import encode, picture, write_records

TRAIN = ROOT / "examples" / "pytorch_train.py"
PAGE = ROOT / "docs" / "loader.md"
# Runs a program, and kills it when it has put so many files under their names.
RUN_AND_KILL = """
import os, runpy, signal, sys
replace, left = os.replace, int(sys.argv[1])
def replace_and_die(*names):
    global left
    replace(*names)
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
os.replace = replace_and_die
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture
def data(tmp_path: pathlib.Path) -> list[str]:
    """Two files of 50 and 21 pictures of 3 classes: 6 steps of 8 an epoch."""
    for name, count in (("train", 50), ("val", 21)):
        payloads = [encode(picture(40, 48, i)) for i in range(count)]
        write_records(tmp_path / f"{name}.rec", payloads, [i % 3 for i in range(count)])
    files = ["--data-train", str(tmp_path / "train.rec"), "--data-val", str(tmp_path / "val.rec")]
    return [*files, "--num-classes", "3", "--batch-size", "8", "--num-epochs", "2", "--save-every", "4"]


def run(program: list[str], **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, *program],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def train(arguments: list[str], world_size: int, kill_after: int = 0) -> str:
    """What rank 0 prints, which is killed when it has written so many checkpoints."""
    program = [str(TRAIN), *arguments]
    if kill_after:
        program = ["-c", RUN_AND_KILL, str(kill_after), *program]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    ranks = [run(program, RANK=str(r), WORLD_SIZE=str(world_size), **address) for r in range(world_size)]
    try:
        printed, errors = ranks[0].communicate(timeout=600)
        assert ranks[0].returncode == (-signal.SIGKILL if kill_after else 0), errors
        if not kill_after:
            assert [rank.wait(timeout=600) for rank in ranks] == [0] * world_size
    finally:
        for rank in ranks:
            rank.kill()
            rank.communicate()
    return printed


def checkpoint(path: pathlib.Path) -> dict[str, Any]:
    return pytest.importorskip("torch").load(path, weights_only=True)


def expect_equal(ours: Any, theirs: Any) -> None:
    """Of nested dicts and lists, with tensors equal to the bit."""
    if isinstance(ours, dict):
        assert list(ours) == list(theirs)
        ours, theirs = list(ours.values()), list(theirs.values())
    if isinstance(ours, list):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs):
            expect_equal(one, other)
    elif hasattr(ours, "equal"):
        assert ours.equal(theirs)
    else:
        assert ours == theirs


@pytest.mark.parametrize("world_size", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_killed_training_goes_on_to_the_same_weights(
    tmp_path: pathlib.Path, data: list[str], world_size: int
) -> None:
    pytest.importorskip("torch")
    whole, parts = tmp_path / "whole.pt", tmp_path / "parts.pt"
    printed = train([*data, "--checkpoint", str(whole)], world_size)
    assert re.fullmatch(r"(epoch [01]: top-1 error \d+\.\d\d %; [^\n]* images/s; [^\n]*\n){2}", printed), (
        printed
    )

    data += ["--checkpoint", str(parts)]
    train(data, world_size, kill_after=3)  # which were written at the steps 4, 6 and 8
    killed = checkpoint(parts)
    assert (killed["step"], killed["loader"]["epoch"], killed["loader"]["position"]) == (8, 1, 16)
    train([*data, "--resume"], world_size)
    assert checkpoint(parts)["step"] == 12
    expect_equal(checkpoint(parts), checkpoint(whole))


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (["--num-classes", "2"], 1, "--num-classes 2: found labels from 0 to 2"),
        (["--checkpoint", "nowhere.pt", "--resume"], 1, "nowhere.pt: No such file or directory"),
        (["--batch-size", "64"], 2, "batch_size: 50 records do not fill one batch of 64"),
    ],
)
def test_a_training_that_cannot_be_says_why_in_one_line(
    data: list[str], options: list[str], status: int, words: str
) -> None:
    pytest.importorskip("torch")
    training = run([str(TRAIN), *data, *options])
    _, errors = training.communicate(timeout=600)
    assert training.returncode == status
    assert re.fullmatch(rf"pytorch_train\.py: error: {re.escape(words)}[^\n]*\n", errors), errors


def test_jax_shares_the_loaders_memory(data: list[str]) -> None:
    pytest.importorskip("jax")
    program = run([str(ROOT / "examples" / "jax_batches.py"), data[1]], JAX_PLATFORMS="cpu")
    printed, errors = program.communicate(timeout=600)
    assert program.returncode == 0, errors
    assert printed.startswith("50 records; channels of the last batch")


def test_the_snippets_of_the_loaders_page(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    pytest.importorskip("torch")
    write_records(tmp_path / "train.rec", [encode(picture(32, 32, i)) for i in range(3)])
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "page"}
    for snippet in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        exec(snippet, names)
    assert "images/s" in capsys.readouterr().out
    assert tuple(names["images"].shape) == (64, 3, 224, 224)
    assert names["images"].is_contiguous(memory_format=names["torch"].channels_last)
    assert [tuple(images.shape) for images, _ in names["batches"]] == [(3, 3, 224, 224)]
    names["dataset"].load_state_dict(names["dataset"].state_dict(1))
