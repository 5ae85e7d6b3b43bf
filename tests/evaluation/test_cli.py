"""tools/evaluate.py from the outside: what it prints and writes."""

from __future__ import annotations

import csv
import json
import pathlib

import numpy as np
import pytest

from gluon_resnet._mxnet import mx
from gluon_resnet.card import ModelCard
from gluon_resnet.cli import evaluate as command
from gluon_resnet.cli.evaluate import main
from gluon_resnet.data import EvalTransform
from gluon_resnet.errors import UsageError
from gluon_resnet.evaluation.intervals import interval
from gluon_resnet.evaluation.predictions import Predictions
from gluon_resnet.models import build_network
from gluon_resnet.models.saved import load_network, save_network
from tests.support.deployed import Model, make_model
from tests.support.evaluate_tool import CLASSES, LABELS, PAYLOADS, evaluated, pack, tool
from tests.support.pictures import write_records


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A checkpoint of epoch 3, and its export."""
    return make_model(tmp_path_factory.mktemp("model"), "resnet8", 32, 36)


@pytest.fixture
def records(tmp_path: pathlib.Path) -> str:
    return pack(tmp_path / "val.rec")


@pytest.fixture
def options(model: Model, records: str) -> list[str]:
    return ["--model-prefix", model.checkpoint, "--data-val", records]


@pytest.mark.parametrize("cpus", ["1", "2"])
def test_recomputed_statistics_are_those_of_the_records(model, options, tmp_path, capsys, cpus):
    """With one batch, a network in inference mode then answers as one in training mode does to that batch."""
    payloads, labels = PAYLOADS[::2], LABELS[::2]
    training = pack(tmp_path / "train.rec", payloads, labels)
    kept = tmp_path / "kept.npz"
    options = ["--model-prefix", model.checkpoint, "--data-val", training, "--epoch", "3", "--cpus", cpus]
    batch = ["--batch-size", "15", "--recompute-statistics", training]
    before = pathlib.Path(f"{model.checkpoint}-0003.params").read_bytes()
    found = evaluated(capsys, *options, *batch, "--predictions", str(kept))
    assert found["recomputed_statistics"] == [training]
    assert pathlib.Path(f"{model.checkpoint}-0003.params").read_bytes() == before
    card, net = load_network(model.checkpoint, 3)
    images = mx.nd.array(np.stack([card_pixels(card, payload) for payload in payloads]))
    probabilities = Predictions.load(str(kept)).probabilities
    if cpus == "1":  # otherwise each device's part was normalized by its own statistics
        with mx.autograd.train_mode():
            expected = net(images).softmax().max(axis=1).asnumpy()
        np.testing.assert_allclose(probabilities, expected, rtol=1e-3)
    assert evaluated(capsys, *options, "--predictions", str(kept))["recomputed_statistics"] == []
    assert not np.allclose(Predictions.load(str(kept)).probabilities, probabilities, rtol=1e-2)
    assert main([*options, *batch]) is None
    assert f"statistics of batch normalization: those of {training}" in capsys.readouterr().out


def test_standard_output_is_one_json_object(model, options, records, tmp_path):
    process = tool(*options, "--epoch", "3", "--json", "--output", "o.json", cwd=tmp_path)
    out, err = process.communicate(timeout=600)
    assert (process.returncode, err) == (0, "")
    result = json.loads(out)
    assert result == json.loads((tmp_path / "o.json").read_text())
    card, net = load_network(model.checkpoint, 3)
    wrong = [0, 0]
    for payload, label in zip(PAYLOADS, LABELS):
        scores = net(mx.nd.array(card_pixels(card, payload)[None]))[0].asnumpy()
        rank = int((scores >= scores[label]).sum()) - 1
        wrong = [wrong[0] + (rank >= 1), wrong[1] + (rank >= 5)]
    assert result["images"] == 30
    assert result["top1_error"] == pytest.approx(100 * wrong[0] / 30)
    assert result["topk_error"] == pytest.approx(100 * wrong[1] / 30)
    assert result["top1_interval"] == pytest.approx(interval(wrong[0], 30))
    assert result["topk_interval"] == pytest.approx(interval(wrong[1], 30))
    assert (result["protocol"], result["scales"], result["data"]) == ("1-crop", None, [records])
    (network,) = result["networks"]
    assert network["parameters"] == f"{model.checkpoint}-0003.params"
    assert (network["network"], network["epoch"], network["exported"]) == ("resnet8", 3, False)
    assert "evaluate.py --model-prefix" in result["command"]


def card_pixels(card: ModelCard, payload: bytes) -> np.ndarray:
    return EvalTransform(card.resize, card.size)(payload)


def test_the_table_and_the_files(options, tmp_path, capsys):
    confusion = tmp_path / "c.csv"
    assert main([*options, "--per-class", "--confusion", str(confusion)]) is None
    out = capsys.readouterr().out
    result = evaluated(capsys, *options, "--per-class")
    assert f"{result['top1_error']:.2f} %" in out
    assert "30 images" in out
    assert "Table" not in out
    with open(confusion, newline="", encoding="utf-8") as stream:
        (corner, *answers), *rows = csv.reader(stream)
    assert (corner, answers, [name for name, *_ in rows]) == ("label \\ answer", CLASSES, CLASSES)
    matrix = np.array([list(map(int, row[1:])) for row in rows])
    assert (matrix.sum(axis=1) == np.bincount(LABELS, minlength=12)).all()
    assert matrix.sum() - np.trace(matrix) == result["top1_wrong"]
    for row, counts, line in zip(result["per_class"], matrix, out.splitlines()[-12:]):
        label = CLASSES.index(row["class"])
        assert row["images"] == counts.sum()
        assert row["error"] == pytest.approx(100 - 100 * counts[label] / counts.sum())
        if row["times"]:
            assert counts[CLASSES.index(row["confused_with"])] == row["times"]
        assert line.startswith(row["class"])
        assert f"{row['error']:.2f} %" in line


@pytest.fixture
def cifar(tmp_path: pathlib.Path) -> list[str]:
    """A net of Table 6, untrained, and records of ten classes."""
    card = ModelCard("resnet20", tuple(map(str, range(10))), 32, (125.0, 123.0, 114.0), (63.0, 62.0, 67.0))
    net = build_network(card)
    net.initialize()
    save_network(tmp_path / "net", 0, card, net)
    path = write_records(tmp_path / "cifar.rec", PAYLOADS[:10], list(range(10)))
    return ["--model-prefix", str(tmp_path / "net"), "--data-val", path]


def test_the_papers_row_stands_beside_ours(cifar, options, capsys):
    assert main(cifar) is None
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("He et al. 2015")]
    assert line.split("  ")[0] == "He et al. 2015, Table 6, ResNet, CIFAR-10 test"
    assert line.split()[-2:] == ["8.75", "%"]
    row = evaluated(capsys, *cifar)["paper"]
    assert (row["citation"], row["layers"], row["top1_error"]) == ("He et al. 2015, Table 6", 20, 8.75)
    assert evaluated(capsys, *options)["paper"] is None  # 12 classes: something else was tested on


@pytest.mark.parametrize(
    ("network", "shortcut", "variant", "classes", "protocol", "networks", "expected"),
    [
        ("resnet34", None, "v1", 1000, "10-crop", 1, (3, 24.52)),
        ("resnet34", "A", "v1", 1000, "10-crop", 1, (3, 25.03)),
        ("plain18", None, "v1", 1000, "10-crop", 1, (2, 27.94)),
        ("resnet152", None, "v1", 1000, "multi-scale", 1, (4, 19.38)),
        ("resnet152", None, "v1", 1000, "multi-scale", 2, (5, None)),
        ("resnet110", None, "v1", 10, "1-crop", 1, (6, 6.43)),
        ("resnet152", None, "v1", 1000, "1-crop", 1, None),
        ("resnet152", None, "v1b", 1000, "10-crop", 1, None),
        ("resnet152", None, "v1", 37, "10-crop", 1, None),
        ("resnet20", "B", "v1", 10, "1-crop", 1, None),
        ("resnet20", None, "v1", 10, "1-crop", 2, None),
    ],
)
def test_which_row_of_the_paper(network, shortcut, variant, classes, protocol, networks, expected):
    names = tuple(map(str, range(classes)))
    card = ModelCard(network, names, 224, (0, 0, 0), (1, 1, 1), shortcut=shortcut, variant=variant)
    row = command.paper_row([card] * networks, protocol)
    assert (row and (row.table, row.top1_error)) == expected


@pytest.mark.parametrize("protocol", ["1-crop", "10-crop", "multi-scale --scales 32,40"])
def test_devices_and_batches_change_nothing(options, capsys, protocol):
    chosen = [*options, "--protocol", *protocol.split()]
    one = evaluated(capsys, *chosen)
    other = evaluated(capsys, *chosen, "--cpus", "3", "--batch-size", "4", "--data-nthreads", "8")
    assert {**one, "command": ""} == {**other, "command": ""}
    assert one["scales"] == ([32, 40] if "scales" in protocol else None)


@pytest.mark.parametrize("protocol", ["1-crop", "10-crop"])
def test_an_export_is_evaluated_as_its_checkpoint(model, options, records, capsys, protocol):
    exported = evaluated(
        capsys, "--model-prefix", model.prefix, "--data-val", records, "--protocol", protocol, "--cpus", "2"
    )
    checkpoint = evaluated(capsys, *options, "--protocol", protocol)
    for key in ("top1_wrong", "topk_wrong", "images"):
        assert exported[key] == checkpoint[key]
    assert exported["networks"][0]["exported"]


def test_a_converted_checkpoint_of_epoch_0_is_no_export(model, records, tmp_path, capsys):
    card, net = load_network(model.checkpoint, 3)
    save_network(tmp_path / "new", 0, card, net)
    result = evaluated(capsys, "--model-prefix", str(tmp_path / "new"), "--epoch", "0", "--data-val", records)
    assert not result["networks"][0]["exported"]


def test_ensembles_of_one_epoch_or_one_each(model, options, records, tmp_path, capsys):
    one = evaluated(capsys, *options)
    twice = ["--model-prefix", model.checkpoint, model.checkpoint, "--data-val", records]
    same = evaluated(capsys, *twice, "--epoch", "3")
    assert (same["top1_wrong"], same["topk_wrong"]) == (one["top1_wrong"], one["topk_wrong"])
    pair = ["--model-prefix", model.checkpoint, model.prefix, "--data-val", records]
    both = evaluated(capsys, *pair, "--epoch", "3", "0")
    assert [network["epoch"] for network in both["networks"]] == [3, 0]
    assert both["top1_wrong"] == one["top1_wrong"]
    with pytest.raises(UsageError, match="one for all or one for each of 2 networks, found 3"):
        main([*pair, "--epoch", "3", "0", "1"])


def test_several_record_files_count_together(options, records, tmp_path, capsys):
    more = pack(tmp_path / "more.rec", PAYLOADS[:7], LABELS[:7])
    result = evaluated(capsys, *options, more)
    assert result["images"] == 37
    assert result["top1_wrong"] == sum(
        evaluated(capsys, *options[:2], "--data-val", path)["top1_wrong"] for path in (records, more)
    )


def test_of_four_classes_the_top_four_are_right_and_not_shown(tmp_path, capsys):
    card = ModelCard(network="resnet8", classes=tuple("0123"), size=32, mean=(0.0,) * 3, std=(1.0,) * 3)
    net = build_network(card)
    net.initialize()
    save_network(tmp_path / "four", 0, card, net)
    records = pack(tmp_path / "four.rec", PAYLOADS[:8], [0, 1, 2, 3] * 2, ["a", "b", "c", "d, e"])
    arguments = ["--model-prefix", str(tmp_path / "four"), "--data-val", records]
    result = evaluated(capsys, *arguments, "--per-class")
    assert (result["topk_error"], result["top_k"]) == (0, 4)
    assert [row["class"] for row in result["per_class"]] == ["a", "b", "c", "d, e"]  # the card has numbers
    assert main(arguments) is None
    out = capsys.readouterr().out
    assert "top-1 error" in out
    assert "top-4" not in out  # none can be wrong
