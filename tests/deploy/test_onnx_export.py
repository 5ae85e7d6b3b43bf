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

from gluon_resnet import __version__
from gluon_resnet._mxnet import mx
from gluon_resnet.data._native import graph_operators
from gluon_resnet.deploy import onnx_export
from gluon_resnet.deploy.export import export
from gluon_resnet.deploy.graph import read_graph
from gluon_resnet.deploy.onnx_check import check_model
from gluon_resnet.deploy.onnx_export import write_onnx
from gluon_resnet.deploy.onnx_operators import TRANSLATIONS
from gluon_resnet.errors import UsageError
from gluon_resnet.models import model_names
from tests.support.deployed import Model, make_model, read_json
from tests.support.pictures import picture

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
    return np.stack([picture(size, size, i).transpose(2, 0, 1) for i in range(count)]).astype(np.float32)


def kinds(path: str) -> list[str]:
    return [node.op_type for node in onnx.load(path).graph.node]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A network whose file has both batch normalization that is folded and some that is not."""
    model = make_model(tmp_path_factory.mktemp("model"), "resnet20", 32, 40, variant="v2")
    export(model.checkpoint, 3, model.prefix, "both")
    return model


def largest_differences(a: list[list[np.ndarray]], b: list[list[np.ndarray]]) -> list[float]:
    """Of the logits, and of the features, in all batches."""
    return [max(np.abs(x[i] - y[i]).max() for x, y in zip(a, b)) for i in range(2)]


def outputs(net: Any, inputs: np.ndarray) -> list[np.ndarray]:
    """Logits and features by MXNet."""
    features = net[1].features(net[0](mx.nd.array(inputs)))
    return [net[1].output(features).asnumpy(), features.reshape((len(inputs), -1)).asnumpy()]


def random_statistics(net: Any) -> None:
    random = np.random.default_rng(5)
    for name, parameter in net.collect_params().items():
        if name.endswith("running_mean"):
            parameter.set_data(mx.nd.array(random.uniform(-0.3, 0.3, parameter.shape)))
        elif name.endswith("running_var"):
            parameter.set_data(mx.nd.array(random.uniform(0.7, 1.5, parameter.shape)))


def pictures_statistics(net: Any) -> None:
    """For deep networks, which overflow with any others."""
    net.apply(lambda block: hasattr(block, "running_mean") and block._kwargs.update(momentum=0))
    with mx.autograd.record():
        logits = net(mx.nd.array(pictures(4, 32)))
    logits.backward()  # which is what sets them


def pass_on(net: Any) -> None:
    """Let each layer pass on most of what it sees: else rounding errors are all that is left of a deep plain net."""
    for name, parameter in net.collect_params().items():
        value = parameter.data().asnumpy()
        if value.ndim == 4 and value.shape[0] == value.shape[1]:
            value *= 0.1
            value[range(len(value)), range(len(value)), 1, 1] += 1
        elif name.endswith("beta"):
            value += 2
        parameter.set_data(mx.nd.array(value))
    pictures_statistics(net)


def assert_same_in_onnxruntime(
    folder: pathlib.Path, network: str, size: int, options: dict[str, Any]
) -> None:
    together = 1 if network in FULLY_CONNECTED else 4
    deep = re.fullmatch("resnet(110|152|1202)|plain(32|34|44|56|101|110|152|1202)", network)
    prepare = random_statistics
    if deep and network in CIFAR:
        prepare = pass_on if network.startswith("plain") else pictures_statistics
    model = make_model(folder, network, size, size, together=together, prepare=prepare, **options)
    export(model.checkpoint, 3, model.prefix, "onnx")
    onnx.checker.check_model(f"{model.prefix}.onnx", full_check=True)
    # Both are files that predictors read.
    check_model(pathlib.Path(f"{model.prefix}.onnx").read_bytes(), size)
    read_graph(f"{model.prefix}-symbol.json", f"{model.prefix}-0000.params", size, len(model.card.classes))
    # MXNet takes 6 GiB for two images of a PReLU-net.
    batches = [pictures(count, size) for count in ((1,) if network.startswith("prelu_net") else (1, 3))]
    found = [run(f"{model.prefix}.onnx", inputs) for inputs in batches]
    expected = [outputs(model.net, inputs) for inputs in batches]
    assert all(logits.std() > 0.1 for logits, _ in expected)  # 1e-4 means something
    tolerances = [1e-4, 1e-4 * max(features.max() for _, features in expected)]
    differences = largest_differences(found, expected)
    if all(a <= b for a, b in zip(differences, tolerances)):
        return
    # With random weights, rounding errors grow from layer to layer: MXNet's own are as large then.
    assert deep, differences
    model.net.cast("float64")
    exact = [outputs(model.net, inputs) for inputs in batches]
    ours, mxnets = largest_differences(found, exact), largest_differences(expected, exact)
    assert all(a <= 4 * b for a, b in zip(ours, mxnets)), (ours, mxnets)


@pytest.mark.parametrize(("network", "size", "options"), FAST, ids=describe)
def test_onnxruntime_gives_the_networks_logits(
    tmp_path: pathlib.Path, network: str, size: int, options: dict[str, Any]
) -> None:
    assert_same_in_onnxruntime(tmp_path, network, size, options)


@pytest.mark.slow
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


def written(tmp_path: pathlib.Path, symbol: Any, size: int, **values: Any) -> tuple[str, Any, Any]:
    """The file of `symbol` and a fully connected layer, MXNet's function, and the weights: random but for `values`."""
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

    return path, forward, parameters


