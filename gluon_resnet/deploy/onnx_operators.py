"""The ONNX equivalent of each MXNet operator in our networks.

A translation takes a Node, adds what it needs to an OnnxGraph, and returns the name of the node's output there.
Operators are documented, for MXNet in src/operator of 1.9.1, and for ONNX in docs/Operators.md, opset 13.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import Any, Callable, NamedTuple

import numpy as np
from onnx import NodeProto, helper

from gluon_resnet.errors import UsageError


class Node(NamedTuple):
    """A node of an MXNet graph, with its inputs already translated."""

    operator: str
    name: str
    attributes: dict[str, str]  # as MXNet writes them; defaults may be missing
    inputs: list[str]  # their names in the ONNX graph
    sole_reader_of: str  # the operator before it, if no other node reads its output

    def get(self, name: str, default: Any) -> Any:
        """The value of an attribute: a number, a bool, a tuple or text."""
        text = self.attributes.get(name)
        if text is None:
            return default
        try:
            return ast.literal_eval(text)
        except (SyntaxError, ValueError):
            return text

    def require(self, name: str, *values: Any) -> Any:
        """The value of an attribute, by default values[0]; UsageError if it is not one of `values`."""
        found = self.get(name, values[0])
        if found not in values:
            raise self.error(f"{name}={found}")
        return found

    def error(self, what: str) -> UsageError:
        return UsageError(f"{self.operator}({what}), the node {self.name}, cannot be translated to ONNX")


@dataclass
class OnnxGraph:
    """Nodes by the names of their outputs, in the order of execution, and the weights that they read.

    `shapes` has the shapes of nodes' inputs and outputs for one image.
    """

    weights: dict[str, np.ndarray]
    shapes: dict[str, tuple[int, ...]]
    nodes: dict[str, NodeProto] = field(default_factory=dict)

    def add(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Add a node with one output, and return the output's name."""
        if output in self.nodes:
            raise UsageError(f"two nodes are named {output}, which ONNX does not allow")
        self.nodes[output] = helper.make_node(kind, inputs, [output], output, **attributes)
        return output

    def constant(self, name: str, value: Any, dtype: str) -> str:
        """Add a weight, and return its name."""
        self.weights[name] = np.asarray(value, dtype)
        return name


def _convolution(node: Node, graph: OnnxGraph) -> str:
    node.require("layout", None, "NCHW")
    return graph.add(
        "Conv",
        node.inputs,
        node.name,
        kernel_shape=node.get("kernel", ()),
        strides=node.get("stride", (1, 1)),
        pads=2 * node.get("pad", (0, 0)),
        dilations=node.get("dilate", (1, 1)),
        group=node.get("num_group", 1),
    )


def _batch_norm(node: Node, graph: OnnxGraph) -> str:
    node.require("axis", 1)
    x, gamma, beta, mean, variance = node.inputs
    if node.get("fix_gamma", True):
        graph.weights[gamma] = np.ones_like(graph.weights[gamma])
    if node.sole_reader_of != "Convolution":
        return graph.add("BatchNormalization", node.inputs, node.name, epsilon=node.get("eps", 1e-3))
    # Its scale and shift are folded into the convolution.
    convolution = graph.nodes[x]
    weight, *bias = convolution.input[1:]
    values = {name: graph.weights[name].astype(np.float64) for name in (gamma, beta, mean, variance, *bias)}
    scale = values[gamma] / np.sqrt(values[variance] + node.get("eps", 1e-3))
    shift = values[beta] + scale * (sum(values[name] for name in bias) - values[mean])
    folded = graph.weights[weight] * scale.reshape(-1, 1, 1, 1)
    inputs = [
        graph.constant(f"{x}_weight", folded, "float32"),
        graph.constant(f"{x}_bias", shift, "float32"),
    ]
    del convolution.input[1:]
    convolution.input.extend(inputs)
    return x


def _activation(node: Node, graph: OnnxGraph) -> str:
    node.require("act_type", "relu")
    return graph.add("Relu", node.inputs, node.name)


def _prelu(node: Node, graph: OnnxGraph) -> str:
    node.require("act_type", "prelu")
    x, slope = node.inputs
    rank = len(graph.shapes[x])
    if rank > 2:  # PRelu broadcasts from the last axis; MXNet's slopes belong to the second
        shape = (-1, *(1,) * (rank - 2))
        slope = graph.constant(f"{node.name}_slope", graph.weights[slope].reshape(shape), "float32")
    return graph.add("PRelu", [x, slope], node.name)


