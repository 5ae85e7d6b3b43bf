"""Checks that a file is safe for onnxruntime: it has only what `export` writes, and takes no absurd amount of memory.

onnxruntime reads weights from any file that a model names, runs loops without end, and takes all memory for padding.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gluon_resnet.deploy.backend import INPUT
from gluon_resnet.deploy.onnx_file import read_model
from gluon_resnet.deploy.onnx_shapes import OPERATORS, Reader, Shape
from gluon_resnet.errors import ModelError
from gluon_resnet.terminal import MOST_OF_A_NAME, printable, printable_name

_OPSET = 13  # as in onnx_export.py, which needs the package onnx
_MOST_NODES = 16384
_MOST_AXES = 8
_FLOAT, _INT64 = 1, 7  # tensor types
_TYPES: dict[int, np.dtype[Any]] = {_FLOAT: np.dtype("<f4"), _INT64: np.dtype("<i8")}
_KINDS = {"f": 1, "i": 2, "s": 3, "ints": 7}  # attribute types

# As in csrc/graph/results.cc.
_AT_A_TIME, _IN_ALL = (1 << 10, 1 << 26), (1 << 15, 1 << 30)


def check_model(content: bytes, size: int) -> None:
    """ModelError, without a path, unless `content` is what `export` writes for images of `size` pixels."""
    model = read_model(content)
    versions = [(opset.get("domain", ""), opset.get("version")) for opset in model["opset_import"]]
    if versions != [("", _OPSET)] or "graph" not in model:
        raise ModelError(f"expected a graph of opset {_OPSET}, as export.py writes it")
    graph = model["graph"]
    if len(graph["node"]) > _MOST_NODES:
        raise ModelError(f"expected at most {_MOST_NODES} nodes, found {len(graph['node'])}")
    shapes: dict[str, Shape] = {INPUT: (1, 3, size, size), "": ()}  # an input that is left out has no name
    numbers: dict[str, Any] = {}
    floats: dict[str, Any] = {}
    for tensor in graph["initializer"]:
        name, array = _array(tensor)
        if name in shapes:
            raise ModelError(f"two tensors are named {printable_name(name)}")
        shapes[name] = array.shape
        if array.dtype == np.int64:
            numbers[name] = array.reshape(-1).tolist()[:64]
        elif array.size <= 4:
            floats[name] = array.reshape(-1).tolist()
    weights = set(shapes) - {INPUT}
    last = {name: i for i, node in enumerate(graph["node"]) for name in node["input"]}
    now = most = total = math.prod(shapes[INPUT])
    for i, node in enumerate(graph["node"]):
        title = printable(f"{node.get('op_type')}, the node {node.get('name')!r}", 2 * MOST_OF_A_NAME)
        try:
            shape = _result(node, shapes, numbers, floats)
        except ModelError as error:
            raise ModelError(f"{title}: {error}") from None
        shapes[node["output"][0]] = shape
        elements = math.prod(shape)
        now, total = now + elements, total + elements
        most = max(most, now)
        ended = {name for name in (*node["input"], node["output"][0]) if last.get(name, -1) <= i}
        now -= sum(math.prod(shapes[name]) for name in ended - weights)
    for count, when, (times, always) in ((most, "at a time", _AT_A_TIME), (total, "in all", _IN_ALL)):
        if count > max(times * 3 * size * size, always):
            results = f"the results for one image would be {count} values {when}"
            raise ModelError(f"{results}, more than {times} times the image")


def _array(tensor: dict[str, Any]) -> tuple[str, np.ndarray]:
    name, shape = tensor.get("name", ""), tuple(tensor["dims"])
    shown = printable_name(name)
    if tensor["external_data"] or tensor.get("data_location", 0) != 0:
        raise ModelError(
            f"the tensor {shown} is stored in another file, which is not read: export the network again"
        )
    dtype = _TYPES.get(tensor.get("data_type", 0))
    content = tensor.get("raw_data", b"")
    fits = len(shape) <= _MOST_AXES and min(shape, default=1) >= 1
    if dtype is None or not fits or math.prod(shape) * dtype.itemsize != len(content):
        raise ModelError(f"tensor {shown}: expected float32 or int64 values of shape {shape}")
    return name, np.frombuffer(content, dtype).reshape(shape)


def _result(
    node: dict[str, Any], shapes: dict[str, Shape], numbers: dict[str, Any], floats: dict[str, Any]
) -> Shape:
    """The shape of a node's output for one image."""
    operator = node.get("op_type", "")
    if operator not in OPERATORS or node.get("domain", "") != "":
        known = "export.py does not write this operator"
        raise ModelError(f"{known}; to run a network of another kind, use onnxruntime itself")
    kinds, integers, result = OPERATORS[operator]
    unknown = [name for name in node["input"] if name not in shapes]
    if unknown or len(node["output"]) != 1 or node["output"][0] in shapes:
        raise ModelError("expected inputs that are defined before it, and one new output")
    attributes = {}
    for attribute in node["attribute"]:
        name = attribute.get("name", "")
        kind = kinds.get(name)
        if kind is None or name in attributes or attribute.get("type") != _KINDS[kind]:
            raise ModelError(f"there is no attribute {printable_name(name)} of this type")
        attributes[name] = attribute.get(kind, 0)
        if kind == "f" and not math.isfinite(attributes[name]):
            raise ModelError(f"{name}: expected a number, found {attributes[name]}")
    for position, name in enumerate(node["input"]):
        if (name in numbers) != (position in integers):
            raise ModelError(f"its input {position} has another type")
    values = [numbers.get(name, floats.get(name)) for name in node["input"]]
    described = Reader([shapes[name] for name in node["input"]], values, attributes)
    try:
        shape = result(described)
    except (IndexError, ValueError):
        raise ModelError(f"it does not take inputs of the shapes {described.inputs}") from None
    if min(shape, default=1) < 1 or math.prod(shape) >= 1 << 31:
        raise ModelError(f"expected a result of 1 to 2^31 - 1 values, found shape {shape}")
    return shape
