"""The C++ program: its command line, its output, its exit status, and what it says of damaged files."""

from __future__ import annotations

import os
import pathlib
import shutil

import numpy as np
import pytest
from conftest import encode, picture
from deployed import DAMAGES, Model, change_arrays, damaged_copy, make_model, run_program, write_images

from gluon_resnet.cli.predict import main as predict


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return make_model(tmp_path_factory.mktemp("model"), "resnet20", 32, 40)


@pytest.fixture(scope="module")
def files(model: Model) -> tuple[str, str]:
    return f"{model.prefix}-symbol.json", f"{model.prefix}-0000.params"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return write_images(tmp_path_factory.mktemp("images"))


def test_prints_what_the_python_tool_prints(
    model: Model, files: tuple[str, str], images: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    done = run_program(*files, *images)
    assert (done.returncode, done.stderr) == (0, "")
    predict(["--model", model.prefix, *images])
    theirs = capsys.readouterr().out.splitlines()
    ours = done.stdout.splitlines()
    assert len(ours) == len(theirs) == 60
    for our, their in zip(ours, theirs):
        if "%" not in their:
            assert our == their
            continue
        (our_probability, our_name), (probability, name) = our.split(" %  "), their.split(" %  ")
        assert abs(float(our_probability) - float(probability)) < 0.011  # rounded to 0.01
        assert our_name == name
        assert len(our_probability) == len(probability) == 7


def test_topk(files: tuple[str, str], images: list[str]) -> None:
    assert len(run_program("--topk", "1", *files, images[0]).stdout.splitlines()) == 2
    assert len(run_program(*files, images[0], "--topk=99").stdout.splitlines()) == 13


def test_bad_images_are_reported_and_the_rest_goes_on(
    files: tuple[str, str], images: list[str], tmp_path: pathlib.Path
) -> None:
    contents = {
        "cut.jpg": encode(picture(60, 60))[:500],
        "empty.png": b"",
        "a.gif": b"GIF89a",
        "text.jpg": b"hello",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    bad = [*(str(tmp_path / name) for name in contents), str(tmp_path / "none.jpg"), str(tmp_path)]
    good = run_program(*files, images[0], images[1])
    done = run_program(*files, images[0], *bad, images[1])
    assert done.returncode == 1
    assert done.stdout == good.stdout
    reasons = done.stderr.splitlines()
    assert len(reasons) == len(bad)
    assert all(line.startswith(f"predict: {path}: ") for path, line in zip(bad, reasons))


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_models(model: Model, images: list[str], tmp_path: pathlib.Path, damage: str) -> None:
    prefix, fault, words = damaged_copy(model.prefix, tmp_path, damage)
    done = run_program(f"{prefix}-symbol.json", f"{prefix}-0000.params", images[0])
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"predict: error: {fault}: ")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_what_mxnet_says_is_cut_to_one_line(
    files: tuple[str, str], images: list[str], tmp_path: pathlib.Path
) -> None:
    params = shutil.copy(files[1], tmp_path)
    change_arrays(params, {"arg:resnet20_dense0_bias": np.zeros(12, "d")})
    done = run_program(files[0], params, images[0])
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"predict: error: {params}: MXNet says: ")
    assert done.stderr.endswith("expected float32, got float64\n")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["SYMBOL", "PARAMS"],
        ["--unknown", "SYMBOL", "PARAMS", "IMAGE"],
        ["-x", "SYMBOL", "PARAMS", "IMAGE"],
        ["SYMBOL", "PARAMS", "IMAGE", "--topk"],
        ["--topk", "0", "SYMBOL", "PARAMS", "IMAGE"],
        ["--topk", "five", "SYMBOL", "PARAMS", "IMAGE"],
        ["--topk", "99999999999999999999", "SYMBOL", "PARAMS", "IMAGE"],
        ["--logits=yes", "SYMBOL", "PARAMS", "IMAGE"],
        ["--resize", "40", "SYMBOL", "PARAMS", "IMAGE"],
        ["--classes", "names", "SYMBOL", "PARAMS", "IMAGE"],
        ["--size", "32", "--resize", "31", "SYMBOL", "PARAMS", "IMAGE"],
        ["PARAMS", "SYMBOL", "IMAGE"],
    ],
    ids=" ".join,
)
def test_wrong_arguments(files: tuple[str, str], images: list[str], arguments: list[str]) -> None:
    names = {"SYMBOL": files[0], "PARAMS": files[1], "IMAGE": images[0]}
    done = run_program(*(names.get(argument, argument) for argument in arguments))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("predict: error: ")
    assert done.stderr.count("\n") == 1


def test_help() -> None:
    done = run_program("--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "--topk" in done.stdout


def test_without_card(
    model: Model, files: tuple[str, str], images: list[str], tmp_path: pathlib.Path
) -> None:
    prefix, *_ = damaged_copy(model.prefix, tmp_path, "no card")
    with_card = run_program("--logits", *files, images[1])
    alone = (f"{prefix}-symbol.json", f"{prefix}-0000.params", images[1])
    done = run_program("--logits", "--size", "32", "--resize", "40", *alone)
    assert (done.returncode, done.stdout) == (0, with_card.stdout)

    named = run_program(*files, images[1]).stdout
    (tmp_path / "names").write_text("".join(f"class {label}\n" for label in range(12)))
    classes = ("--size", "32", "--resize", "40", "--classes", str(tmp_path / "names"))
    assert run_program(*classes, *alone).stdout == named
    assert run_program(*classes[:4], *alone).stdout == named.replace("class ", "")

    (tmp_path / "names").write_text("one\ntwo\n")
    done = run_program(*classes, *alone)
    assert (done.returncode, done.stdout) == (1, "")
    assert "expected shape (1, 2) of the output, found (1, 12)" in done.stderr


@pytest.mark.parametrize(
    ("variables", "threads"),
    [({}, None), ({"OMP_NUM_THREADS": "3"}, 3), ({"GLUON_RESNET_OMP_THREADS": "5"}, 5)],
)
def test_number_of_threads_is_set_before_mxnet_is_loaded(
    files: tuple[str, str], images: list[str], variables: dict[str, str], threads: int
) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_"))}
    done = run_program(*files, images[0], env={**environment, **variables, "OMP_DISPLAY_ENV": "verbose"})
    assert done.returncode == 0
    threads = threads or len(os.sched_getaffinity(0))
    assert f"OMP_NUM_THREADS = '{threads}'" in done.stderr
    assert "GOMP_SPINCOUNT = '1000'" in done.stderr


def test_full_disk(files: tuple[str, str], images: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = run_program(*files, images[0], stdout=full)
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
