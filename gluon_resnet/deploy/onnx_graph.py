"""An ONNX graph while it is translated from MXNet's, node by node."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import Any, Callable, NamedTuple, Union

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
    output_shape: tuple[int, ...]  # of its first output, for one image
    batch_axis: int  # the axis of that shape that grows with the number of images

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

    `shapes` has the shapes of nodes' inputs and of their first outputs, for one image.
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

    def constant(self, name: str, value: Any, dtype: str = "float32") -> str:
        """Add a weight, and return its name."""
        self.weights[name] = np.asarray(value, dtype)
        return name

    def axes(self, node: Node, axes: Any) -> list[int]:
        """One or several axes of a node's first input, counted from 0 and in order; all axes for none."""
        rank = len(self.shapes[node.inputs[0]])
        listed = [] if axes is None else list(np.atleast_1d(axes))
        return sorted(int(axis) % rank for axis in listed) or list(range(rank))


# Adds what a node needs to a graph, and returns the name of its output there, or the names of its outputs.
Translation = Callable[[Node, OnnxGraph], Union[str, list[str]]]
