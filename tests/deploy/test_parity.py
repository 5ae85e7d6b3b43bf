"""One exported network gives the same logits in Gluon, SymbolBlock, Module, onnxruntime, our Predictor and in C++."""

from __future__ import annotations

import pathlib
from typing import Any, Callable

import numpy as np
import onnxruntime
import pytest

from gluon_resnet._mxnet import gluon, mx
from gluon_resnet.data import EvalTransform
from gluon_resnet.deploy import Predictor
from tests.support.deployed import Model, make_model, run_program, write_images

TOLERANCE = 1e-4  # of a logit; those of these networks are of the order of 1 to 10


@pytest.fixture(scope="module", params=["resnet20", "resnet18", "resnet50"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    options: dict[str, Any] = {
        "resnet20": {"size": 32, "resize": 32, "per_pixel_mean": True},
        "resnet18": {"size": 224, "resize": 256},
        "resnet50": {"size": 224, "resize": 256, "variant": "v1b", "together": 2},
    }[request.param]
    return make_model(tmp_path_factory.mktemp("model"), request.param, formats="both", **options)


@pytest.fixture(scope="module", params=["generated", "real"])
def images(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("images")
    if request.param == "generated":
        return write_images(folder)
    paths = []
    for name, content in request.getfixturevalue("imagenet_images")[::69][:10]:
        paths.append(str(folder / pathlib.Path(name).name))
        pathlib.Path(paths[-1]).write_bytes(content)
    return paths


@pytest.fixture(scope="module")
def inputs(model: Model, images: list[str]) -> np.ndarray:
    transform = EvalTransform(model.card.resize, model.card.size)
    return np.stack([transform(pathlib.Path(path).read_bytes()) for path in images])


@pytest.fixture(scope="module")
def expected(model: Model, inputs: np.ndarray) -> np.ndarray:
    """The logits of the network that was trained, image by image."""
    logits = np.concatenate([model.net(mx.nd.array(row[None])).asnumpy() for row in inputs])
    spread = logits.std(axis=0).mean()
    assert spread > 3000 * TOLERANCE, f"the network hardly tells these images apart: {spread}"
    return logits


def in_batches(forward: Callable[[np.ndarray], Any], inputs: np.ndarray, batch: int) -> np.ndarray:
    """What `forward` makes of `inputs`, always `batch` at a time: the last one is filled up."""
    padded = np.concatenate([inputs, np.repeat(inputs[-1:], -len(inputs) % batch, axis=0)])
    parts = [forward(padded[i : i + batch]).asnumpy() for i in range(0, len(padded), batch)]
    return np.concatenate(parts)[: len(inputs)]


def by_gluon(model: Model, images: list[str], inputs: np.ndarray, batch: int) -> np.ndarray:
    model.net.hybridize(static_alloc=True, static_shape=True)
    return in_batches(lambda part: model.net(mx.nd.array(part)), inputs, batch)


def by_symbol_block(model: Model, images: list[str], inputs: np.ndarray, batch: int) -> np.ndarray:
    net = gluon.SymbolBlock.imports(f"{model.prefix}-symbol.json", ["data"], f"{model.prefix}-0000.params")
    return in_batches(lambda part: net(mx.nd.array(part)), inputs, batch)


def by_module(model: Model, images: list[str], inputs: np.ndarray, batch: int) -> np.ndarray:
    symbol, arguments, states = mx.model.load_checkpoint(model.prefix, 0)
    module = mx.mod.Module(symbol, label_names=None)
    module.bind(for_training=False, data_shapes=[("data", (batch, *inputs.shape[1:]))])
    module.set_params(arguments, states)

    def forward(part: np.ndarray) -> Any:
        module.forward(mx.io.DataBatch([mx.nd.array(part)]), is_train=False)
        return module.get_outputs()[0]

    return in_batches(forward, inputs, batch)


def by_onnxruntime(model: Model, images: list[str], inputs: np.ndarray, batch: int) -> np.ndarray:
    session = onnxruntime.InferenceSession(f"{model.prefix}.onnx", providers=["CPUExecutionProvider"])
    return np.concatenate(
        [
            session.run(["logits"], {"data": inputs[first : first + batch]})[0]
            for first in range(0, len(inputs), batch)
        ]
    )


def by_predictor(model: Model, images: list[str], inputs: np.ndarray, batch: int) -> np.ndarray:
    return Predictor(model.prefix, batch_size=batch).logits(images)


def by_onnx_predictor(model: Model, images: list[str], inputs: np.ndarray, batch: int) -> np.ndarray:
    return Predictor(model.prefix, backend="onnx", batch_size=batch).logits(images)


def by_program(model: Model, images: list[str], inputs: np.ndarray, batch: int) -> np.ndarray:
    done = run_program("--logits", "--batch-size", str(batch), model.prefix, *images)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[::2] == images
    return np.array([[float(value) for value in line.split()] for line in lines[1::2]], np.float32)


def assert_equal(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.shape == expected.shape == (10, 12)
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)
    assert found.argmax(axis=1).tolist() == expected.argmax(axis=1).tolist()


@pytest.mark.parametrize("batch", [1, 7])
@pytest.mark.parametrize(
    "way",
    [
        by_gluon,
        by_symbol_block,
        by_module,
        by_onnxruntime,
        by_predictor,
        by_onnx_predictor,
        by_program,
    ],
)
def test_the_logits_are_those_of_the_trained_network(
    way: Callable[..., np.ndarray],
    batch: int,
    model: Model,
    images: list[str],
    inputs: np.ndarray,
    expected: np.ndarray,
) -> None:
    assert_equal(way(model, images, inputs, batch), expected)