def _pooling(node: Node, graph: OnnxGraph) -> str:
    node.require("layout", None, "NCHW")
    kind = {"max": "Max", "avg": "Average"}[node.require("pool_type", "max", "avg")]
    if node.get("global_pool", False):
        return graph.add(f"Global{kind}Pool", node.inputs, node.name)
    # Runtimes disagree about what an average includes at an edge that is rounded up.
    full = node.require("pooling_convention", *(("valid", "full") if kind == "Max" else ("valid",))) == "full"
    attributes = {} if kind == "Max" else {"count_include_pad": int(node.get("count_include_pad", True))}
    return graph.add(
        f"{kind}Pool",
        node.inputs,
        node.name,
        kernel_shape=node.get("kernel", ()),
        strides=node.get("stride", (1, 1)),
        pads=2 * node.get("pad", (0, 0)),
        ceil_mode=int(full),
        **attributes,
    )


def _adaptive_pooling(node: Node, graph: OnnxGraph) -> str:
    node.require("output_size", 1, (1,), (1, 1))
    return graph.add("GlobalAveragePool", node.inputs, node.name)


def _local_response_norm(node: Node, graph: OnnxGraph) -> str:
    return graph.add(
        "LRN",
        node.inputs,
        node.name,
        size=node.get("nsize", None),
        alpha=float(node.get("alpha", 1e-4)),
        beta=float(node.get("beta", 0.75)),
        bias=float(node.get("knorm", 2.0)),
    )


def _fully_connected(node: Node, graph: OnnxGraph) -> str:
    x, *parameters = node.inputs
    if len(graph.shapes[x]) > 2:
        node.require("flatten", True)
        x = graph.add("Flatten", [x], f"{node.name}_flatten")
        graph.shapes[x] = (1, graph.weights[parameters[0]].shape[1])
    return graph.add("Gemm", [x, *parameters], node.name, transB=1)


def _pad(node: Node, graph: OnnxGraph) -> str:
    node.require("mode", "constant")
    widths = node.get("pad_width", ())  # before and after the first axis, then the second, ...
    pads = graph.constant(f"{node.name}_pads", [*widths[::2], *widths[1::2]], "int64")
    value = graph.constant(f"{node.name}_value", node.get("constant_value", 0), "float32")
    return graph.add("Pad", [node.inputs[0], pads, value], node.name)


def _with_axis(kind: str) -> Callable[[Node, OnnxGraph], str]:
    def translate(node: Node, graph: OnnxGraph) -> str:
        axes = graph.constant(f"{node.name}_axes", np.atleast_1d(node.get("axis", None)), "int64")
        return graph.add(kind, [node.inputs[0], axes], node.name)

    return translate


def _concatenation(node: Node, graph: OnnxGraph) -> str:
    return graph.add("Concat", node.inputs, node.name, axis=node.get("dim", 1))


def _flatten(node: Node, graph: OnnxGraph) -> str:
    return graph.add("Flatten", node.inputs, node.name)


def _cast(node: Node, graph: OnnxGraph) -> str:
    node.require("dtype", "float32")  # which the input is already
    return node.inputs[0]


def _dropout(node: Node, graph: OnnxGraph) -> str:
    node.require("mode", "training")
    return node.inputs[0]


def _times_one(node: Node, graph: OnnxGraph) -> str:
    node.require("scalar", 1)  # MXNet's fusion needs it (see PreactivatedUnit)
    return node.inputs[0]


def _elementwise(kind: str) -> Callable[[Node, OnnxGraph], str]:
    return lambda node, graph: graph.add(kind, node.inputs, node.name)


TRANSLATIONS: dict[str, Callable[[Node, OnnxGraph], str]] = {
    "Activation": _activation,
    "BatchNorm": _batch_norm,
    "Cast": _cast,
    "Concat": _concatenation,
    "Convolution": _convolution,
    "Dropout": _dropout,
    "Flatten": _flatten,
    "FullyConnected": _fully_connected,
    "LRN": _local_response_norm,
    "LeakyReLU": _prelu,
    "Pad": _pad,
    "Pooling": _pooling,
    "_contrib_AdaptiveAvgPooling2D": _adaptive_pooling,
    "_mul_scalar": _times_one,
    "broadcast_div": _elementwise("Div"),
    "broadcast_sub": _elementwise("Sub"),
    "elemwise_add": _elementwise("Add"),
    "expand_dims": _with_axis("Unsqueeze"),
    "squeeze": _with_axis("Squeeze"),
}
