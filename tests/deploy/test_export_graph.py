"""export.py of graphs that other MXNet programs have written: MXNet's model zoo, and such as insightface's."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from gluon_resnet._mxnet import mx
from gluon_resnet.card import ModelCard
from gluon_resnet.cli.export import main
from gluon_resnet.deploy import Predictor
from gluon_resnet.errors import ModelError, UsageError
from gluon_resnet.models.parameters import read_arrays, write_arrays
from tests.support.deployed import Model, make_model
from tests.support.paths import ROOT
from tests.support.pictures import encode, picture, write_records

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
NORMALIZED = ["--rgb-mean", ",".join(map(str, MEAN)), "--rgb-std", ",".join(map(str, STD))]
FAMILIES = {  # with the least size that each takes
    "resnet18_v1": 32,
    "resnet18_v2": 32,
    "vgg11": 32,
    "vgg11_bn": 32,
    "alexnet": 224,
    "densenet121": 224,
    "squeezenet1.0": 224,
    "inceptionv3": 299,
    "mobilenet0.25": 32,
    "mobilenetv2_0.25": 32,
}


def zoo_net(name: str, size: int) -> Any:
    """With random weights and statistics."""
    mx.random.seed(1)
    net = mx.gluon.model_zoo.vision.get_model(name, classes=7)
    net.initialize(mx.init.Xavier("gaussian", "in", 2))
    net(mx.nd.zeros((1, 3, size, size)))
    random = np.random.default_rng(1)
    for key, parameter in net.collect_params().items():
        low = {"gamma": 0.5, "running_var": 0.5, "beta": -0.3, "running_mean": -0.3}
        for end, least in low.items():
            if key.endswith(end):
                parameter.set_data(mx.nd.array(random.uniform(least, least + 1, parameter.shape)))
    return net


def exported(net: Any, prefix: pathlib.Path, size: int) -> str:
    net.hybridize()
    net(mx.nd.zeros((1, 3, size, size)))
    net.export(str(prefix), 3)
    return str(prefix)


def logits(path: str, images: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (found,) = session.run(["logits"], {"data": images})
    return found


def noise(count: int, size: int) -> np.ndarray:
    return np.random.default_rng(2).uniform(0, 255, (count, 3, size, size)).astype("float32")


def options(prefix: str, output: object, size: int) -> list[str]:
    shape = ["--image-shape", f"3,{size},{size}"]
    return ["--model-prefix", prefix, "--output", str(output), "--format", "onnx", *shape]


@pytest.mark.parametrize(("name", "size"), FAMILIES.items())
def test_a_family_of_mxnets_model_zoo(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture, name: str, size: int
) -> None:
    net = zoo_net(name, size)
    prefix = exported(net, tmp_path / "zoo", size)
    assert main([*options(prefix, tmp_path / "out", size), *NORMALIZED, "--verify"]) is None
    told = capsys.readouterr().out
    assert "4 images of noise: outputs up to " in told
    assert "; the same class for 4 of 4" in told
    images = noise(3, size)
    mean, std = (np.reshape(values, (1, 3, 1, 1)) for values in (MEAN, STD))
    expected = net(mx.nd.array((images - mean) / std)).asnumpy()
    assert expected.std() > 1e-3
    np.testing.assert_allclose(
        logits(f"{tmp_path}/out.onnx", images), expected, atol=1e-4 * np.abs(expected).max()
    )
    onnx.checker.check_model(f"{tmp_path}/out.onnx", full_check=True)
    found = Predictor(f"{tmp_path}/out", backend="onnx").logits([encode(picture(size, size), ".png")])
    assert found.shape == (1, 7)
    card = ModelCard.load(f"{tmp_path}/out-model.json")
    assert (card.size, len(card.classes), card.mean, card.std) == (size, 7, MEAN, STD)
    assert card.exported is not None
    assert list(card.exported.formats) == ["onnx"]


def embedding(folder: pathlib.Path) -> str:
    """A network like insightface's: (x - 127.5) / 128 inside, PReLU, fixed gammas, and a normalized row at the end."""
    x = (mx.sym.var("data") - 127.5) * 0.0078125
    for number in range(2):
        x = mx.sym.Convolution(
            x, kernel=(3, 3), stride=(2, 2), pad=(1, 1), num_filter=8, name=f"conv{number}"
        )
        x = mx.sym.BatchNorm(x, fix_gamma=bool(number), eps=2e-5, name=f"bn{number}")
        x = mx.sym.LeakyReLU(x, act_type="prelu", name=f"relu{number}")
    x = mx.sym.Dropout(mx.sym.BatchNorm(x, fix_gamma=False, eps=2e-5, name="bn_last"), p=0.4)
    x = mx.sym.FullyConnected(x, num_hidden=16, name="pre_fc1")
    x = mx.sym.BatchNorm(x, fix_gamma=True, eps=2e-5, name="fc1")
    x = mx.sym.L2Normalization(x, name="unit")
    arguments, _, states = x.infer_shape(data=(1, 3, 16, 16))
    random, arrays = np.random.default_rng(3), {}
    for kind, names, shapes in (
        ("arg", x.list_arguments(), arguments),
        ("aux", x.list_auxiliary_states(), states),
    ):
        for name, shape in zip(names, shapes):
            if name != "data":
                positive = name.endswith(("gamma", "var"))
                arrays[f"{kind}:{name}"] = random.uniform(0.5 if positive else -0.5, 1, shape).astype("f")
    x.save(str(folder / "face-symbol.json"))
    write_arrays(str(folder / "face-0000.params"), arrays)
    return str(folder / "face")


