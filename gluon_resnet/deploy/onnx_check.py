"""Checks that a file is safe for onnxruntime: it has only what `export` writes, and takes no absurd amount of memory.

onnxruntime reads weights from any file that a model names, runs loops without end, and takes all memory for padding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Callable

import numpy as np

from gluon_resnet.deploy.backend import INPUT
from gluon_resnet.deploy.onnx_file import read_model
from gluon_resnet.errors import ModelError
from gluon_resnet.terminal import MOST_OF_A_NAME, printable, printable_name

Shape = tuple[int, ...]

_OPSET = 13  # as in onnx_export.py, which needs the package onnx
_SIDE = 1 << 14
_MOST_NODES = 16384
_MOST_AXES = 8
_FLOAT, _INT64 = 1, 7  # tensor types
_TYPES: dict[int, np.dtype[Any]] = {_FLOAT: np.dtype("<f4"), _INT64: np.dtype("<i8")}
_KINDS = {"f": 1, "i": 2, "ints": 7}  # attribute types

# As in csrc/graph/results.cc.
_AT_A_TIME, _IN_ALL = (1 << 10, 1 << 26), (1 << 15, 1 << 30)


@dataclass
class _Node:
    """A node with the shapes of its inputs, and the numbers in those that are lists of integers."""

    inputs: list[Shape]
    numbers: list[Any]
    attributes: dict[str, Any]

    def require(self, condition: object, expected: str) -> None:
        if not condition:
            raise ModelError(f"expected {expected}, found inputs of the shapes {self.inputs}")

    def list_of(self, name: str, count: int, default: int, least: int, most: int = _SIDE) -> list[int]:
        values = self.attributes.get(name, [default] * count)
        if len(values) != count or not all(least <= value <= most for value in values):
            raise ModelError(f"{name}: expected {count} numbers from {least} to {most}, found {values}")
        return values

    def axes(self, rank: int) -> list[int]:
        self.require(len(self.inputs) == 2 and self.numbers[1] is not None, "the axes as a list of numbers")
        axes = sorted(int(axis) for axis in self.numbers[1])
        if axes != sorted(set(axes)) or not all(0 <= axis < rank for axis in axes):
            raise ModelError(f"expected different axes from 0 to {rank - 1}, found {axes}")
        return axes


def check_model(content: bytes, size: int) -> None:
    """ModelError, without a path, unless `content` is what `export` writes for images of `size` pixels."""
    model = read_model(content)
    versions = [(opset.get("domain", ""), opset.get("version")) for opset in model["opset_import"]]
    if versions != [("", _OPSET)] or "graph" not in model:
        raise ModelError(f"expected a graph of opset {_OPSET}, as export.py writes it")
    graph = model["graph"]
    if len(graph["node"]) > _MOST_NODES:
        raise ModelError(f"expected at most {_MOST_NODES} nodes, found {len(graph['node'])}")
    shapes: dict[str, Shape] = {INPUT: (1, 3, size, size)}
    numbers: dict[str, Any] = {}
    for tensor in graph["initializer"]:
        name, array = _array(tensor)
        if name in shapes:
            raise ModelError(f"two tensors are named {printable_name(name)}")
        shapes[name] = array.shape
        if array.dtype == np.int64:
            numbers[name] = array.reshape(-1).tolist()[:64]
    weights = set(shapes) - {INPUT}
    last = {name: i for i, node in enumerate(graph["node"]) for name in node["input"]}
    now = most = total = math.prod(shapes[INPUT])
    for i, node in enumerate(graph["node"]):
        title = printable(f"{node.get('op_type')}, the node {node.get('name')!r}", 2 * MOST_OF_A_NAME)
        try:
            shape = _result(node, shapes, numbers)
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


def _result(node: dict[str, Any], shapes: dict[str, Shape], numbers: dict[str, Any]) -> Shape:
    """The shape of a node's output for one image."""
    operator = node.get("op_type", "")
    if operator not in _OPERATORS or node.get("domain", "") != "":
        known = "export.py does not write this operator"
        raise ModelError(f"{known}; to run a network of another kind, use onnxruntime itself")
    kinds, integers, result = _OPERATORS[operator]
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
    described = _Node(
        [shapes[name] for name in node["input"]], [numbers.get(name) for name in node["input"]], attributes
    )
    try:
        shape = result(described)
    except (IndexError, ValueError):
        raise ModelError(f"it does not take inputs of the shapes {described.inputs}") from None
    if min(shape, default=1) < 1 or math.prod(shape) >= 1 << 31:
        raise ModelError(f"expected a result of 1 to 2^31 - 1 values, found shape {shape}")
    return shape


def _convolution(node: _Node) -> Shape:
    (images, channels, *sides), (filters, of_each, *kernel), *bias = node.inputs
    group = node.attributes.get("group", 1)
    fits = group >= 1 and channels == of_each * group and filters % group == 0 and len(sides) == 2
    node.require(fits and kernel == node.attributes.get("kernel_shape", kernel), "an image and its filters")
    node.require(bias in ([], [(filters,)]), "a bias for each filter")
    dilations = node.list_of("dilations", 2, 1, 1)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations)]
    return images, filters, *_windows(node, sides, reach, _SIDE)


