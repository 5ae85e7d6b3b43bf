"""tools/predict.py: what the C++ program does, too, with both backends; ten crops; what --help says."""

from __future__ import annotations

import inspect
import json
import os
import pathlib
import re
import subprocess
import sys
from typing import Callable

import numpy as np
import pytest

from gluon_resnet.cli.predict import main
from gluon_resnet.cli.predict.lines import json_of_classes, json_of_logits, text_of_logits
from gluon_resnet.deploy import Predictor
from gluon_resnet.deploy.backend import BACKENDS
from gluon_resnet.errors import UsageError
from tests.support.deployed import Model, damaged_copy, make_model, write_images
from tests.support.paths import ROOT
from tests.support.pictures import encode, picture
from tests.support.predict_cases import (
    CASES,
    MXNET_CASES,
    Setting,
    batches_of_all_sizes_in_any_number_of_threads_give_the_same_logits,
    each_name_is_answered_when_standard_input_pauses,
    interrupted_it_ends,
)

TOOL = [sys.executable, str(ROOT / "tools" / "predict.py")]
DEPEND_ON_BACKEND = [
    batches_of_all_sizes_in_any_number_of_threads_give_the_same_logits,
    each_name_is_answered_when_standard_input_pauses,
    interrupted_it_ends,
    *MXNET_CASES,
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return make_model(tmp_path_factory.mktemp("model"), "resnet20", 32, 40, formats="both")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return write_images(tmp_path_factory.mktemp("images"))


@pytest.mark.parametrize(
    "case", [case for case in CASES if case not in MXNET_CASES], ids=lambda case: case.__name__
)
def test_as_the_cpp_program(
    case: Callable[[Setting], None], model: Model, images: list[str], tmp_path: pathlib.Path
) -> None:
    case(Setting([*TOOL, "--backend", "onnx"], model.prefix, images, tmp_path))  # starts sooner


@pytest.mark.parametrize("case", DEPEND_ON_BACKEND, ids=lambda case: case.__name__)
def test_as_the_cpp_program_by_mxnet(
    case: Callable[[Setting], None], model: Model, images: list[str], tmp_path: pathlib.Path
) -> None:
    case(Setting(TOOL, model.prefix, images, tmp_path))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("protocol", ["1-crop", "10-crop"])
def test_it_prints_what_the_predictor_gives(
    model: Model, images: list[str], capsys: pytest.CaptureFixture[str], backend: str, protocol: str
) -> None:
    expected = Predictor(model.prefix, backend=backend).probabilities(images, protocol)
    options = ["--backend", backend, "--protocol", protocol, "--top-k", "12"]
    assert main([model.prefix, *images, *options, "--json"]) is None
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["image"] for line in lines] == images
    for row, line in zip(expected, lines):
        labels = [entry["label"] for entry in line["classes"]]
        assert labels == np.argsort(-row, kind="stable").tolist()
        found = [entry["probability"] for entry in line["classes"]]
        np.testing.assert_allclose(found, row[labels], rtol=1e-5)

    assert main([model.prefix, *images, *options]) is None
    text = capsys.readouterr().out.splitlines()
    assert text[::13] == images
    wanted = [
        f"{100 * entry['probability']:7.2f} %  {entry['name']}" for line in lines for entry in line["classes"]
    ]
    assert [line for number, line in enumerate(text) if number % 13] == wanted


@pytest.mark.parametrize("batch", ["1", "3", "16"])
def test_bad_images_anywhere_in_ten_crops(
    model: Model, images: list[str], tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], batch: str
) -> None:
    (tmp_path / "cut.jpg").write_bytes(encode(picture(60, 60))[:500])
    mixed = [str(tmp_path / "cut.jpg"), *images, str(tmp_path / "none.jpg")]
    assert main([model.prefix, *mixed, "--protocol", "10-crop", "--batch-size", batch, "--top-k", "1"]) == 1
    output = capsys.readouterr()
    assert output.out.splitlines()[::2] == images
    assert [line.split(": ")[1] for line in output.err.splitlines()[:2]] == [mixed[0], mixed[-1]]
    assert output.err.endswith("predict: 2 of 12 images could not be predicted\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "there are no images"),
        (["IMAGE", "--logits", "--protocol", "10-crop"], "--logits are those of one crop"),
        (["IMAGE", "--resize", "40"], "give --image-shape as well"),
    ],
)
def test_options_that_do_not_go_together(
    model: Model, images: list[str], arguments: list[str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        main([model.prefix, *(images[0] if word == "IMAGE" else word for word in arguments)])


def test_a_damaged_model_is_told_in_one_line(model: Model, images: list[str], tmp_path: pathlib.Path) -> None:
    prefix, fault, words = damaged_copy(model.prefix, tmp_path, "missing parameter")
    done = subprocess.run([*TOOL, prefix, images[0]], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith(f"predict.py: error: {fault}: ")
    assert words in done.stderr


def test_onnxruntime_needs_no_mxnet(model: Model, images: list[str], tmp_path: pathlib.Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sys; sys.modules.update(dict.fromkeys(['mxnet', 'onnx', 'scipy', 'tabulate']))"
    )
    done = subprocess.run(
        [*TOOL, model.prefix, images[0], "--backend", "onnx"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{images[0]}\n")


@pytest.mark.parametrize(("arguments", "threads"), [([], "7"), (["--threads", "3"], "3")])
def test_mxnet_has_the_threads_that_were_asked_for(
    model: Model, images: list[str], arguments: list[str], threads: str
) -> None:
    environment = {name: value for name, value in os.environ.items() if "OMP" not in name}
    done = subprocess.run(
        [*TOOL, model.prefix, images[0], *arguments],
        env={**environment, "OMP_NUM_THREADS": "7", "OMP_DISPLAY_ENV": "verbose"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert f"OMP_NUM_THREADS = '{threads}'" in done.stderr


def test_help_says_the_defaults_that_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    said = {
        option: re.search(rf"{option} (?:(?!--).)*?default: ([\w-]+)", text)[1]
        for option in ("--batch-size", "--top-k", "--backend", "--protocol", "--threads")
    }
    predictor = inspect.signature(Predictor).parameters
    assert predictor["threads"].default is None  # which is one for each processor
    assert said == {
        "--batch-size": str(predictor["batch_size"].default),
        "--top-k": str(inspect.signature(Predictor.predict).parameters["k"].default),
        "--backend": predictor["backend"].default,
        "--protocol": inspect.signature(Predictor.probabilities).parameters["crops"].default,
        "--threads": "one",
    }


def test_lines_of_odd_values() -> None:
    numbers = np.array([1.5, np.nan, -np.inf, 1e-30, 16777216], np.float32)
    assert json_of_logits("a", np.array([2, 0.5], "f"), numbers) == (
        '{"image": "a", "label": [2, 0.5], "logits": [1.5, null, null, 1.0000000031710769e-30, 16777216.0]}'
    )
    assert text_of_logits("a", numbers[:3]) == "a\n  1.5  nan  -inf"
    line = json_of_classes("\udcff\xe4\n", np.array([np.nan], "f"), ['"Ä"'], [(0, float("nan"))])
    assert json.loads(line) == {
        "image": "\ufffd\xe4\n",
        "label": None,
        "classes": [{"label": 0, "name": '"Ä"', "probability": None}],
    }
    assert "\n" not in line
    assert "Ä" in line