def test_a_network_like_insightfaces_on_real_images(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture
) -> None:
    prefix = embedding(tmp_path)
    records = write_records(tmp_path / "faces.rec", [encode(picture(20, 20, n)) for n in range(9)], [0] * 9)
    names = tmp_path / "names.txt"
    names.write_text("".join(f"dimension {n}\n" for n in range(16)))
    arguments = [*options(prefix, tmp_path / "out", 16), "--class-names", str(names), "--resize", "18"]
    assert main([*arguments, "--verify", records]) is None
    assert f"images of {records}: outputs up to " in capsys.readouterr().out
    images = noise(5, 16)
    symbol = mx.sym.load(f"{prefix}-symbol.json")
    arrays = {name[4:]: mx.nd.array(value) for name, value in read_arrays(f"{prefix}-0000.params").items()}
    states = {name: arrays.pop(name) for name in symbol.list_auxiliary_states()}
    bound = symbol.bind(mx.cpu(), {**arrays, "data": mx.nd.array(images)}, aux_states=states)
    found = logits(f"{tmp_path}/out.onnx", images)
    np.testing.assert_allclose(found, bound.forward()[0].asnumpy(), atol=1e-5)
    np.testing.assert_allclose((found**2).sum(axis=1), 1, rtol=1e-4)
    card = ModelCard.load(f"{tmp_path}/out-model.json")
    assert (card.resize, card.classes[1], card.network) == (18, "dimension 1", "unknown")


def test_a_difference_is_told_and_nothing_is_written(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gluon_resnet.deploy import onnx_operators

    wrong = {**onnx_operators.TRANSLATIONS, "L2Normalization": onnx_operators.TRANSLATIONS["_copy"]}
    monkeypatch.setattr("gluon_resnet.deploy.onnx_export.TRANSLATIONS", wrong)
    prefix = embedding(tmp_path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(
        ModelError, match=r"does not compute what MXNet's does: expected at most 0\.001 of the largest"
    ):
        main([*options(prefix, tmp_path / "out", 16), "--verify"])
    assert sorted(tmp_path.iterdir()) == before


def test_a_checkpoint_and_an_own_export_are_verified_too(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture
) -> None:
    model = make_model(tmp_path, "resnet8", 32, 36)
    checkpoint = ["--model-prefix", model.checkpoint, "--epoch", "3"]
    assert main([*checkpoint, "--output", f"{tmp_path}/a", "--format", "both", "--verify"]) is None
    own = ["--model-prefix", model.prefix, "--output", f"{tmp_path}/b", "--format", "onnx", "--verify"]
    assert main(own) is None
    assert capsys.readouterr().out.count("the same class for 4 of 4") == 2
    images = noise(2, 32)
    np.testing.assert_allclose(
        logits(f"{tmp_path}/a.onnx", images), logits(f"{tmp_path}/b.onnx", images), rtol=1e-5
    )
    a, b = (Predictor(f"{tmp_path}/{name}", backend="onnx") for name in "ab")
    assert a.card.classes == b.card.classes


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return make_model(tmp_path_factory.mktemp("model"), "resnet8", 32, 36)


def test_options_that_mean_nothing_together(tmp_path: pathlib.Path, model: Model) -> None:
    prefix, out = embedding(tmp_path), str(tmp_path / "out")
    for arguments, message in (
        (
            ["--model-prefix", prefix, "--output", out, "--image-shape", "3,16,16"],
            "MXNet's already: give --format onnx",
        ),
        ([*options(prefix, prefix, 16)], "its own card beside .*face-symbol.json: choose another output"),
        (["--model-prefix", model.checkpoint, "--output", out, "--verify"], "give --format onnx or both"),
        ([*options(model.checkpoint, out, 32)], "--image-shape is for a graph without a card"),
        (
            ["--model-prefix", model.checkpoint, "--output", out, "--format", "onnx", *NORMALIZED],
            "--rgb-mean is for a graph without a card",
        ),
    ):
        with pytest.raises(UsageError, match=message):
            main(arguments)
    with pytest.raises(
        ModelError, match=r"face-model\.json: No such file or directory: .* or give --image-shape"
    ):
        main(["--model-prefix", prefix, "--output", out, "--format", "onnx"])
    assert not list(tmp_path.glob("out*"))


def test_graphs_that_cannot_be_read_are_refused_in_a_sentence(tmp_path: pathlib.Path) -> None:
    prefix, out = embedding(tmp_path), tmp_path / "out"
    with pytest.raises(ModelError, match="parameter arg:pre_fc1_weight"):
        main(options(prefix, out, 32))  # of another size
    path = tmp_path / "face-symbol.json"
    content = json.loads(path.read_text())
    content["nodes"][-1]["op"] = "Custom"
    path.write_text(json.dumps(content))
    with pytest.raises(ModelError, match="Custom, the node 'unit'"):
        main(options(prefix, out, 16))


def test_the_zoos_were_found_equal() -> None:
    """results/onnx/parity.json, which benchmarks/onnx_parity.py has written: what is not equal has a reason."""
    rows = json.loads((ROOT / "results" / "onnx" / "parity.json").read_text(encoding="utf-8"))
    assert len(rows) > 20
    for name, row in rows.items():
        assert row.get("holds") is True or row["refused"], name
        assert "refused" in row or row["difference"] <= 1e-3 * row["largest"], name
