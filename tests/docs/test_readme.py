"""The commands of the README and of docs/guide.md work as they stand, in a clone where `make demo` has been."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import urllib.request
import venv

import pytest

from gluon_resnet.card import ModelCard
from tests.support.documents import blocks, commands, read, section
from tests.support.paths import ROOT
from tests.support.pictures import encode, picture

README = read("README.md")
GUIDE = read("docs/guide.md")
# What makes a training of minutes one of seconds. With 8 pictures of noise the recipes' own rates can end in numbers
# that are not finite.
SHORT = [
    "--num-epochs",
    "1",
    "--batch-size",
    "4",
    "--data-nthreads",
    "1",
    "--image-shape",
    "3,32,32",
    "--lr",
    "0.001",
]
TINY = {"cifar10": "--nets plain8", "imagenet": "--nets resnet18 --num-epochs 1"}


def snippet(text: str, word: str) -> str:
    """The Python code of a page with this word in it."""
    (code,) = [block.text for block in blocks(text) if block.language == "python" and word in block.text]
    return code


class Clone:
    """A fresh clone after `make demo`, and a shell in it, whose python3 has the standard library alone."""

    def __init__(self, folder: pathlib.Path, demo: str) -> None:
        self.folder = folder
        self.demo = demo  # what it printed
        path = os.pathsep.join([str(folder / "bare" / "bin"), os.environ["PATH"]])
        self.environment = {**os.environ, "OMP_NUM_THREADS": "1", "PATH": path}

    def type(self, line: str) -> None:
        """Type a command, a training shortened; it must succeed."""
        words = shlex.split(line)
        if words[:2] == ["git", "clone"]:
            return  # this is the clone
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
            return
        if "tools/serve.py" in words:
            assert answers(self.folder, [*words, "--port", "0"], self.environment)
            return
        if words[1] == "tools/reproduce.py" and words[2] in TINY:
            line += f" {TINY[words[2]]} -- {' '.join(SHORT[2:])}"
        elif "tools/train.py" in words:
            line += " " + " ".join(SHORT[2:] if "--benchmark" in words else SHORT)
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (line, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    folder = tmp_path_factory.mktemp("clone")
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    if not (ROOT / ".git").exists():
        pytest.skip("this is no checkout")
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in names.split("\0"):
        if (ROOT / name).is_file() and not name.startswith("results/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    (folder / ".venv").symlink_to(sys.prefix)  # `make setup`
    (core,) = (ROOT / "gluon_resnet" / "data").glob(f"_native*{sysconfig.get_config_var('EXT_SUFFIX')}")
    (folder / "gluon_resnet" / "data" / core.name).symlink_to(core)
    (folder / "build").mkdir()
    (folder / "build" / "predict").symlink_to(ROOT / "build" / "predict")  # `make predict`
    venv.create(folder / "bare", symlinks=True)
    done = subprocess.run(
        [".venv/bin/python", "-m", "gluon_resnet.cli.demo", "--num-epochs", "1"],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for part, most in ("train", 3), ("val", 1):  # a few pictures do from here on
        for label in (folder / "demo" / "images" / part).iterdir():
            for path in sorted(label.iterdir())[most:]:
                path.unlink()
    result = Clone(folder, done.stdout)
    for line in commands(section(GUIDE, "Trying the commands")):
        result.type(line)  # which puts the digits in the place of the reader's pictures
    return result


def answers(folder: pathlib.Path, server: list[str], environment: dict[str, str]) -> bool:
    """Whether the server takes the README's picture, and stops when it is asked to."""
    with subprocess.Popen(server, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        url = re.fullmatch(r"serving \w+ on (http://\S+)\n", process.stdout.readline())[1]
        body = (folder / "picture.jpg").read_bytes()
        request = urllib.request.Request(f"{url}/predict", body, {"Content-Type": "image/jpeg"})
        with urllib.request.urlopen(request, timeout=600) as response:
            (prediction,) = json.load(response)["predictions"]
        process.terminate()
        return process.wait(600) == 0 and len(prediction["classes"]) > 0


def test_what_a_stranger_types_first(clone: Clone) -> None:
    for line in commands(section(README, "Your own pictures")):
        clone.type(line)
    clone.type("python3 -m gluon_resnet doctor")
    next_steps = clone.demo[clone.demo.index("\nNext, your own pictures") :]
    typed = re.findall(r"^  ((?:mkdir|python3) .*)", next_steps, re.MULTILINE)
    assert [line.split()[1] for line in typed] == ["-p", "tools/im2rec.py", "tools/train.py"]
    for path in (clone.folder / "data").glob("train.*"):
        path.unlink()
    for line in typed:
        clone.type(line)


def test_the_demo_tells_one_error_that_of_the_exported_network(clone: Clone) -> None:
    card = ModelCard.load(str(clone.folder / "demo" / "digits-model.json"))
    (error,) = card.errors
    pattern = r"Done in \d+ s: the exported network, from the best epoch, (\d+), is wrong on ([\d.]+) % of 360 digits"
    printed = re.search(pattern, clone.demo)
    assert (int(printed[1]), printed[2]) == (card.epoch, f"{error.top1_error:.2f}")
    said = re.search(pattern, " ".join(README.split()))
    assert f"| {said[2]} % (" in README  # in the table of results
    report = (clone.folder / "demo" / "resnet20-report.html").read_text(encoding="utf-8")
    assert f"{error.top1_error:.2f}" in report


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_command_of_the_readme_and_the_guide(clone: Clone) -> None:
    typed = [*commands(README), *commands(GUIDE)]
    for line in typed:
        clone.type(line)
    tools = {path.name for path in (ROOT / "tools").glob("*.py")}
    assert tools <= set(re.findall(r"\w+\.py", " ".join(typed)))
    assert "python3 -m gluon_resnet doctor" in typed
    assert any(line.startswith("build/") for line in typed)
    code = snippet(GUIDE, "Predictor")
    done = subprocess.run(
        [".venv/bin/python", "-c", f"{code}\nprint(predictor.features(['picture.jpg']).shape)"],
        cwd=clone.folder,
        env=clone.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "(1, 512)\n"), done.stderr


def test_the_loader_snippet_of_the_readme(tmp_path: pathlib.Path) -> None:
    torch = pytest.importorskip("torch")
    from tests.support.pictures import write_records

    write_records(tmp_path / "train.rec", [encode(picture(32, 32))] * 3)
    names: dict = {"torch": torch}
    code = (
        snippet(README, "Loader")
        .replace("range(90)", "range(2)")
        .replace('"train.rec"', repr(str(tmp_path / "train.rec")))
    )
    exec(code, names)
    assert tuple(names["images"].shape) == (256, 3, 224, 224)
    assert names["labels"].tolist()[:3] != []
