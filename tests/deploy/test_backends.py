"""The predictor's backends: what they cost, what they import, and what they say of damaged files."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import psutil
import pytest

from gluon_resnet._mxnet import gluon, mx
from gluon_resnet.deploy import PartialCard, Predictor
from gluon_resnet.deploy.backend import BACKENDS
from gluon_resnet.deploy.export import export
from gluon_resnet.deploy.graph import load_graph
from gluon_resnet.errors import EnvironmentProblem, ModelError
from gluon_resnet.models.parameters import read_arrays
from tests.support.deployed import (
    DAMAGES,
    WEIGHT,
    Model,
    change_arrays,
    change_json,
    damaged_copy,
    make_model,
    truncate,
    write_convolution_read_twice,
    write_images,
)
from tests.support.paths import ROOT
from tests.support.pictures import picture

BOTH = pytest.mark.parametrize("backend", BACKENDS)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return make_model(tmp_path_factory.mktemp("model"), "resnet20", 32, 40, formats="both")


@pytest.fixture(scope="module")
def inputs() -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (20, 3, 32, 32)).astype(np.float32)


@BOTH
def test_memory_does_not_grow_over_calls_of_varying_sizes(
    model: Model, inputs: np.ndarray, backend: str
) -> None:
    predictor = Predictor(model.prefix, backend=backend)
    sizes = [int(size) for size in np.random.default_rng(0).integers(0, 21, 500)]
    seen = []
    for size in sizes:
        predictor.forward(inputs[:size])
        seen.append(psutil.Process().memory_info().rss)
    assert max(seen[100:]) - max(seen[:100]) < 20 << 20


def test_mxnet_has_few_executors_and_its_operators_are_fused(model: Model, inputs: np.ndarray) -> None:
    predictor = Predictor(model.prefix, batch_size=16)
    for size in range(21):
        predictor.forward(inputs[:size])
    executors = predictor._network._executors
    assert sorted(executors) == [1, 4, 16]
    for executor in executors.values():
        graph = json.loads(executor.get_optimized_symbol().tojson())
        operators = [node["op"] for node in graph["nodes"]]
        assert operators.count("_sg_mkldnn_conv") == 19
        assert not {"BatchNorm", "Activation", "elemwise_add"} & set(operators)


@pytest.mark.parametrize(
    ("backend", "missing"), [("onnx", ("mxnet", "onnx", "scipy")), ("mxnet", ("onnx", "onnxruntime"))]
)
def test_a_prediction_imports_no_other_backend_and_no_training_code(
    model: Model, tmp_path: pathlib.Path, backend: str, missing: tuple[str, ...]
) -> None:
    image = write_images(tmp_path)[0]
    program = f"""
import sys
sys.modules.update(dict.fromkeys({missing}))  # as if they were not installed
from gluon_resnet.deploy import Predictor
predictor = Predictor({model.prefix!r}, backend={backend!r})
print(len(predictor.predict({image!r})), predictor.probabilities([{image!r}], "10-crop").shape)
print([name for name in sys.modules if name.startswith(("gluon_resnet.training", "gluon_resnet.evaluation"))])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "5 (1, 12)\n[]\n"


