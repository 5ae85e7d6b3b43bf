"""The Python predictor and tools/predict.py: what they take, what they print, what they refuse."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import numpy as np
import pytest
from conftest import encode, picture
from deployed import DAMAGES, REPOSITORY, Model, damaged_copy, make_model, write_images

from gluon_resnet.cli.predict import main
from gluon_resnet.data import decode
from gluon_resnet.deploy import Predictor
from gluon_resnet.errors import ImageError, ModelError, UsageError


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return make_model(tmp_path_factory.mktemp("model"), "resnet20", 32, 40)


@pytest.fixture(scope="module")
def predictor(model: Model) -> Predictor:
    return Predictor(model.prefix, batch_size=4)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return write_images(tmp_path_factory.mktemp("images"))


def test_path_bytes_and_array_are_the_same(predictor: Predictor, images: list[str]) -> None:
    for path in images:
        payload = pathlib.Path(path).read_bytes()
        logits = predictor.logits([path, pathlib.Path(path), payload, decode(payload)])
        assert (logits == logits[0]).all()


@pytest.mark.parametrize("count", [0, 1, 4, 10])
def test_any_number_of_images(predictor: Predictor, images: list[str], count: int) -> None:
    logits = predictor.logits(images[:count])
    assert logits.shape == (count, 12)
    assert logits.dtype == np.float32
    single = [predictor.logits([image])[0] for image in images[:count]]
    np.testing.assert_allclose(logits, np.reshape(single, (count, 12)), atol=1e-4)


def test_predict_gives_names_with_the_softmax(predictor: Predictor, images: list[str]) -> None:
    logits = predictor.logits(images[:1])[0].astype(np.float64)
    softmax = np.exp(logits) / np.exp(logits).sum()
    found = predictor.predict(images[0], k=3)
    assert [name for name, _ in found] == [f"class {label}" for label in np.argsort(-softmax)[:3]]
    np.testing.assert_allclose([p for _, p in found], np.sort(softmax)[::-1][:3], rtol=1e-9)
    assert len(predictor.predict(images[0])) == 5
    everything = predictor.predict(images[0], k=99)
    assert len(everything) == 12
    assert sum(p for _, p in everything) == pytest.approx(1)


def test_bad_images(predictor: Predictor, tmp_path: pathlib.Path) -> None:
    payload = encode(picture(60, 60))[:500]
    (tmp_path / "cut.jpg").write_bytes(payload)
    with pytest.raises(ImageError, match=r"cut\.jpg: .*Premature end") as caught:
        predictor.predict(tmp_path / "cut.jpg")
    assert caught.value.path == str(tmp_path / "cut.jpg")
    for bad in (payload, b"", b"GIF89a"):
        with pytest.raises(ImageError):
            predictor.predict(bad)
    with pytest.raises(FileNotFoundError):
        predictor.predict(str(tmp_path / "none.jpg"))
    for array in (np.zeros((8, 8, 3), "f"), np.zeros((8, 8), np.uint8), np.zeros((0, 8, 3), np.uint8)):
        with pytest.raises(UsageError, match="uint8"):
            predictor.predict(array)


def test_batch_size(model: Model) -> None:
    with pytest.raises(UsageError, match="batch"):
        Predictor(model.prefix, batch_size=0)


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_models(model: Model, tmp_path: pathlib.Path, damage: str) -> None:
    prefix, fault, words = damaged_copy(model.prefix, tmp_path, damage)
    with pytest.raises((ModelError, FileNotFoundError)) as caught:
        Predictor(prefix)
    assert fault in str(caught.value)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_command_line(
    model: Model, images: list[str], tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.jpg").write_bytes(encode(picture(60, 60))[:500])
    bad = [str(tmp_path / "bad.jpg"), str(tmp_path / "none.jpg"), str(tmp_path)]
    assert main(["--model", model.prefix, images[0]]) is None
    good = capsys.readouterr().out.splitlines()
    assert good[0] == images[0]
    assert len(good) == 6
    (name, probability), *_ = Predictor(model.prefix).predict(images[0])
    assert good[1] == f"{100 * probability:7.2f} %  {name}"

    assert main(["--model", model.prefix, *bad, images[0]]) == 1
    output = capsys.readouterr()
    assert output.out.splitlines() == good
    reasons = output.err.splitlines()
    assert len(reasons) == 3
    assert all(line.startswith(f"predict.py: {path}: ") for path, line in zip(bad, reasons))


def test_tool(model: Model, images: list[str], tmp_path: pathlib.Path) -> None:
    def run(prefix: str) -> subprocess.CompletedProcess:
        command = [sys.executable, str(REPOSITORY / "tools" / "predict.py"), "--model", prefix, images[0]]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    done = run(model.prefix)
    assert (done.returncode, done.stderr) == (0, "")
    done = run(str(tmp_path / "none"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"predict.py: error: {tmp_path}/none-model.json: No such file or directory\n"
