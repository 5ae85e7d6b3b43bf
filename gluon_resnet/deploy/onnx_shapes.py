"""The shape of the result of each ONNX operator that `export` writes, for one image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Callable

import numpy as np

from gluon_resnet.errors import ModelError

Shape = tuple[int, ...]

_SIDE = 1 << 14


@dataclass
class Reader:
    """A node with the shapes of its inputs, and the numbers in those that are short lists, None for others."""

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


def _convolution(node: Reader) -> Shape:
    (images, channels, *sides), (filters, of_each, *kernel), *bias = node.inputs
    group = node.attributes.get("group", 1)
    fits = group >= 1 and channels == of_each * group and filters % group == 0 and len(sides) == 2
    node.require(fits and kernel == node.attributes.get("kernel_shape", kernel), "an image and its filters")
    node.require(bias in ([], [(filters,)]), "a bias for each filter")
    dilations = node.list_of("dilations", 2, 1, 1)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations)]
    return images, filters, *_windows(node, sides, reach, _SIDE)


def _pooling(node: Reader) -> Shape:
    ((images, channels, *sides),) = node.inputs
    node.require(len(sides) == 2, "an image")
    kernel = node.list_of("kernel_shape", 2, 0, 1)
    return images, channels, *_windows(node, sides, kernel, min(kernel) - 1)


def _windows(node: Reader, sides: Sequence[int], reach: Sequence[int], most_pad: int) -> list[int]:
    strides, pads = node.list_of("strides", 2, 1, 1), node.list_of("pads", 4, 0, 0, most_pad)
    ceil = node.attributes.get("ceil_mode", 0)
    return [
        (side + before + after - k + (s - 1 if ceil else 0)) // s + 1
        for side, before, after, k, s in zip(sides, pads, pads[2:], reach, strides)
    ]


def _global_pooling(node: Reader) -> Shape:
    ((images, channels, *sides),) = node.inputs
    node.require(len(sides) == 2, "an image")
    return images, channels, 1, 1


def _batch_norm(node: Reader) -> Shape:
    x, *parameters = node.inputs
    node.require(len(x) > 1 and parameters == [(x[1],)] * 4, "an image and four values for each channel")
    return x


def _same(node: Reader) -> Shape:
    (x,) = node.inputs
    return x


def _image(node: Reader) -> Shape:
    node.require(len(node.inputs[0]) == 4 and 1 <= node.attributes.get("size", 1) <= 1023, "an image")
    return _same(node)


def _prelu(node: Reader) -> Shape:
    x, slope = node.inputs
    node.require(np.broadcast_shapes(x, slope) == x, "slopes for each channel")
    return x


def _flatten(node: Reader) -> Shape:
    x = _same(node)
    return x[0], math.prod(x[1:])


def _gemm(node: Reader) -> Shape:
    (images, columns), (classes, of_each), *bias = node.inputs
    fits = node.attributes.get("transB", 0) == 1 and columns == of_each and bias in ([], [(classes,)])
    node.require(fits, "a row for each image and one for each class")
    return images, classes


def _pad(node: Reader) -> Shape:
    x, _, *value = node.inputs
    widths = node.numbers[1]
    fits = len(widths) == 2 * len(x) and all(0 <= width <= _SIDE for width in widths) and value in ([], [()])
    node.require(fits, f"two widths from 0 to {_SIDE} for each axis")
    return tuple(length + widths[i] + widths[i + len(x)] for i, length in enumerate(x))


def _unsqueeze(node: Reader) -> Shape:
    shape = list(node.inputs[0])
    for axis in node.axes(len(shape) + len(node.numbers[1] or ())):
        shape.insert(axis, 1)
    return tuple(shape)


def _squeeze(node: Reader) -> Shape:
    x = node.inputs[0]
    axes = node.axes(len(x))
    node.require(all(x[axis] == 1 for axis in axes), "lengths of 1")
    return tuple(length for axis, length in enumerate(x) if axis not in axes)


def _concatenation(node: Reader) -> Shape:
    axis = node.attributes.get("axis", -1)
    first, *others = node.inputs
    rest = [x[:axis] + x[axis + 1 :] for x in node.inputs]
    fits = (
        0 <= axis < len(first) and all(len(x) == len(first) for x in others) and rest == rest[:1] * len(rest)
    )
    node.require(fits, "images of one size")
    return *first[:axis], sum(x[axis] for x in node.inputs), *first[axis + 1 :]


def _normalization(node: Reader) -> Shape:
    x, *parameters = node.inputs
    node.require(len(x) > 2 and parameters == [(x[1],)] * 2, "an image and two values for each channel")
    return x


def _broadcast(node: Reader) -> Shape:
    return np.broadcast_shapes(*node.inputs)


def _clip(node: Reader) -> Shape:
    x, *bounds = node.inputs
    node.require(bounds == [(), ()], "two bounds")
    return x


def _along_axis(node: Reader) -> Shape:
    x = _same(node)
    axis = node.attributes.get("axis", -1)
    node.require(-len(x) <= axis < len(x), f"an axis, not {axis},")
    return x


def _product(node: Reader) -> Shape:
    x, (rows, columns) = node.inputs
    node.require(x[-1:] == (rows,), "rows as long as the weight's columns")
    return *x[:-1], columns


def _without(node: Reader, axes: Sequence[int]) -> Shape:
    x = node.inputs[0]
    if node.attributes.get("keepdims", 1):
        return tuple(1 if axis in axes else length for axis, length in enumerate(x))
    return tuple(length for axis, length in enumerate(x) if axis not in axes)


def _reduction(node: Reader) -> Shape:
    axes = node.attributes.get("axes", [])
    different = axes and axes == sorted(set(axes)) and axes[0] >= 0 and axes[-1] < len(node.inputs[0])
    node.require(len(node.inputs) == 1 and different, "different axes")
    return _without(node, axes)


def _sum(node: Reader) -> Shape:
    return _without(node, node.axes(len(node.inputs[0])))


def _transpose(node: Reader) -> Shape:
    x, order = _same(node), node.attributes.get("perm", [])
    node.require(sorted(order) == list(range(len(x))), "each axis once")
    return tuple(x[axis] for axis in order)


def _reshape(node: Reader) -> Shape:
    x, shape = node.inputs[0], list(node.numbers[1])
    rest = math.prod(length for length in shape if length != -1)
    fits = shape.count(-1) == 1 and min(shape) != 0 and rest > 0 and math.prod(x) % rest == 0
    node.require(fits and len(shape) <= 8, "a shape with the images at -1")
    shape[shape.index(-1)] = math.prod(x) // rest
    return tuple(shape)


def _slice(node: Reader) -> Shape:
    x = list(node.inputs[0])
    begins, ends, axes, steps = node.numbers[1:]
    node.require(
        len(begins) == len(ends) == len(axes) == len(steps) == len(set(axes)), "as many bounds as axes"
    )
    for begin, end, axis, step in zip(begins, ends, axes, steps):
        node.require(0 <= axis < len(x) and 1 <= step <= _SIDE, "axes and steps")
        x[axis] = len(range(*slice(begin, end, step).indices(x[axis])))
    return tuple(x)


def _resize(node: Reader) -> Shape:
    x, _, _ = node.inputs
    scales = node.numbers[2]
    sizes = scales is not None and len(scales) == len(x) == 4 and scales[:2] == [1, 1]
    node.require(
        sizes and all(1 / _SIDE <= scale <= _SIDE for scale in scales), "an image and its four scales"
    )
    # As onnxruntime rounds: in float32.
    return *x[:2], *(int(np.float32(side) * np.float32(scale)) for side, scale in zip(x[2:], scales[2:]))


_Result = Callable[[Reader], Shape]

# The attributes of each operator and their types, which inputs are int64, and the function for its output's shape.
OPERATORS: dict[str, tuple[dict[str, str], tuple[int, ...], _Result]] = {
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
    "Flatten": ({}, (), _flatten),
    "Gemm": ({"transB": "i"}, (), _gemm),
    "GlobalAveragePool": ({}, (), _global_pooling),
    "GlobalMaxPool": ({}, (), _global_pooling),
    "LRN": ({"size": "i", "alpha": "f", "beta": "f", "bias": "f"}, (), _image),
    "MaxPool": ({"kernel_shape": "ints", "strides": "ints", "pads": "ints", "ceil_mode": "i"}, (), _pooling),
    "PRelu": ({}, (), _prelu),
    "Pad": ({"mode": "s"}, (1,), _pad),
    "Squeeze": ({}, (1,), _squeeze),
    "Unsqueeze": ({}, (1,), _unsqueeze),
    **{
        name: ({}, (), _same)
        for name in (
            "Abs",
            "Erf",
            "Exp",
            "Log",
            "Neg",
            "Relu",
            "Selu",
            "Sigmoid",
            "Softplus",
            "Softsign",
            "Sqrt",
            "Tanh",
        )
    },
    **{name: ({"alpha": "f"}, (), _same) for name in ("Elu", "LeakyRelu")},
    **{name: ({}, (), _broadcast) for name in ("Add", "Div", "Max", "Min", "Mul", "Pow", "Sub", "Sum")},
    **{name: ({"axis": "i"}, (), _along_axis) for name in ("LogSoftmax", "Softmax")},
    **{
        name: ({"axes": "ints", "keepdims": "i"}, (), _reduction)
        for name in ("ReduceMax", "ReduceMean", "ReduceMin", "ReduceSumSquare")
    },
    "Clip": ({}, (), _clip),
    "HardSigmoid": ({"alpha": "f", "beta": "f"}, (), _same),
    "InstanceNormalization": ({"epsilon": "f"}, (), _normalization),
    "MatMul": ({}, (), _product),
    "ReduceSum": ({"keepdims": "i"}, (1,), _sum),
    "Reshape": ({}, (1,), _reshape),
    "Resize": ({"mode": "s", "coordinate_transformation_mode": "s", "nearest_mode": "s"}, (), _resize),
    "Slice": ({}, (1, 2, 3, 4), _slice),
    "Transpose": ({"perm": "ints"}, (), _transpose),
}
