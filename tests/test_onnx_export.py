"""ONNX files: onnxruntime gives the logits of the network, and the file says what it is."""

from __future__ import annotations

import json
import pathlib
import re
import shutil
import subprocess
import sys
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from conftest import picture
from deployed import Model, make_model, read_json

from gluon_resnet import __version__
from gluon_resnet._mxnet import mx
from gluon_resnet.deploy import export, onnx_export
from gluon_resnet.deploy.onnx_export import write_onnx
from gluon_resnet.errors import UsageError
from gluon_resnet.models import model_names

# Sizes are small where the layers take any; of the rivals that take one, the memory of MXNet's training decides.
CIFAR = [name for name in model_names() if re.fullmatch(r"(resnet|plain)(20|32|44|56|110|1202)", name)]
IMAGENET = [name for name in model_names() if name not in CIFAR and name.startswith(("resnet", "plain"))]
INCEPTION = ["googlenet", "bn_inception"]
FULLY_CONNECTED = [name for name in model_names() if name.startswith(("vgg", "prelu_net"))]

FAST = [
    ("resnet20", 32, {}),
    ("resnet20", 32, {"shortcut": "B", "per_pixel_mean": True}),
    ("resnet20", 32, {"shortcut": "C", "variant": "v2"}),
    ("resnet20", 32, {"variant": "v2"}),
    ("resnet20", 32, {"variant": "gluoncv_v1"}),
    ("resnet20", 32, {"variant": "gluoncv_v2"}),
    ("plain20", 32, {}),
    ("resnet18", 64, {"shortcut": "A"}),
    ("resnet50", 64, {"variant": "v1b"}),
    ("resnet50", 72, {"variant": "v2"}),
    ("googlenet", 68, {}),
    ("bn_inception", 64, {}),
]
VARIANTS = [("resnet", variant) for variant in ("v1", "v1b", "v2")] + [("plain", "v1"), ("plain", "v1b")]
ALL = [
    *(
        (name, size, {"variant": variant, "shortcut": shortcut})
        for names, size in ((CIFAR, 32), (IMAGENET, 64))
        for name in names
        for family, variant in VARIANTS
        if name.startswith(family)
        for shortcut in (("A", "B", "C") if family == "resnet" and "1202" not in name else (None,))
    ),
    *((name, 224, {}) for name in ("resnet50", *INCEPTION, *FULLY_CONNECTED)),
    *((name, 32, {"per_pixel_mean": True}) for name in ("resnet56", "plain20")),
    *(("resnet110", 32, {"variant": variant}) for variant in ("gluoncv_v1", "gluoncv_v2")),
]


def describe(case: Any) -> str:
    return "-".join(str(value) for value in case.values()) or "plain" if isinstance(case, dict) else str(case)


def run(path: str, inputs: np.ndarray) -> list[np.ndarray]:
    """Logits and features by onnxruntime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(["logits", "features"], {"data": inputs})


def pictures(count: int, size: int) -> np.ndarray:
    return np.stack([picture(size, size, 100 + i).transpose(2, 0, 1) for i in range(count)]).astype(
        np.float32
    )


def kinds(path: str) -> list[str]:
    return [node.op_type for node in onnx.load(path).graph.node]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A network whose file has both batch normalization that is folded and some that is not."""
    model = make_model(tmp_path_factory.mktemp("model"), "resnet20", 32, 40, variant="v2")
    export(model.checkpoint, 3, model.prefix, "both")
    return model


def assert_same_in_onnxruntime(
    folder: pathlib.Path, network: str, size: int, options: dict[str, Any]
) -> None:
    large = network in FULLY_CONNECTED
    model = make_model(folder, network, size, size, batch=1 if large else 4, **options)
    export(model.checkpoint, 3, model.prefix, "onnx")
    onnx.checker.check_model(f"{model.prefix}.onnx", full_check=True)
    # MXNet takes 6 GiB for two images of a PReLU-net.
    for count in (1,) if network.startswith("prelu_net") else (1, 3):
        inputs = pictures(count, size)
        logits, features = run(f"{model.prefix}.onnx", inputs)
        normalized = model.net[0](mx.nd.array(inputs))
        expected = model.net[1].features(normalized).reshape((count, -1))
        np.testing.assert_allclose(
            features, expected.asnumpy(), rtol=1e-4, atol=1e-4 * expected.max().asscalar()
        )
        expected = model.net(mx.nd.array(inputs)).asnumpy()
        assert expected.std() > 0.1  # 1e-4 means something
        np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("network", "size", "options"), FAST, ids=describe)
def test_onnxruntime_gives_the_networks_logits(
    tmp_path: pathlib.Path, network: str, size: int, options: dict[str, Any]
) -> None:
    assert_same_in_onnxruntime(tmp_path, network, size, options)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("network", "size", "options"), ALL, ids=describe)
def test_onnxruntime_gives_every_networks_logits(
    tmp_path: pathlib.Path, network: str, size: int, options: dict[str, Any]
) -> None:
    try:
        assert_same_in_onnxruntime(tmp_path, network, size, options)
    finally:
        shutil.rmtree(tmp_path)  # up to 4 GB


def test_every_network_of_the_registry_is_tested() -> None:
    assert {name for name, *_ in ALL} == set(model_names())


def test_the_file_says_what_it_is(model: Model) -> None:
    file = onnx.load(f"{model.prefix}.onnx")
    assert (file.producer_name, file.producer_version) == ("gluon-resnet", __version__)
    assert [(opset.domain, opset.version) for opset in file.opset_import] == [("", 13)]
    assert file.ir_version == 7
    card = read_json(f"{model.prefix}-model.json")
    metadata = {entry.key: entry.value for entry in file.metadata_props}
    assert metadata.keys() == card.keys()
    assert metadata["network"] == "resnet20"
    for name, value in card.items():
        assert value == (metadata[name] if isinstance(value, str) else json.loads(metadata[name]))