def test_without_onnxruntime_a_sentence_says_what_to_install(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.delitem(sys.modules, "gluon_resnet.deploy.onnx_backend", raising=False)
    with pytest.raises(EnvironmentProblem, match=r"pip install 'gluon-resnet\[onnx\]'"):
        Predictor(model.prefix, backend="onnx")


@pytest.mark.parametrize("chosen", [None, "MKLDNN"])
def test_a_convolution_that_is_read_twice_is_not_fused_wrongly(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, chosen: str | None
) -> None:
    """GluonCV's CIFAR v2 nets have one; MXNet's fusion gives the shortcut the normalized values."""
    if chosen:
        monkeypatch.setenv("MXNET_SUBGRAPH_BACKEND", chosen)
    prefix = write_convolution_read_twice(tmp_path)
    predictor = Predictor(prefix, card=PartialCard(8))
    inputs = np.random.default_rng(1).uniform(0, 1, (2, 3, 8, 8)).astype(np.float32)
    net = load_graph(f"{prefix}-symbol.json", f"{prefix}-0000.params", predictor.card)
    expected = net(mx.nd.array(inputs)).asnumpy()
    np.testing.assert_allclose(predictor.forward(inputs), expected, rtol=0, atol=1e-4)
    assert os.environ.get("MXNET_SUBGRAPH_BACKEND") == chosen


@pytest.fixture(scope="module")
def quantized(model: Model, inputs: np.ndarray) -> tuple[str, np.ndarray]:
    """The model in INT8 by MXNet's own means, with what MXNet makes of the inputs."""
    symbol, parameters = f"{model.prefix}-symbol.json", f"{model.prefix}-0000.params"
    net = gluon.SymbolBlock.imports(symbol, ["data"], parameters)
    batches = mx.io.NDArrayIter(inputs, batch_size=10)
    options = {"quantized_dtype": "auto", "calib_mode": "naive", "num_calib_examples": 20, "ctx": mx.cpu()}
    net = mx.contrib.quantization.quantize_net(net, calib_data=batches, **options)
    net.hybridize(static_alloc=True, static_shape=True)
    expected = net(mx.nd.array(inputs)).asnumpy()
    net.export(f"{model.prefix}-int8")
    shutil.copy(f"{model.prefix}-model.json", f"{model.prefix}-int8-model.json")
    return f"{model.prefix}-int8", expected


def test_an_int8_model_is_run_as_it_is(
    model: Model, inputs: np.ndarray, quantized: tuple[str, np.ndarray]
) -> None:
    prefix, expected = quantized
    kinds = {array.dtype for array in read_arrays(f"{prefix}-0000.params").values()}
    assert {np.dtype("int8"), np.dtype("float32")} <= kinds
    predictor = Predictor(prefix)
    np.testing.assert_allclose(predictor.forward(inputs), expected, rtol=0, atol=1e-4)
    assert np.abs(expected - Predictor(model.prefix).forward(inputs)).max() > 1e-3  # it is another network
    contexts = [mx.cpu(0), mx.cpu(1)]
    net = load_graph(f"{prefix}-symbol.json", f"{prefix}-0000.params", model.card, contexts)
    for context in contexts:
        found = net(mx.nd.array(inputs, ctx=context)).asnumpy()
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


def test_features_of_an_int8_model_are_near_those_of_the_network(
    model: Model, quantized: tuple[str, np.ndarray]
) -> None:
    pictures = [picture(32, 32, seed) for seed in range(20)]
    found, expected = (Predictor(prefix).features(pictures) for prefix in (quantized[0], model.prefix))
    assert found.shape == (20, 64)
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.98


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_models(model: Model, tmp_path: pathlib.Path, damage: str) -> None:
    prefix, fault, words = damaged_copy(model.prefix, tmp_path, damage)
    with pytest.raises((ModelError, FileNotFoundError)) as caught:
        Predictor(prefix)
    assert fault in str(caught.value)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_parameter_of_another_type_is_refused(model: Model, tmp_path: pathlib.Path) -> None:
    prefix, *_ = damaged_copy(model.prefix, tmp_path, "no card")
    change_arrays(f"{prefix}-0000.params", {WEIGHT: np.zeros((12, 64))})
    with pytest.raises(ModelError, match=f"{WEIGHT}: expected float32, found float64") as caught:
        Predictor(prefix, card=model.card)
    assert caught.value.path == f"{prefix}-0000.params"


@pytest.mark.parametrize(
    ("size", "words"), [(0, "expected a graph"), (1000, "not a whole one"), (-1000, "not a whole one")]
)
def test_a_damaged_onnx_file(model: Model, tmp_path: pathlib.Path, size: int, words: str) -> None:
    path = tmp_path / "cut.onnx"
    path.write_bytes(pathlib.Path(f"{model.prefix}.onnx").read_bytes())
    truncate(str(path), size)
    with pytest.raises(ModelError, match=words) as caught:
        Predictor(tmp_path / "cut", backend="onnx", card=model.card)
    assert caught.value.path == str(path)
    assert "\n" not in str(caught.value)


def test_an_onnx_file_of_another_model(model: Model, tmp_path: pathlib.Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.onnx"):
        Predictor(tmp_path / "none", backend="onnx", card=model.card)
    with pytest.raises(ModelError, match=r"expected one input, 'data' of shape \(N, 3, 48, 48\)"):
        Predictor(model.prefix, backend="onnx", card=PartialCard(48))
    with pytest.raises(ModelError, match=r"expected the output 'logits' of shape \(N, 2\)"):
        Predictor(model.prefix, backend="onnx", card=PartialCard(32, classes=("a", "b")))


@pytest.mark.parametrize("network", ["resnet18", "resnet34"])
def test_maps_of_one_pixel(tmp_path: pathlib.Path, network: str) -> None:
    """MXNet's fused graph of pooling and a fully connected layer behind them fails at its second pass."""
    model = make_model(tmp_path, network, 32, 32)
    predictor = Predictor(model.prefix, batch_size=4)
    inputs = np.random.default_rng(0).uniform(0, 255, (7, 3, 32, 32)).astype(np.float32)
    expected = model.net(mx.nd.array(inputs)).asnumpy()
    for count in (4, 1, 7, 4):
        np.testing.assert_allclose(predictor.forward(inputs[:count]), expected[:count], rtol=0, atol=1e-4)


def test_onnx_files_of_an_earlier_export_are_not_taken_for_the_cards_network(
    model: Model, tmp_path: pathlib.Path
) -> None:
    output = str(tmp_path / "net")
    export(model.checkpoint, 3, output, "both")
    change_json(f"{output}-model.json", {"exported.formats": {"mxnet": "1.9.1"}})  # another network's
    with pytest.raises(ModelError, match="net-model.json: exported: expected the format onnx, found mxnet"):
        Predictor(output, backend="onnx")
    Predictor(output)
