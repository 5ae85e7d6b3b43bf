"""The ONNX equivalent of each MXNet operator of networks that classify images.

They are the operators of csrc/graph/operator_table.cc, except for INT8's. MXNet documents them in src/operator of
1.9.1, and ONNX in docs/Operators.md, opset 13.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gluon_resnet.deploy.onnx_graph import Node, OnnxGraph, Translation
from gluon_resnet.deploy.onnx_layers import LAYERS


def _pad(node: Node, graph: OnnxGraph) -> str:
    mode = node.require("mode", "constant", "edge")
    widths = node.get("pad_width", ())  # before and after the first axis, then the second, ...
    inputs = [node.inputs[0], graph.constant(f"{node.name}_pads", [*widths[::2], *widths[1::2]], "int64")]
    if mode == "constant":
        inputs.append(graph.constant(f"{node.name}_value", node.get("constant_value", 0)))
        return graph.add("Pad", inputs, node.name)
    return graph.add("Pad", inputs, node.name, mode=mode)


def _reshape(node: Node, graph: OnnxGraph) -> str:
    """To the shape that MXNet has inferred, whose codes (0, -2, -3, -4) ONNX does not know."""
    shape = list(node.output_shape)
    shape[node.batch_axis] = -1
    return graph.add(
        "Reshape", [node.inputs[0], graph.constant(f"{node.name}_shape", shape, "int64")], node.name
    )


def _sliced(
    graph: OnnxGraph,
    x: str,
    name: str,
    axes: Sequence[int],
    begin: Sequence[Any],
    end: Sequence[Any],
    step: Sequence[Any],
) -> str:
    begins = [0 if value is None else value for value in begin]
    ends = [2**31 if value is None else value for value in end]
    steps = [1 if value is None else value for value in step]
    bounds = (("begin", begins), ("end", ends), ("axes", axes), ("steps", steps))
    return graph.add(
        "Slice", [x, *(graph.constant(f"{name}_{of}", value, "int64") for of, value in bounds)], name
    )


def _slice(node: Node, graph: OnnxGraph) -> str:
    begin, end = node.get("begin", ()), node.get("end", ())
    step = node.get("step", ()) or (None,) * len(begin)
    return _sliced(graph, node.inputs[0], node.name, range(len(begin)), begin, end, step)


def _slice_axis(node: Node, graph: OnnxGraph) -> str:
    axes = graph.axes(node, node.get("axis", 0))
    return _sliced(
        graph, node.inputs[0], node.name, axes, [node.get("begin", 0)], [node.get("end", None)], [1]
    )


def _slice_channel(node: Node, graph: OnnxGraph) -> list[str]:
    (axis,) = graph.axes(node, node.get("axis", 1))
    count = node.get("num_outputs", 1)
    size = graph.shapes[node.inputs[0]][axis] // count
    parts = []
    for number in range(count):
        name = f"{node.name}_{number}" if count > 1 else node.name
        bounds = [number * size], [(number + 1) * size], [1]
        if node.get("squeeze_axis", False):
            part = _sliced(graph, node.inputs[0], f"{name}_part", [axis], *bounds)
            axes = graph.constant(f"{name}_squeezed", [axis], "int64")
            parts.append(graph.add("Squeeze", [part, axes], name))
        else:
            parts.append(_sliced(graph, node.inputs[0], name, [axis], *bounds))
    return parts


def _swap_axes(node: Node, graph: OnnxGraph) -> str:
    order = list(range(len(graph.shapes[node.inputs[0]])))
    first, second = node.get("dim1", 0), node.get("dim2", 0)
    order[first], order[second] = order[second], order[first]
    return graph.add("Transpose", node.inputs, node.name, perm=order)


def _transpose(node: Node, graph: OnnxGraph) -> str:
    order = node.get("axes", ()) or range(len(graph.shapes[node.inputs[0]]))[::-1]
    return graph.add("Transpose", node.inputs, node.name, perm=list(order))


def _expand_dims(node: Node, graph: OnnxGraph) -> str:
    axis = graph.constant(f"{node.name}_axes", np.atleast_1d(node.get("axis", None)), "int64")
    return graph.add("Unsqueeze", [node.inputs[0], axis], node.name)


def _squeeze(node: Node, graph: OnnxGraph) -> str:
    axis = node.get("axis", None)
    if axis is None:
        raise node.error("axis=None, which depends on the number of images")
    axes = graph.constant(f"{node.name}_axes", graph.axes(node, axis), "int64")
    return graph.add("Squeeze", [node.inputs[0], axes], node.name)


def _reduction(kind: str) -> Translation:
    def translate(node: Node, graph: OnnxGraph) -> str:
        axis = node.get("axis", None)
        axes = graph.axes(node, None if axis == () else axis)
        if node.get("exclude", False):
            axes = [n for n in range(len(graph.shapes[node.inputs[0]])) if n not in axes]
        keep = int(node.get("keepdims", False))
        if kind == "ReduceSum":  # whose axes are an input from opset 13 on
            listed = graph.constant(f"{node.name}_axes", axes, "int64")
            return graph.add(kind, [node.inputs[0], listed], node.name, keepdims=keep)
        return graph.add(kind, node.inputs, node.name, axes=axes, keepdims=keep)

    return translate


def _concatenation(node: Node, graph: OnnxGraph) -> str:
    return graph.add("Concat", node.inputs, node.name, axis=node.get("dim", 1))


def _softmax(kind: str) -> Translation:
    def translate(node: Node, graph: OnnxGraph) -> str:
        x, temperature = node.inputs[0], node.get("temperature", None)
        if temperature not in (None, 1):
            x = graph.add(
                "Div", [x, graph.constant(f"{node.name}_temperature", temperature)], f"{node.name}_divided"
            )
        return graph.add(kind, [x], node.name, axis=node.get("axis", -1))

    return translate


def _cast(node: Node, graph: OnnxGraph) -> str:
    node.require("dtype", "float32")  # which the input is already
    return node.inputs[0]


def _identity(node: Node, graph: OnnxGraph) -> str:
    return node.inputs[0]


def _elementwise(kind: str, **attributes: Any) -> Translation:
    return lambda node, graph: graph.add(kind, node.inputs, node.name, **attributes)


def _square(node: Node, graph: OnnxGraph) -> str:
    return graph.add("Mul", 2 * node.inputs, node.name)


def _like(value: float) -> Translation:
    def translate(node: Node, graph: OnnxGraph) -> str:
        bound = graph.constant(f"{node.name}_value", value)
        return graph.add("Clip", [node.inputs[0], bound, bound], node.name)

    return translate


def _with_scalar(kind: str, reversed_: bool = False) -> Translation:
    def translate(node: Node, graph: OnnxGraph) -> str:
        scalar = node.get("scalar", 0)
        if kind == "Mul" and scalar == 1:  # which MXNet's fusion needs (see PreactivatedUnit)
            return node.inputs[0]
        operands = [node.inputs[0], graph.constant(f"{node.name}_scalar", scalar)]
        return graph.add(kind, operands[::-1] if reversed_ else operands, node.name)

    return translate


def _clip(node: Node, graph: OnnxGraph) -> str:
    bounds = [graph.constant(f"{node.name}_{name}", node.get(name, 0)) for name in ("a_min", "a_max")]
    return graph.add("Clip", [node.inputs[0], *bounds], node.name)


def _hard_sigmoid(node: Node, graph: OnnxGraph) -> str:
    alpha, beta = float(node.get("alpha", 0.2)), float(node.get("beta", 0.5))
    return graph.add("HardSigmoid", node.inputs, node.name, alpha=alpha, beta=beta)


TRANSLATIONS: dict[str, Translation] = {
    **LAYERS,
    "Concat": _concatenation,
    "Flatten": _elementwise("Flatten"),
    "Pad": _pad,
    "Reshape": _reshape,
    "SliceChannel": _slice_channel,
    "SwapAxis": _swap_axes,
    "_power_scalar": _with_scalar("Pow"),
    "_rdiv_scalar": _with_scalar("Div", reversed_=True),
    "_rminus_scalar": _with_scalar("Sub", reversed_=True),
    "clip": _clip,
    "expand_dims": _expand_dims,
    "hard_sigmoid": _hard_sigmoid,
    "log_softmax": _softmax("LogSoftmax"),
    "max": _reduction("ReduceMax"),
    "mean": _reduction("ReduceMean"),
    "min": _reduction("ReduceMin"),
    "negative": _elementwise("Neg"),
    "ones_like": _like(1.0),
    "slice": _slice,
    "slice_axis": _slice_axis,
    "softmax": _softmax("Softmax"),
    "square": _square,
    "squeeze": _squeeze,
    "sum": _reduction("ReduceSum"),
    "transpose": _transpose,
    "zeros_like": _like(0.0),
    **dict.fromkeys(("BlockGrad", "_copy"), _identity),
    **dict.fromkeys(("Cast", "amp_cast"), _cast),
    **dict.fromkeys(("ElementWiseSum", "add_n"), _elementwise("Sum")),
    **{
        name: _elementwise(name.capitalize())
        for name in ("abs", "erf", "exp", "log", "relu", "sigmoid", "softsign", "sqrt", "tanh")
    },
    **dict.fromkeys(("_Plus", "_plus", "broadcast_add", "elemwise_add"), _elementwise("Add")),
    **dict.fromkeys(("_Minus", "_minus", "broadcast_sub", "elemwise_sub"), _elementwise("Sub")),
    **dict.fromkeys(("_Mul", "_mul", "broadcast_mul", "elemwise_mul"), _elementwise("Mul")),
    **dict.fromkeys(("_Div", "broadcast_div", "elemwise_div"), _elementwise("Div")),
    **dict.fromkeys(("_maximum", "broadcast_maximum"), _elementwise("Max")),
    **dict.fromkeys(("_minimum", "broadcast_minimum"), _elementwise("Min")),
    **dict.fromkeys(("_PlusScalar", "_plus_scalar"), _with_scalar("Add")),
    **dict.fromkeys(("_MinusScalar", "_minus_scalar"), _with_scalar("Sub")),
    **dict.fromkeys(("_MulScalar", "_mul_scalar"), _with_scalar("Mul")),
    **dict.fromkeys(("_DivScalar", "_div_scalar"), _with_scalar("Div")),
    "_maximum_scalar": _with_scalar("Max"),
    "_minimum_scalar": _with_scalar("Min"),
}
