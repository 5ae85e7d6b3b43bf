"""tools/quantize.py: a network that answers as in float32, its files and card, and what is refused."""

from __future__ import annotations

import pathlib
import shutil
from dataclasses import replace

import numpy as np
import pytest

from gluon_resnet._mxnet import mx
from gluon_resnet.card import ModelCard
from gluon_resnet.cli.quantize import main
from gluon_resnet.data import EvalTransform, Loader
from gluon_resnet.deploy import Predictor
from gluon_resnet.deploy.export import export
from gluon_resnet.deploy.quantize import MODES, quantize
from gluon_resnet.errors import DataError, ModelError, UsageError
from gluon_resnet.models import build_network
from gluon_resnet.models.parameters import read_arrays
from gluon_resnet.models.saved import save_network
from gluon_resnet.provenance import DataSet, Exported, MeasuredError
from tests.support.deployed import DAMAGES, Model, damaged_copy, make_model, read_json
from tests.support.pictures import encode, picture, write_records

IMAGES = 20
LAYERS = 20  # of resnet20


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return make_model(tmp_path_factory.mktemp("model"), "resnet20", 32, 40)


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The pictures that the batch normalization of `model` has seen."""
    path = tmp_path_factory.mktemp("records") / "train.rec"
    payloads = [encode(picture(40, 40, seed), ".png") for seed in range(IMAGES)]
    return write_records(path, payloads, [seed % 12 for seed in range(IMAGES)])


def pixels(card: ModelCard, count: int) -> np.ndarray:
    images = [picture(card.size, card.size, 50 + seed).transpose(2, 0, 1) for seed in range(count)]
    return np.array(images, np.float32)


def error(expected: np.ndarray, found: np.ndarray) -> float:
    """Root mean square of the difference, by that of what is expected."""
    return float(np.sqrt(np.mean((found - expected) ** 2) / np.mean(expected**2)))


@pytest.mark.parametrize("mode", MODES)
def test_int8_answers_as_float32_does(model: Model, records: str, tmp_path: pathlib.Path, mode: str) -> None:
    prefix = str(tmp_path / "int8")
    result = quantize(model.prefix, prefix, records, mode=mode, batches=2, batch_size=8)
    assert (result.layers, result.float_layers) == (LAYERS, ())
    inputs = pixels(model.card, 24)
    expected, found = (Predictor(p).forward(inputs) for p in (model.prefix, prefix))
    # Trained networks differ by 0.03, and by 0.1 without calibration. This one has a last layer that makes much of
    # the small differences that random weights leave between pictures.
    assert 0 < error(expected, found) < (1.0 if mode == "none" else 0.5)
    assert np.corrcoef(expected.ravel(), found.ravel())[0, 1] > (0.7 if mode == "none" else 0.85)


def test_a_sum_behind_a_relu_stays_float32_with_preactivation(records: str, tmp_path: pathlib.Path) -> None:
    """MXNet reads its uint8 as int8 there, and nothing is right any more."""
    card = ModelCard("resnet8", ("a", "b") * 6, 32, (123, 117, 104), (58, 57, 57), resize=40, variant="v2")
    mx.random.seed(1)
    net = build_network(card)
    net.initialize()
    run, prefix = str(tmp_path / "run"), str(tmp_path / "float")
    save_network(run, 0, card, net)
    export(run, 0, prefix)
    result = quantize(prefix, tmp_path / "int8", records, mode="naive", batches=2, batch_size=8)
    assert "resnet8_stage1_unit1_conv1" in result.float_layers
    inputs = pixels(card, 8)
    expected, found = (Predictor(p).forward(inputs) for p in (prefix, tmp_path / "int8"))
    assert error(expected, found) < 0.1


def test_all_batch_sizes_give_the_same(model: Model, records: str, tmp_path: pathlib.Path) -> None:
    prefix = str(tmp_path / "int8")
    quantize(model.prefix, prefix, records, mode="naive", batches=1, batch_size=8)
    inputs = pixels(model.card, 16)
    whole = Predictor(prefix, batch_size=16).forward(inputs)
    alone = np.concatenate([Predictor(prefix, batch_size=1).forward(row[None]) for row in inputs[:3]])
    np.testing.assert_array_equal(alone, whole[:3])
    np.testing.assert_array_equal(Predictor(prefix, batch_size=7).forward(inputs), whole)


def test_the_files_are_whole_and_of_int8(model: Model, records: str, tmp_path: pathlib.Path) -> None:
    prefix = str(tmp_path / "new" / "int8")
    quantize(model.prefix, prefix, records, mode="naive", batches=1, batch_size=8)
    names = {f"int8-{end}" for end in ("model.json", "symbol.json", "0000.params")}
    assert {path.name for path in (tmp_path / "new").iterdir()} == names
    arrays = read_arrays(f"{prefix}-0000.params")
    assert arrays["arg:resnet20_dense0_weight_quantize"].dtype == np.int8
    assert arrays["arg:resnet20_conv0_weight"].dtype == np.float32  # oneDNN quantizes it when it is loaded
    nodes = read_json(f"{prefix}-symbol.json")["nodes"]
    quantized = [node for node in nodes if str(node.get("attrs", {}).get("quantized")).lower() == "true"]
    assert len(quantized) == LAYERS


def test_the_same_images_give_the_same_bytes(model: Model, records: str, tmp_path: pathlib.Path) -> None:
    for name, threads in (("a", 1), ("b", 8)):
        quantize(
            model.prefix, tmp_path / name, records, mode="naive", batches=2, batch_size=8, threads=threads
        )
    for end in ("model.json", "0000.params"):
        assert (tmp_path / f"a-{end}").read_bytes() == (tmp_path / f"b-{end}").read_bytes()


def test_the_card_tells_how_it_was_made(model: Model, records: str, tmp_path: pathlib.Path) -> None:
    prefix = copied(model, tmp_path)
    data = DataSet(("val.rec",), 50, "0123456789abcdef")
    measured = MeasuredError(data, "1-crop", 3, "2026-11-21T18:30:00Z", 8.0, (7.5, 8.5), 5, 1.0, (0.5, 1.5))
    formats = {"mxnet": "1.9.1", "onnx": "opset 13"}
    before = replace(model.card, errors=(measured,), exported=Exported("0" * 64, formats))
    before.save(f"{prefix}-model.json")
    quantize(
        prefix, tmp_path / "int8", records, mode="naive", batches=9, batch_size=8, exclude=["resnet20_conv0"]
    )
    card = ModelCard.load(tmp_path / "int8-model.json")
    assert card.quantization == {
        "dtype": "int8",
        "mode": "naive",
        "int8_layers": LAYERS - 1,
        "float_layers": ["resnet20_conv0"],
        "calibration": {
            "file": "train.rec",
            "fingerprint": Loader(records, 1, EvalTransform(40, 32)).fingerprint,
            "images": 16,  # 2 whole batches
            "batch_size": 8,
        },
    }
    assert card.errors == ()  # they were measured in float32
    assert card.exported == Exported("0" * 64, {"mxnet": "1.9.1"})
    assert replace(card, quantization=None, errors=before.errors, exported=before.exported) == before


def test_a_model_without_a_card(model: Model, records: str, tmp_path: pathlib.Path) -> None:
    prefix, output = copied(model, tmp_path), str(tmp_path / "out")
    pathlib.Path(f"{prefix}-model.json").unlink()
    arguments = ["--model-prefix", prefix, "--output", output, "--calib-data", records]
    with pytest.raises(ModelError, match="-model.json: No such file .* give --image-shape"):
        main(arguments)
    card = ModelCard.load(f"{model.prefix}-model.json")
    main([*arguments, "--image-shape", f"3,{card.size},{card.size}", "--resize", str(card.resize)])
    written = ModelCard.load(f"{output}-model.json")
    assert (written.size, written.classes) == (card.size, tuple(map(str, range(len(card.classes)))))
    assert written.quantization


def test_fewer_images_than_a_batch_are_one(model: Model, records: str, tmp_path: pathlib.Path) -> None:
    result = quantize(model.prefix, tmp_path / "int8", records, mode="naive", batch_size=500)
    assert result.compared == IMAGES


def copied(model: Model, folder: pathlib.Path) -> str:
    for end in ("-symbol.json", "-0000.params", "-model.json"):
        shutil.copy(model.prefix + end, folder / f"copy{end}")
    return str(folder / "copy")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mode": "best"}, "mode: expected one of entropy, naive, none, found 'best'"),
        ({"batches": 0}, "at least 1 batch of at least 1 image, found 0 of 32"),
        ({"batch_size": 0}, "at least 1 batch of at least 1 image, found 10 of 0"),
        (
            {"exclude": ["conv9"]},
            "no layer 'conv9' to exclude: its layers are resnet20_conv0, resnet20_stage1",
        ),
    ],
)
def test_a_wrong_argument_is_named(
    model: Model, records: str, tmp_path: pathlib.Path, options: dict, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        quantize(model.prefix, tmp_path / "int8", records, **options)
    assert not list(tmp_path.iterdir())


def test_a_network_is_quantized_once_and_not_onto_itself(
    model: Model, records: str, tmp_path: pathlib.Path
) -> None:
    prefix, int8 = copied(model, tmp_path), str(tmp_path / "int8")
    with pytest.raises(UsageError, match="would overwrite"):
        quantize(prefix, tmp_path / "." / "copy", records)
    for folder in ("", str(tmp_path), f"{tmp_path}/"):
        with pytest.raises(UsageError, match="is a folder: add the beginning of the files' names"):
            quantize(prefix, folder, None, mode="none")
    with pytest.raises(UsageError, match="needs records"):
        quantize(prefix, int8, None)
    quantize(prefix, int8, None, mode="none")
    with pytest.raises(UsageError, match=r"int8-symbol.json: this network is already INT8"):
        quantize(int8, tmp_path / "again", records)
    card = replace(ModelCard.load(f"{int8}-model.json"), quantization=None)
    card.save(f"{int8}-model.json")
    with pytest.raises(UsageError, match="already INT8"):
        quantize(int8, tmp_path / "again", records)


def test_larger_images_are_cut_as_in_an_evaluation(model: Model, tmp_path: pathlib.Path) -> None:
    """A network that takes images as they are takes the centre of these."""
    prefix = copied(model, tmp_path)
    replace(model.card, resize=None).save(f"{prefix}-model.json")
    images = [picture(40, 40, seed) for seed in range(8)]
    for name, cut in (("whole", np.s_[:]), ("centre", np.s_[4:36, 4:36])):
        records = write_records(tmp_path / f"{name}.rec", [encode(image[cut], ".png") for image in images])
        result = quantize(prefix, tmp_path / name, records, mode="naive", batches=1, batch_size=8)
        assert result.compared == 8
    whole, centre = (read_arrays(f"{tmp_path}/{name}-0000.params") for name in ("whole", "centre"))
    assert all(np.array_equal(array, centre[name]) for name, array in whole.items())


def test_records_of_another_network_are_refused(model: Model, tmp_path: pathlib.Path) -> None:
    output = tmp_path / "int8"
    images = [encode(picture(40, 40, seed), ".png") for seed in range(4)]
    for labels in ([0, 1, 12, 2], [0, 1, -1, 2], [0, 1, 0.5, 2]):
        path = write_records(tmp_path / "labels.rec", images, labels)
        with pytest.raises(
            DataError, match=r"labels\.rec: record with key 2 at offset \d+: label .* 0 to 11"
        ):
            quantize(model.prefix, output, path, batch_size=4)
    path = write_records(tmp_path / "bad.rec", [images[0], b"no image", *images[2:]])
    with pytest.raises(DataError, match="bad.rec"):
        quantize(model.prefix, output, path)
    (tmp_path / "empty.rec").write_bytes(b"")
    with pytest.raises(DataError, match="empty.rec"):
        quantize(model.prefix, output, tmp_path / "empty.rec")
    assert not list(tmp_path.glob("int8*"))


@pytest.mark.parametrize("damage", ["missing parameter", "graph cut", "no params", "card cut"])
def test_a_damaged_model_is_named(model: Model, records: str, tmp_path: pathlib.Path, damage: str) -> None:
    assert damage in DAMAGES
    prefix, fault, _ = damaged_copy(model.prefix, tmp_path, damage)
    with pytest.raises((ModelError, OSError)) as caught:
        quantize(prefix, tmp_path / "int8", records)
    assert fault in str(caught.value)


def test_the_command_line(
    model: Model, records: str, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture
) -> None:
    prefix = str(tmp_path / "int8")
    arguments = ["--model-prefix", model.prefix, "--output", prefix]
    calibration = ["--calib-data", records, "--calib-mode", "naive", "--num-calib-batches", "1"]
    assert main([*arguments, *calibration, "--batch-size", "8"]) is None
    out = capsys.readouterr().out
    assert out.startswith(f"quantized {LAYERS} layers to {prefix}-symbol.json, {prefix}-0000.params")
    assert "of 8 calibration images" in out
    main([*arguments, "--calib-mode", "none", "--exclude", "resnet20_conv0", "resnet20_dense0"])
    out = capsys.readouterr().out
    assert f"quantized {LAYERS - 2} layers" in out
    assert "in float32: resnet20_conv0, resnet20_dense0" in out
    for wrong in ([], ["--calib-data", records, "--batch-size", "0"], ["--calib-mode", "best"]):
        with pytest.raises(SystemExit) as caught:
            main([*arguments, *wrong])
        assert caught.value.code == 2
