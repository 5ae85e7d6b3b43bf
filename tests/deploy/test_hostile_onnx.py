"""ONNX files that export.py does not write: a sentence for each, and no process that dies or fills the memory."""

from __future__ import annotations

import pathlib
import random
import subprocess
import sys
from typing import Any, Callable

import numpy as np
import onnx
import pytest

from gluon_resnet.deploy import Predictor
from gluon_resnet.errors import ModelError
from tests.support.deployed import Model, make_model
from tests.support.paths import ROOT

helper = onnx.helper


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return make_model(tmp_path_factory.mktemp("model"), "resnet8", 32, 40, formats="both")


def node(graph: Any, op: str) -> Any:
    return next(node for node in graph.node if node.op_type == op)


def behind_data(op: str, *constants: np.ndarray, **attributes: Any) -> Callable[[Any], None]:
    """Put a node behind the input."""

    def change(file: Any) -> None:
        names = [f"constant{i}" for i in range(len(constants))]
        for name, value in zip(names, constants):
            file.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
        for reader in file.graph.node:
            reader.input[:] = ["new" if name == "data" else name for name in reader.input]
        domain = attributes.pop("domain", "")
        new = helper.make_node(op, ["data", *names], ["new"], "new", domain=domain, **attributes)
        file.graph.node.insert(0, new)

    return change


def attribute(op: str, name: str, value: Any) -> Callable[[Any], None]:
    def change(file: Any) -> None:
        found = node(file.graph, op)
        kept = [a for a in found.attribute if a.name != name]
        del found.attribute[:]
        found.attribute.extend([*kept, helper.make_attribute(name, value)])

    return change


def external(file: Any) -> None:
    tensor = file.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../etc/passwd")


def opset(version: int, domain: str = "") -> Callable[[Any], None]:
    def change(file: Any) -> None:
        del file.opset_import[:]
        file.opset_import.append(helper.make_opsetid(domain, version))

    return change


def loop(file: Any) -> None:
    body = helper.make_graph([], "body", [], [])
    file.graph.node.insert(0, helper.make_node("Loop", ["data"], ["x"], "loop", body=body))


def dims(file: Any) -> None:
    file.graph.initializer[0].dims[:] = [2**62, 2**62, 4]


def many(file: Any) -> None:
    file.graph.node.extend([helper.make_node("Relu", ["data"], [f"x{i}"]) for i in range(20_000)])


widths = np.array([0, 0, 0, 0, 0, 0, 2**40, 2**40], np.int64)
CASES: dict[str, tuple[Callable[[Any], None], str]] = {
    "external data": (external, "is stored in another file, which is not read"),
    "tile": (
        behind_data("Tile", np.array([1, 1, 2**20, 2**20])),
        "Tile, the node 'new': export.py does not write this operator",
    ),
    "padding": (behind_data("Pad", widths), "expected two widths from 0 to 16384 for each axis"),
    "broadcast": (
        behind_data("Add", np.zeros((2**20, 1, 1, 1), "f")),
        "expected a result of 1 to 2^31 - 1 values, found shape (1048576, 3, 32, 32)",
    ),
    "negative kernel": (attribute("Conv", "kernel_shape", [-3, -3]), "expected an image and its filters"),
    "negative pooling": (
        behind_data("MaxPool", kernel_shape=[-2, -2]),
        "kernel_shape: expected 2 numbers from 1 to 16384, found [-2, -2]",
    ),
    "no stride": (attribute("Conv", "strides", [0, 0]), "strides: expected 2 numbers from 1"),
    "huge strides": (attribute("Conv", "strides", [2**62, 1]), "strides: expected 2 numbers from 1"),
    "too many groups": (attribute("Conv", "group", 5), "expected an image and its filters"),
    "no number": (behind_data("LRN", size=5, alpha=float("nan")), "alpha: expected a number"),
    "text": (attribute("Conv", "auto_pad", "SAME_UPPER"), "there is no attribute auto_pad"),
    "unknown attribute": (attribute("Conv", "kernel", 1), "there is no attribute kernel"),
    "loop": (loop, "unknown field 6"),
    "custom": (behind_data("Relu", domain="evil"), "export.py does not write this operator"),
    "opset": (opset(2**31), "expected a graph of opset 13"),
    "old opset": (opset(7), "expected a graph of opset 13"),
    "domain": (opset(13, "com.microsoft"), "expected a graph of opset 13"),
    "dims": (dims, "expected float32 or int64 values of shape (4611686018427387904"),
    "nodes": (many, "expected at most 16384 nodes"),
    "twice": (behind_data("Relu", np.zeros(3, "f")), "does not take inputs of the shapes"),
    "cycle": (
        lambda f: f.graph.node[0].input.__setitem__(0, "logits"),
        "expected inputs that are defined before it",
    ),
    "escape": (lambda f: setattr(f.graph.node[0], "op_type", "\x1b[31m"), "\\u001b[31m, the node"),
}