def test_the_number_of_images_is_free_and_weights_are_no_inputs(model: Model) -> None:
    graph = onnx.load(f"{model.prefix}.onnx").graph

    def shapes(values: Any) -> dict[str, list[Any]]:
        return {
            value.name: [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim]
            for value in values
        }

    assert shapes(graph.input) == {"data": ["N", 3, 32, 32]}
    assert shapes(graph.output) == {"logits": ["N", 12], "features": ["N", 64]}
    assert list(shapes(graph.output)) == ["logits", "features"]
    between = shapes(graph.value_info)
    assert {name for node in graph.node for name in node.output} == {*between, "logits", "features"}
    assert all(shape[0] == "N" for shape in between.values())
    read = {name for node in graph.node for name in node.input}
    assert {weight.name for weight in graph.initializer} < read  # none that nobody needs


def test_only_batch_normalization_before_convolutions_is_left(model: Model, tmp_path: pathlib.Path) -> None:
    # v2: the first of each unit but the first unit's, which the stem's takes the place of, and the last one.
    assert kinds(f"{model.prefix}.onnx").count("BatchNormalization") == 9
    other = make_model(tmp_path, "resnet20", 32, 32)
    export(other.checkpoint, 3, other.prefix, "onnx")
    assert set(kinds(f"{other.prefix}.onnx")) == {
        *("Sub", "Div", "Conv", "Relu", "Add", "AveragePool", "Unsqueeze", "Pad", "Squeeze"),
        *("GlobalAveragePool", "Flatten", "Gemm"),
    }


def X(**options: Any) -> Any:
    return mx.sym.var("data", **options)


def written(tmp_path: pathlib.Path, symbol: Any, size: int, **values: Any) -> tuple[str, Any]:
    """The file of `symbol` and a fully connected layer, whose weights are random but for `values`; and MXNet's function."""
    symbol = mx.sym.FullyConnected(symbol, num_hidden=5, name="last")
    arguments, _, states = symbol.infer_shape(data=(1, 3, size, size))
    random = np.random.default_rng(3)
    parameters = {
        name: np.asarray(values.get(name, random.uniform(0.5, 1.5, shape)), np.float32).reshape(shape)
        for names, shapes in ((symbol.list_arguments(), arguments), (symbol.list_auxiliary_states(), states))
        for name, shape in zip(names, shapes)
        if name != "data"
    }
    path = str(tmp_path / "a.onnx")
    write_onnx(path, symbol, parameters, size, {})

    def forward(inputs: np.ndarray) -> np.ndarray:
        arrays = {name: mx.nd.array(value) for name, value in parameters.items()}
        states = {name: arrays.pop(name) for name in symbol.list_auxiliary_states()}
        return (
            symbol.bind(mx.cpu(), {**arrays, "data": mx.nd.array(inputs)}, aux_states=states)
            .forward()[0]
            .asnumpy()
        )

    return path, forward


SYM = mx.sym
OPERATORS = {
    "dilated convolution": SYM.Convolution(
        X(), kernel=(3, 3), num_filter=4, dilate=(2, 2), pad=(2, 1), stride=(2, 1)
    ),
    "grouped convolution": SYM.Convolution(X(), kernel=(1, 3), num_filter=6, num_group=3, no_bias=True),
    "max pooling": SYM.Pooling(X(), kernel=(3, 2), pool_type="max", stride=(2, 3), pad=(1, 0)),
    "max pooling, rounded up": SYM.Pooling(
        X(), kernel=(3, 3), pool_type="max", stride=(2, 2), pooling_convention="full"
    ),
    "max pooling, overlapping": SYM.Pooling(X(), kernel=(5, 5), pool_type="max"),
    "average with the padding": SYM.Pooling(X(), kernel=(3, 3), pool_type="avg", pad=(1, 1), stride=(2, 2)),
    "average without": SYM.Pooling(X(), kernel=(3, 3), pool_type="avg", pad=(1, 1), count_include_pad=False),
    "global maximum": SYM.Pooling(X(), global_pool=True, pool_type="max", kernel=(1, 1)),
    "adaptive pooling": SYM.contrib.AdaptiveAvgPooling2D(X(), output_size=1),
    "local response normalization": SYM.LRN(X(), nsize=3, alpha=0.5, beta=0.6, knorm=1.5),
    "slopes of maps": SYM.LeakyReLU(X() - 100, act_type="prelu", gamma=SYM.var("slope", shape=(3,))),
    "slopes of a row": SYM.LeakyReLU(
        SYM.Flatten(X() - 100), act_type="prelu", gamma=SYM.var("slope", shape=(243,))
    ),
    "channels of zeros": SYM.squeeze(
        SYM.Pad(
            SYM.expand_dims(X(), axis=1),
            mode="constant",
            constant_value=3,
            pad_width=(0, 0, 0, 0, 1, 2, 0, 0, 0, 0),
        ),
        axis=1,
    ),
    "branches": SYM.concat(X(), SYM.Activation(X(), act_type="relu"), dim=1),
    "dropout": SYM.Dropout(X(), p=0.9),
    "fully connected layers": SYM.FullyConnected(
        SYM.FullyConnected(X(), num_hidden=7), num_hidden=6, no_bias=True
    ),
    "normalization of the input": SYM.BatchNorm(X(), fix_gamma=False),
    "scale left out": SYM.BatchNorm(X(), fix_gamma=True, eps=0.5),
    "scale left out, folded": SYM.BatchNorm(
        SYM.Convolution(X(), kernel=(3, 3), num_filter=4), fix_gamma=True
    ),
}