SYM = mx.sym
IMAGES = X()
PLAIN = {"fix_gamma": False, "eps": 1e-5}
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
    "slopes of maps": SYM.LeakyReLU(X(), act_type="prelu", gamma=SYM.var("slope", shape=(3,))),
    "slopes of a row": SYM.LeakyReLU(
        SYM.Flatten(X()), act_type="prelu", gamma=SYM.var("slope", shape=(243,))
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
    "branches": SYM.concat(IMAGES, SYM.Activation(IMAGES, act_type="relu"), dim=1),
    "dropout": SYM.Dropout(X(), p=0.9),
    "fully connected layers": SYM.FullyConnected(
        SYM.FullyConnected(X(), num_hidden=7), num_hidden=6, no_bias=True
    ),
    "normalization of the input": SYM.BatchNorm(X(), fix_gamma=False),
    "scale left out": SYM.BatchNorm(X(), fix_gamma=True, eps=0.5),
    "scale left out, folded": SYM.BatchNorm(
        SYM.Convolution(X(), kernel=(3, 3), num_filter=4), fix_gamma=True
    ),
    "normalization of a row": SYM.BatchNorm(SYM.FullyConnected(X(), num_hidden=6), **PLAIN),
    "normalization of an image": SYM.InstanceNorm(X(), eps=0.1),
    **{
        f"lengths of an {mode}": SYM.L2Normalization(X(), mode=mode, eps=0.3)
        for mode in ("instance", "channel", "spatial")
    },
    "length of a row": SYM.L2Normalization(SYM.FullyConnected(X(), num_hidden=6)),
    **{
        f"activation {kind}": SYM.Activation(X(), act_type=kind)
        for kind in ("sigmoid", "tanh", "softrelu", "softsign")
    },
    **{
        f"leaky {kind}": SYM.LeakyReLU(X(), act_type=kind, slope=0.3)
        for kind in ("elu", "selu", "leaky", "gelu")
    },
    "sum pooling": SYM.Pooling(X(), kernel=(2, 3), pool_type="sum", stride=(2, 2), pad=(1, 1)),
    "sum pooling, rounded up": SYM.Pooling(
        X(), kernel=(3, 2), pool_type="sum", stride=(2, 2), pooling_convention="full"
    ),
    "global sum": SYM.Pooling(X(), global_pool=True, pool_type="sum", kernel=(1, 1)),
    **{
        f"average, rounded up, {kernel} {pad} {padded}": SYM.Pooling(
            X(),
            kernel=kernel,
            pool_type="avg",
            stride=(2, 2),
            pad=pad,
            pooling_convention="full",
            count_include_pad=padded,
        )
        for kernel in ((2, 2), (4, 3))
        for pad in ((0, 0), (1, 1))
        for padded in (True, False)
        if padded or (kernel, pad) != ((2, 2), (1, 1))  # the last window of that has nothing but padding
    },
    "adaptive pooling to some": SYM.contrib.AdaptiveAvgPooling2D(X(), output_size=(3, 9)),
    "nearest pixels": SYM.UpSampling(X(), scale=3, sample_type="nearest"),
    "between pixels": SYM.contrib.BilinearResize2D(X(), height=13, width=5),
    "between pixels, from the edges": SYM.contrib.BilinearResize2D(
        X(), height=13, width=5, align_corners=False
    ),
    "edges repeated": SYM.Pad(X(), mode="edge", pad_width=(0, 0, 0, 0, 1, 2, 3, 0)),
    "rows of pixels": SYM.Reshape(X(), shape=(0, 0, -1)),
    "groups": SYM.Reshape(SYM.Reshape(X(), shape=(0, -4, 1, -1, -2)), shape=(-1, 27, 9)),
    "a channel each": SYM.concat(*reversed(list(SYM.split(X(), num_outputs=3))), dim=1),
    "a channel each, squeezed": SYM.add_n(*SYM.split(X(), num_outputs=3, squeeze_axis=True)),
    "slices": SYM.slice(X(), begin=(None, 1, 2), end=(None, None, -1), step=(1, 1, 3)),
    "a slice of one axis": SYM.slice_axis(X(), axis=-1, begin=-4, end=None),
    "axes swapped": SYM.SwapAxis(X(), dim1=1, dim2=3),
    "axes turned": SYM.transpose(X(), axes=(0, 2, 3, 1)),
    **{f"{name} over axes": getattr(SYM, name)(X(), axis=(2, -1)) for name in ("max", "mean", "min", "sum")},
    "mean over the others": SYM.mean(X(), axis=(0, 1), exclude=True, keepdims=True),
    **{
        f"{name} of each": getattr(SYM, name)(X())
        for name in (
            "abs",
            "erf",
            "negative",
            "relu",
            "sigmoid",
            "softsign",
            "square",
            "tanh",
            "zeros_like",
            "ones_like",
        )
    },
    **{f"{name} of each": getattr(SYM, name)(SYM.abs(X()) + 0.5) for name in ("log", "sqrt")},
    "exponentials": SYM.exp(X() * 0.25),
    **{
        f"{name} of two": getattr(SYM, name)(IMAGES, SYM.square(IMAGES) + 1)
        for name in (
            *(f"broadcast_{kind}" for kind in ("add", "div", "maximum", "minimum", "mul", "sub")),
            *(f"elemwise_{kind}" for kind in ("add", "div", "mul", "sub")),
        )
    },
    "greater and smaller": SYM.maximum(SYM.minimum(IMAGES, 1.5), -0.5)
    + SYM.maximum(IMAGES, SYM.square(IMAGES))
    + SYM.minimum(IMAGES, SYM.square(IMAGES)),
    "scalars": (2 - IMAGES * 3) / 4 - 1 + 5 / (SYM.square(IMAGES) + 1) + (SYM.abs(IMAGES) + 1) ** 1.5,
    **{f"{name}": getattr(SYM, name)(X(), axis=1, temperature=2.0) for name in ("softmax", "log_softmax")},
    "clipped": SYM.clip(X(), a_min=-1, a_max=2.5),
    "hard sigmoid": SYM.hard_sigmoid(X(), alpha=0.3, beta=0.4),
    "gradients blocked": SYM.BlockGrad(SYM.identity(X())),
    "fully connected, each place": SYM.FullyConnected(X(), num_hidden=4, flatten=False),
    "fully connected, each place, no bias": SYM.FullyConnected(
        X(), num_hidden=4, flatten=False, no_bias=True
    ),
}