def refusal(model: Model, folder: pathlib.Path, content: bytes) -> str:
    (folder / "a.onnx").write_bytes(content)
    with pytest.raises(ModelError) as caught:
        Predictor(folder / "a", backend="onnx", card=model.card)
    assert str(caught.value).startswith(f"{folder}/a.onnx: ")
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("case", CASES)
def test_a_file_of_another_kind_is_refused(model: Model, tmp_path: pathlib.Path, case: str) -> None:
    change, words = CASES[case]
    file = onnx.load(f"{model.prefix}.onnx")
    change(file)
    assert words in refusal(model, tmp_path, file.SerializeToString())


def test_what_protobuf_would_merge_is_refused(model: Model, tmp_path: pathlib.Path) -> None:
    """A graph in two parts is one to protobuf, and the second could hide from a check of the first."""
    content = pathlib.Path(f"{model.prefix}.onnx").read_bytes()
    assert "a model has two values of" in refusal(model, tmp_path, content + content)


def test_memory_is_that_of_the_shapes_and_not_what_the_file_claims(
    model: Model, tmp_path: pathlib.Path
) -> None:
    file = onnx.load(f"{model.prefix}.onnx")
    for _ in range(9):
        behind_data("Pad", np.array([0, 0, 0, 0, 0, 0, 1000, 1000], np.int64))(file)
        file.graph.initializer[-1].name = file.graph.node[0].input[1] = f"pads{len(file.graph.node)}"
        file.graph.node[0].output[0] = f"padded{len(file.graph.node)}"
        for reader in file.graph.node:
            reader.input[:] = [
                file.graph.node[0].output[0] if name == "new" else name for name in reader.input
            ]
    found = refusal(model, tmp_path, file.SerializeToString())
    assert "more than 1024 times the image" in found


# Each is refused or runs: what it does besides would end the process, and the last line would lack.
_MUTATIONS = """
import pathlib, sys
import numpy as np
from gluon_resnet.deploy import PartialCard, Predictor
from gluon_resnet.errors import ModelError
for prefix in sys.stdin.read().split():
    try:
        Predictor(prefix, backend="onnx", card=PartialCard(32)).forward(np.zeros((2, 3, 32, 32), "f"))
        print("runs", flush=True)
    except ModelError as error:
        print(str(error).replace(chr(10), "NEWLINE"), flush=True)
"""


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_mutated_files_are_refused_or_run(model: Model, tmp_path: pathlib.Path, count: int) -> None:
    content = pathlib.Path(f"{model.prefix}.onnx").read_bytes()
    weights = sum(len(tensor.raw_data) for tensor in onnx.load(f"{model.prefix}.onnx").graph.initializer)
    draw = random.Random(3)
    for i in range(count):
        changed = bytearray(content)
        for _ in range(draw.choice([1, 1, 2, 4])):
            # The nodes stand first, and are what is interesting.
            at = draw.randrange(len(content) - weights if draw.random() < 0.8 else len(content))
            what = draw.randrange(3)
            if what == 0:
                changed[at] = draw.randrange(256)
            elif what == 1:
                changed[at] ^= 1 << draw.randrange(8)
            else:
                changed[at : at + draw.randrange(4)] = draw.randbytes(draw.randrange(4))
        (tmp_path / f"{i}.onnx").write_bytes(changed)
    names = "\n".join(str(tmp_path / str(i)) for i in range(count))
    done = subprocess.run(
        [sys.executable, "-c", _MUTATIONS],
        input=names,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines()
    assert len(lines) == count, (lines[-1:], done.stderr)
    assert (done.returncode, done.stderr) == (0, "")
    assert not [line for line in lines if "NEWLINE" in line]
    assert 0 < lines.count("runs") < count
