"""The file of predictions: what evaluate.py writes is what the networks answered, and nothing else is taken for it."""

from __future__ import annotations

import hashlib
import io
import json
import os

import numpy as np
import pytest

from gluon_resnet._mxnet import mx
from gluon_resnet.cli.evaluate import main
from gluon_resnet.data import EvalTransform, RecordFile
from gluon_resnet.errors import DataError
from gluon_resnet.evaluation.predictions import Predictions
from gluon_resnet.models.saved import load_network
from tests.support.deployed import Model, make_model
from tests.support.evaluate_tool import LABELS, PAYLOADS, pack


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return make_model(tmp_path_factory.mktemp("model"), "resnet8", 32, 36)


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("records")
    return [
        pack(folder / "a.rec", PAYLOADS[:20], LABELS[:20]),
        pack(folder / "b.rec", PAYLOADS[20:], LABELS[20:]),
    ]


@pytest.mark.parametrize(("batch", "threads"), [("7", "1"), ("64", "8")])
def test_each_record_has_the_answer_of_the_network(model, records, tmp_path, batch, threads):
    names = [tmp_path / "e.json", tmp_path / "p.npz"]
    options = ["--batch-size", batch, "--data-nthreads", threads, "--epoch", "3"]
    outputs = ["--output", str(names[0]), "--predictions", str(names[1])]
    main(["--model-prefix", model.checkpoint, "--data-val", *records, *options, *outputs])
    found = Predictions.load(str(names[1]))
    card, net = load_network(model.checkpoint, 3)
    transform = EvalTransform(card.resize, card.size)
    scores = net(mx.nd.array(np.stack([transform(payload) for payload in PAYLOADS]))).asnumpy()
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    assert (found.classes == probabilities.argmax(axis=1)).all()
    np.testing.assert_allclose(found.probabilities, probabilities.max(axis=1), rtol=1e-4)
    assert found.labels.tolist() == LABELS
    assert found.files.tolist() == [0] * 20 + [1] * 10
    files = [RecordFile(path) for path in records]
    assert found.keys.tolist() == [file.key(i) for file in files for i in range(len(file))]
    told = json.loads(names[0].read_text())
    assert told["top1_wrong"] == found.wrong.sum()
    digest = hashlib.sha256(names[1].read_bytes()).hexdigest()
    assert told["predictions"] == {"file": "p.npz", "sha256": digest}


def test_an_evaluation_that_fails_leaves_none(model, tmp_path):
    records = pack(tmp_path / "bad.rec", [*PAYLOADS[:3], b"no image"], LABELS[:4])
    path = tmp_path / "p.npz"
    with pytest.raises(DataError, match="bad.rec"):
        main(["--model-prefix", model.checkpoint, "--data-val", records, "--predictions", str(path)])
    assert not [name for name in os.listdir(tmp_path) if "npz" in name]


def some(images: int = 5) -> Predictions:
    random = np.random.default_rng(0)
    integers = (random.integers(0, 9, images).astype(kind) for kind in ("i4", "i8", "i4", "i4"))
    return Predictions(*integers, random.random(images).astype("f4"))


def test_what_is_written_is_read(tmp_path):
    ours, path = some(), tmp_path / "p.npz"
    path.write_bytes(ours.to_bytes())
    theirs = Predictions.load(str(path))
    for name, array in vars(ours).items():
        assert array.dtype == getattr(theirs, name).dtype
        np.testing.assert_array_equal(array, getattr(theirs, name))
    assert ours.same_images(theirs)
    theirs.labels[2] += 1
    assert not ours.same_images(theirs)
    assert not ours.same_images(some(4))


def damaged() -> dict[str, bytes]:
    whole = some().to_bytes()
    other = vars(some())
    return {
        "empty": b"",
        "text": b"{}",
        "cut": whole[:-30],
        "array": _npy(np.zeros(3)),
        "pickle": _npz(**{**other, "keys": np.array([object()] * 5)}),
        "missing": _npz(**{name: array for name, array in other.items() if name != "keys"}),
        "lengths": _npz(**{**other, "labels": np.zeros(4, "i4")}),
        "type": _npz(**{**other, "labels": np.zeros(5, "f8")}),
        "shape": _npz(**{**other, "labels": np.zeros((5, 1), "i4")}),
    }


def _npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def _npz(**arrays: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


@pytest.mark.parametrize("kind", damaged())
def test_a_damaged_file_is_named(tmp_path, kind):
    path = tmp_path / "p.npz"
    path.write_bytes(damaged()[kind])
    with pytest.raises(DataError, match="p.npz"):
        Predictions.load(str(path))