def _pooling(node: _Node) -> Shape:
    ((images, channels, *sides),) = node.inputs
    node.require(len(sides) == 2, "an image")
    kernel = node.list_of("kernel_shape", 2, 0, 1)
    return images, channels, *_windows(node, sides, kernel, min(kernel) - 1)


def _windows(node: _Node, sides: Sequence[int], reach: Sequence[int], most_pad: int) -> list[int]:
    strides, pads = node.list_of("strides", 2, 1, 1), node.list_of("pads", 4, 0, 0, most_pad)
    ceil = node.attributes.get("ceil_mode", 0)
    return [
        (side + before + after - k + (s - 1 if ceil else 0)) // s + 1
        for side, before, after, k, s in zip(sides, pads, pads[2:], reach, strides)
    ]


def _global_pooling(node: _Node) -> Shape:
    ((images, channels, *sides),) = node.inputs
    node.require(len(sides) == 2, "an image")
    return images, channels, 1, 1


def _batch_norm(node: _Node) -> Shape:
    x, *parameters = node.inputs
    node.require(len(x) > 1 and parameters == [(x[1],)] * 4, "an image and four values for each channel")
    return x


def _same(node: _Node) -> Shape:
    (x,) = node.inputs
    return x


def _image(node: _Node) -> Shape:
    node.require(len(node.inputs[0]) == 4 and 1 <= node.attributes.get("size", 1) <= 1023, "an image")
    return _same(node)


def _prelu(node: _Node) -> Shape:
    x, slope = node.inputs
    node.require(np.broadcast_shapes(x, slope) == x, "slopes for each channel")
    return x


def _flatten(node: _Node) -> Shape:
    x = _same(node)
    return x[0], math.prod(x[1:])


def _gemm(node: _Node) -> Shape:
    (images, columns), (classes, of_each), *bias = node.inputs
    fits = node.attributes.get("transB", 0) == 1 and columns == of_each and bias in ([], [(classes,)])
    node.require(fits, "a row for each image and one for each class")
    return images, classes


def _pad(node: _Node) -> Shape:
    x, _, *value = node.inputs
    widths = node.numbers[1]
    fits = len(widths) == 2 * len(x) and all(0 <= width <= _SIDE for width in widths) and value in ([], [()])
    node.require(fits, f"two widths from 0 to {_SIDE} for each axis")
    return tuple(length + widths[i] + widths[i + len(x)] for i, length in enumerate(x))


def _unsqueeze(node: _Node) -> Shape:
    shape = list(node.inputs[0])
    for axis in node.axes(len(shape) + len(node.numbers[1] or ())):
        shape.insert(axis, 1)
    return tuple(shape)


def _squeeze(node: _Node) -> Shape:
    x = node.inputs[0]
    axes = node.axes(len(x))
    node.require(all(x[axis] == 1 for axis in axes), "lengths of 1")
    return tuple(length for axis, length in enumerate(x) if axis not in axes)


def _concatenation(node: _Node) -> Shape:
    axis = node.attributes.get("axis", -1)
    first, *others = node.inputs
    rest = [x[:axis] + x[axis + 1 :] for x in node.inputs]
    fits = (
        0 <= axis < len(first) and all(len(x) == len(first) for x in others) and rest == rest[:1] * len(rest)
    )
    node.require(fits, "images of one size")
    return *first[:axis], sum(x[axis] for x in node.inputs), *first[axis + 1 :]


def _elementwise(node: _Node) -> Shape:
    a, b = node.inputs
    return np.broadcast_shapes(a, b)


_Result = Callable[[_Node], Shape]

# The attributes of each operator and their types, which inputs are int64, and the function for its output's shape.
_OPERATORS: dict[str, tuple[dict[str, str], tuple[int, ...], _Result]] = {
    "Add": ({}, (), _elementwise),
    "AveragePool": (
        {
            "kernel_shape": "ints",
            "strides": "ints",
            "pads": "ints",
            "ceil_mode": "i",
            "count_include_pad": "i",
        },
        (),
        _pooling,
    ),
    "BatchNormalization": ({"epsilon": "f", "momentum": "f"}, (), _batch_norm),
    "Concat": ({"axis": "i"}, (), _concatenation),
    "Conv": (
        {"kernel_shape": "ints", "strides": "ints", "pads": "ints", "dilations": "ints", "group": "i"},
        (),
        _convolution,
    ),
    "Div": ({}, (), _elementwise),
    "Flatten": ({}, (), _flatten),
    "Gemm": ({"transB": "i"}, (), _gemm),
    "GlobalAveragePool": ({}, (), _global_pooling),
    "GlobalMaxPool": ({}, (), _global_pooling),
    "LRN": ({"size": "i", "alpha": "f", "beta": "f", "bias": "f"}, (), _image),
    "MaxPool": ({"kernel_shape": "ints", "strides": "ints", "pads": "ints", "ceil_mode": "i"}, (), _pooling),
    "PRelu": ({}, (), _prelu),
    "Pad": ({}, (1,), _pad),
    "Relu": ({}, (), _same),
    "Squeeze": ({}, (1,), _squeeze),
    "Sub": ({}, (), _elementwise),
    "Unsqueeze": ({}, (1,), _unsqueeze),
}