@pytest.mark.parametrize("symbol", OPERATORS.values(), ids=OPERATORS)
def test_operators_compute_what_mxnets_do(tmp_path: pathlib.Path, symbol: Any) -> None:
    path, forward, _ = written(tmp_path, symbol, 9)
    inputs = np.random.default_rng(4).normal(0, 2, (3, 3, 9, 9)).astype(np.float32)
    np.testing.assert_allclose(run(path, inputs)[0], forward(inputs), rtol=1e-5, atol=1e-4)
    check_model(pathlib.Path(path).read_bytes(), 9)  # a predictor reads it; it knows the last layer's columns


def test_a_block_that_is_called_twice_has_two_nodes_of_one_name(tmp_path: pathlib.Path) -> None:
    symbol = SYM.Activation(IMAGES * 2, act_type="tanh", name="same")
    symbol = SYM.Activation(symbol * 3, act_type="sigmoid", name="same")
    path, forward, _ = written(tmp_path, symbol, 9)
    names = [node.name for node in onnx.load(path).graph.node]
    assert len(set(names)) == len(names)
    inputs = np.random.default_rng(4).normal(0, 2, (3, 3, 9, 9)).astype(np.float32)
    np.testing.assert_allclose(run(path, inputs)[0], forward(inputs), rtol=1e-5)


