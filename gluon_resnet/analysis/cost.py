"""The cost of a network: parameters and multiply-adds of each layer, read off its graph.

Nothing is computed or initialized: MXNet infers the shapes.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from gluon_resnet._mxnet import mx
from gluon_resnet.errors import UsageError

Shape = tuple[int, ...]

_INPUT = "data"
_NORMALIZATION = "normalize_"  # the prefix used by models.normalize.with_normalization
_MULTIPLYING = ("Convolution", "FullyConnected")  # input 1 is the weight, and its first axis the outputs
_KINDS = {
    "BatchNorm": "batch normalization",
    "FullyConnected": "fully connected",
    "Flatten": "flatten",
    "elemwise_add": "addition",
    "_contrib_AdaptiveAvgPooling2D": "global avg pooling",  # the one in the CIFAR nets
}


@dataclass(frozen=True)
class Layer:
    """One operator of a graph, for one image."""

    name: str
    operator: str  # MXNet's name: Convolution, BatchNorm, Activation, ...
    output: Shape  # without the batch: (channels, height, width) or (units,)
    parameters: int  # numbers that training changes; shared ones count at their first use
    fixed: (
        int  # numbers that it leaves alone or only measures: running statistics, a mean image, frozen weights
    )
    multiply_adds: int
    attributes: Mapping[str, str]  # as the graph has them

    @property
    def kind(self) -> str:
        """A description of it, such as '3x3 convolution, stride 2'."""
        if self.operator in ("Convolution", "Pooling"):
            return self._window()
        if "act_type" in self.attributes:
            return self.attributes["act_type"]
        return _KINDS.get(self.operator, self.operator)

    def numbers(self, attribute: str, default: Shape = ()) -> Shape:
        """An attribute that is one or several numbers, as integers: kernel, stride, num_filter, ..."""
        value = ast.literal_eval(self.attributes.get(attribute, "()"))
        return (value if isinstance(value, tuple) else (value,)) or default

    def _window(self) -> str:
        """Kernel, stride and groups of a convolution or pooling."""
        pooling = self.operator == "Pooling"
        name = f"{self.attributes['pool_type']} pooling" if pooling else "convolution"
        if pooling and self.attributes.get("global_pool") == "True":
            return f"global {name}"
        text = f"{times(self.numbers('kernel'))} {name}"
        stride, groups = self.numbers("stride", (1,)), self.numbers("num_group", (1,))[0]
        if max(stride) > 1:
            text += f", stride {stride[0] if len(set(stride)) == 1 else times(stride)}"
        return text + (f", {groups} groups" if groups > 1 else "")


@dataclass(frozen=True)
class Total:
    """The sum over several layers."""

    name: str
    weighted: int  # convolutions and fully connected layers, including those of shortcuts
    output: Shape  # the shape of the last layer's output
    parameters: int
    fixed: int
    multiply_adds: int

    @staticmethod
    def of(layers: Sequence[Layer], name: str = "total") -> Total:
        """The sum over `layers`, at least one."""
        return Total(
            name,
            sum(layer.operator in _MULTIPLYING for layer in layers),
            layers[-1].output,
            sum(layer.parameters for layer in layers),
            sum(layer.fixed for layer in layers),
            sum(layer.multiply_adds for layer in layers),
        )


def layers_of(network: Any, image_shape: Shape) -> list[Layer]:
    """The operators of `network`, in the order in which they run.

    Multiply-adds are those of convolutions and fully connected layers for one image, counted once per product, as by
    He et al. 2015 ("FLOPs (multiply-adds)", §3.3). Biases, normalization, ReLU, pooling and the additions of
    shortcuts are not counted, so shortcuts of option A are free.

    Args:
        network: a HybridBlock, initialized or not, or a Symbol with the input `data`. The trained parameters of a
            block are those with a gradient; those of a Symbol, which does not say, are all but running statistics
            and the constants of models.normalize.
        image_shape: (channels, height, width).

    Raises:
        UsageError: the network cannot process images of this shape.
    """
    if isinstance(network, mx.sym.Symbol):
        graph = network
        fixed = {name for name in graph.list_arguments() if name.startswith(_NORMALIZATION)}
    else:
        graph = network(mx.sym.var(_INPUT))
        fixed = {name for name, p in network.collect_params().items() if p.grad_req == "null"}
    fixed.update(graph.list_auxiliary_states())

    internals = graph.get_internals()
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # MXNet prints to it before it raises
            _, outputs, _ = internals.infer_shape(**{_INPUT: (1, *image_shape)})
    except mx.MXNetError as error:
        reason = str(error).split("Error in operator ")[-1].split("\n")[0]
        raise UsageError(f"this network cannot process images of {times(image_shape)}: {reason}") from None
    shapes: dict[str, Shape] = {}  # of each node's (first) output, by the node's name
    for name, shape in zip(internals.list_outputs(), outputs):
        shapes.setdefault(re.sub("_output0?$", "", name), shape)

    nodes = json.loads(graph.tojson())["nodes"]
    counted = {_INPUT}
    layers = []
    for node in nodes:
        if node["op"] == "null":
            continue
        inputs = [nodes[index] for index, *_ in node["inputs"]]
        new = [n["name"] for n in inputs if n["op"] == "null" and n["name"] not in counted]
        counted.update(new)
        sizes = {name: math.prod(shapes[name]) for name in new}
        attributes = node.get("attrs", {})
        weight = shapes[inputs[1]["name"]] if node["op"] in _MULTIPLYING else ()
        output = shapes[node["name"]]
        layers.append(
            Layer(
                name=node["name"],
                operator=node["op"],
                output=tuple(output[1:]),
                parameters=sum(size for name, size in sizes.items() if name not in fixed),
                fixed=sum(size for name, size in sizes.items() if name in fixed),
                # Each position of the output uses every weight once, whatever the groups, stride and layout.
                multiply_adds=math.prod(output) // weight[0] * math.prod(weight) if weight else 0,
                attributes=attributes,
            )
        )
    return layers


def stages_of(layers: Sequence[Layer]) -> list[Total]:
    """The sums over the stages of a network, between a 'stem' and a 'head'.

    If the names of the layers have no stages (VGG, GoogLeNet), the sums are over consecutive layers with maps of one
    size, and named after it.
    """
    numbers = [re.search(r"stage\d+(?=_)", layer.name) for layer in layers]
    names = [match[0] if match else "" for match in numbers]
    staged = [index for index, name in enumerate(names) if name]
    if staged:
        first, last = staged[0], staged[-1]
        for index in range(first, last):
            names[index] = names[index] or names[index - 1]
        names[:first] = ["stem"] * first
        names[last + 1 :] = ["head"] * (len(names) - last - 1)
    else:
        names = [times(layer.output[1:]) or "1x1" for layer in layers]
    runs = groupby(zip(names, layers), key=lambda pair: pair[0])
    return [Total.of([layer for _, layer in run], name) for name, run in runs]


def times(sizes: Sequence[int]) -> str:
    """Sizes in the usual notation: 3x224x224."""
    return "x".join(map(str, sizes))
