"""The README's commands work as they stand there, on pictures of the test's own."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import urllib.request

import pytest
from conftest import encode, picture

from gluon_resnet.card import ModelCard
from gluon_resnet.convert import export_weights, write_weights
from gluon_resnet.models import build_network

ROOT = pathlib.Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
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
TINY = {"cifar10": ["--nets", "plain8"], "imagenet": ["--nets", "resnet18", "--epochs", "1"]}


def commands() -> list[list[str]]:
    """The indented command lines of the README, as words."""
    lines = re.findall(r"^    ((?:python|make|build/)(?:[^\n]*\\\n)*[^\n]*)", README, re.MULTILINE)
    return [shlex.split(line.replace("\\\n", " ")) for line in lines]


def snippets() -> list[str]:
    """The README's Python code."""
    return re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def write_foreign_weights(path: pathlib.Path) -> None:
    """A ResNet-20 as its project names the tensors; files are told apart by their content."""
    card = ModelCard("resnet20", tuple(map(str, range(10))), 32, (0, 0, 0), (1, 1, 1))
    net = build_network(card)
    net.initialize()
    _, arrays = export_weights(card, net, "akamaster", str(path))
    write_weights(path.with_suffix(".safetensors"), arrays)
    path.with_suffix(".safetensors").rename(path)


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    """A folder as the README's reader has it: pictures, the tools, the C++ program."""
    for name in ("tools", "build"):
        (tmp_path / name).symlink_to(ROOT / name)
    for name in ("FOLDER", "FOLDER_VAL"):
        for label in ("cat", "dog"):
            (tmp_path / name / label).mkdir(parents=True)
            for i in range(4):
                image = picture(40, 48, i + 10 * (label == "dog"))
                (tmp_path / name / label / f"{i}.jpg").write_bytes(encode(image))
    for part in ("train", "test"):
        with tarfile.open(tmp_path / f"cifar10_{part}.tar.gz", "w:gz") as tar:
            tar.add(tmp_path / "FOLDER", ".")
    shutil.copy(tmp_path / "FOLDER" / "cat" / "0.jpg", tmp_path / "picture.jpg")
    (tmp_path / "data").mkdir()
    write_foreign_weights(tmp_path / "resnet20-12fca82f.th")
    return tmp_path


def answers(folder: pathlib.Path, server: list[str], environment: dict[str, str]) -> bool:
    """Whether the server takes the README's picture, and stops when it is asked to."""
    with subprocess.Popen(
        [*server, "--port", "0"], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        url = re.fullmatch(r"serving \w+ on (http://\S+)\n", process.stdout.readline())[1]
        body = (folder / "picture.jpg").read_bytes()
        request = urllib.request.Request(f"{url}/predict", body, {"Content-Type": "image/jpeg"})
        with urllib.request.urlopen(request, timeout=60) as response:
            (prediction,) = json.load(response)["predictions"]
        process.terminate()
        return process.wait(60) == 0 and len(prediction["classes"]) > 0


@pytest.mark.timeout(600)
def test_every_command_of_the_readme(folder: pathlib.Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}

    def run(program: list[str]) -> subprocess.CompletedProcess:
        return subprocess.run(
            program, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )

    ran = []
    for words in commands():
        if words[0] == "make":  # `make predict` has made the program that the next commands use
            assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
            words = words[words.index("&&") + 1 :] if "&&" in words else []
        if not words:
            continue
        program = [sys.executable, *words[1:]] if words[0] == "python" else words
        if "tools/serve.py" in words:
            assert answers(folder, program, environment)
            ran.append(words)
            continue
        if words[1].endswith("reproduce.py") and words[2] in TINY:
            program += [*TINY[words[2]], "--", *SHORT[2:]]
        elif any(word.endswith("train.py") for word in words):
            program += SHORT[2:] if "--benchmark" in words else SHORT
        done = run(program)
        if "--gpus" in words and done.returncode:  # here is none, which is said before any work
            assert re.fullmatch(r"(train|reproduce)\.py: error: [^\n]*(GPU|CUDA)[^\n]*\n", done.stderr), (
                done.stderr
            )
            at = program.index("--gpus")
            done = run(program[:at] + program[at + 2 :])
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        ran.append(words)
    assert {pathlib.Path(words[1]).name for words in ran if words[0] == "python"} >= {
        "im2rec.py",
        "train.py",
        "evaluate.py",
        "convert.py",
        "summary.py",
        "reproduce.py",
        "mean.py",
        "export.py",
        "predict.py",
        "card.py",
        "responses.py",
        "quantize.py",
        "serve.py",
        "compare.py",
        "launch.py",
    }
    assert ["python", "-m", "gluon_resnet", "doctor"] in ran
    assert any(words[0].startswith("build/") for words in ran)
    (snippet,) = [code for code in snippets() if "Predictor" in code]
    done = run([sys.executable, "-c", f"{snippet}\nprint(predictor.features(['picture.jpg']).shape)"])
    assert (done.returncode, done.stdout) == (0, "(1, 512)\n"), done.stderr


def test_the_loader_snippet_of_the_readme(folder: pathlib.Path) -> None:
    torch = pytest.importorskip("torch")
    from conftest import write_records

    write_records(folder / "train.rec", [encode(picture(32, 32))] * 3)
    (snippet,) = [code for code in snippets() if "Loader" in code]
    names: dict = {"torch": torch}
    code = snippet.replace("range(90)", "range(2)").replace('"train.rec"', repr(str(folder / "train.rec")))
    exec(code, names)
    assert tuple(names["images"].shape) == (256, 3, 224, 224)
    assert names["labels"].tolist()[:3] != []