def test_a_graph_of_dropout_and_one_layer_is_two_nodes(tmp_path: pathlib.Path) -> None:
    path, _, _ = written(tmp_path, SYM.Dropout(X()), 9)
    assert kinds(path) == ["Flatten", "Gemm"]


def test_folding_is_exact_for_scales_of_any_size(tmp_path: pathlib.Path) -> None:
    """A running variance may be 0, a scale negative or 0."""
    symbol = SYM.BatchNorm(SYM.Convolution(X(), kernel=(3, 3), num_filter=4, name="c"), name="b", **PLAIN)
    values = {
        "b_gamma": [-1.5, 0, 3, 1e-3],
        "b_moving_var": [0, 1, 1e6, 1e-12],
        "b_moving_mean": [9, -2, 3, 4],
    }
    path, _, parameters = written(tmp_path, symbol, 9, **values)
    assert kinds(path) == ["Conv", "Flatten", "Gemm"]
    double = {name: value.astype(np.float64) for name, value in parameters.items()}
    scale = double["b_gamma"] / np.sqrt(double["b_moving_var"] + 1e-5)
    weight = double["c_weight"] * scale[:, None, None, None]
    bias = (double["c_bias"] - double["b_moving_mean"]) * scale + double["b_beta"]
    found = [onnx.numpy_helper.to_array(array) for array in onnx.load(path).graph.initializer]
    for array, expected in zip(found, (weight, bias)):
        assert array.dtype == np.float32
        np.testing.assert_allclose(array, expected, rtol=2e-7)


def test_a_convolution_that_another_node_reads_is_not_folded(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MXNET_SUBGRAPH_BACKEND", "NONE")  # oneDNN's would fold it, which is wrong
    convolution = SYM.Convolution(X(), kernel=(3, 3), num_filter=4)
    path, forward, _ = written(tmp_path, SYM.BatchNorm(convolution, **PLAIN) + convolution, 9)
    assert kinds(path) == ["Conv", "BatchNormalization", "Add", "Flatten", "Gemm"]
    inputs = pictures(2, 9)
    np.testing.assert_allclose(run(path, inputs)[0], forward(inputs), rtol=1e-5)


@pytest.mark.parametrize(
    ("symbol", "words"),
    [
        (SYM.sin(X(), name="strange"), "the operator sin, of the node strange,"),
        (SYM.BatchNorm(X(), axis=3, name="a"), r"BatchNorm\(axis=3\), the node a,"),
        (
            SYM.Pooling(X(), kernel=(2, 2), pool_type="lp", p_value=2, name="a"),
            "pool_type=lp",
        ),
        (SYM.contrib.AdaptiveAvgPooling2D(X(), output_size=2, name="a"), r"output_size=\(2, 2\) of \(9, 9\)"),
        (SYM.Pad(X(), mode="reflect", pad_width=(0, 0, 0, 0, 1, 1, 1, 1), name="a"), "mode=reflect"),
        (SYM.squeeze(SYM.slice_axis(X(), axis=1, begin=0, end=1), name="a"), "axis=None, which depends on"),
        (SYM.Reshape(X(), shape=(1, -1), name="a"), "a row of numbers for each image, found last"),
        (
            SYM.Pooling(
                X(), kernel=(2, 2), stride=(3, 3), pool_type="avg", pooling_convention="full", name="a"
            ),
            r"Pooling\(a window beyond the edge\)",
        ),
        (SYM.Cast(X(), dtype="float16", name="a"), "dtype=float16"),
        (SYM.Dropout(X(), mode="always", name="a"), "mode=always"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_has_no_translation_is_named(tmp_path: pathlib.Path, symbol: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        written(tmp_path, symbol, 9)
    assert not list(tmp_path.iterdir())


def test_a_network_without_a_last_layer_has_no_features(tmp_path: pathlib.Path) -> None:
    symbol = SYM.Activation(SYM.FullyConnected(X(), num_hidden=3), act_type="relu", name="end")
    parameters = {
        name: np.ones((3, 12) if "weight" in name else 3, "f") for name in symbol.list_arguments()[1:]
    }
    path = str(tmp_path / "a.onnx")
    write_onnx(path, symbol, parameters, 2, {})
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == ["logits"]
    (found,) = session.run(None, {"data": np.ones((2, 3, 2, 2), "f")})
    np.testing.assert_array_equal(found, np.full((2, 3), 13))
    with pytest.raises(UsageError, match="ends with a row of numbers for each image, found map"):
        write_onnx(path, SYM.Activation(X(), act_type="relu", name="map"), {}, 2, {})


def test_every_operator_of_a_checked_graph_has_a_translation() -> None:
    """But INT8's, which ONNX has otherwise."""
    names = {
        name for name in graph_operators() if not re.match("_contrib_(quant|requant|dequant)|_sg_", name)
    }
    assert names == {*TRANSLATIONS}


def test_more_than_a_protobuf_holds_is_refused_before_it_is_copied(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_export, "_LIMIT", 4 * 5 * 243)
    with pytest.raises(UsageError, match="at most 2 GiB"):
        written(tmp_path, SYM.Dropout(X()), 9)
    monkeypatch.setattr(onnx_export, "_LIMIT", 4 * (5 * 243 + 5))
    written(tmp_path, SYM.Dropout(X()), 9)


def test_a_runtime_needs_neither_mxnet_nor_onnx(model: Model) -> None:
    code = """
import sys
sys.modules["mxnet"] = sys.modules["onnx"] = None
import numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
print([len(row) for row in session.run(None, {"data": numpy.zeros((1, 3, 32, 32), "f")})[0]])
print(session.get_modelmeta().custom_metadata_map["network"])
"""
    done = subprocess.run(
        [sys.executable, "-c", code, f"{model.prefix}.onnx"], capture_output=True, text=True, timeout=600
    )
    assert (done.stdout, done.stderr) == ("[12]\nresnet20\n", "")


@pytest.mark.slow
def test_vgg_19_is_exported_in_four_times_its_size(tmp_path: pathlib.Path) -> None:
    """575 MB: once as read, twice while it is written, and once as ONNX's checker reads it; and MXNet itself."""
    from gluon_resnet.card import ModelCard
    from gluon_resnet.models import build_network
    from gluon_resnet.models.saved import save_network

    card = ModelCard(network="vgg19", classes=("a", "b"), size=224, mean=(0.0,) * 3, std=(1.0,) * 3)
    net = build_network(card)
    net.initialize()
    save_network(tmp_path / "run", 1, card, net)
    code = """
import resource, sys
from gluon_resnet.deploy.export import export
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
before = peak()
export(sys.argv[1], 1, sys.argv[2], "onnx")
print(peak() - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "run", tmp_path / "net"], capture_output=True, text=True
    )
    size = (tmp_path / "net.onnx").stat().st_size / 2**20
    shutil.rmtree(tmp_path)
    assert done.stderr == ""
    assert float(done.stdout) < 4 * size
