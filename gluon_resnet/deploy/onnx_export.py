"""A network's graph and parameters as an ONNX file.

MXNet's exporter is not used: it takes the opset of the installed onnx, makes every weight an input as well, which
keeps runtimes from folding it, gives PReLU's slopes the wrong axis, and copies the weights several times.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gluon_resnet import __version__
from gluon_resnet._mxnet import mx
from gluon_resnet.deploy.backend import FEATURES, LOGITS
from gluon_resnet.deploy.symbol_file import says
from gluon_resnet.errors import EnvironmentProblem, UsageError

try:
    import onnx
except ImportError:
    raise EnvironmentProblem(
        "writing ONNX files needs the package onnx: pip install 'gluon-resnet[onnx]'"
    ) from None

from gluon_resnet.deploy.onnx_graph import Node, OnnxGraph
from gluon_resnet.deploy.onnx_operators import TRANSLATIONS

OPSET = 13  # known to onnxruntime since 1.6 (2020); no operator here gains anything from a later one
IR_VERSION = 7  # the one of that opset's time; from 4 on, weights need not be inputs

_DESCRIPTION = (
    "Input: float32 RGB from 0 to 255, NCHW; the normalization is inside. Outputs: the logits, before the softmax; "
    "the features, which are the inputs of the last fully connected layer, if the network ends with one."
)
_LIMIT = 2**31 - 2**22  # protobuf's limit is 2 GiB; the rest is for nodes and metadata


def write_onnx(
    path: str, graph: Any, parameters: Mapping[str, np.ndarray], size: int, metadata: Mapping[str, Any]
) -> None:
    """Write a network to `path`, with the graph's own input, (N, 3, size, size), and the outputs of _DESCRIPTION.

    Batch normalization after a convolution is folded into it, in float64. The file is validated by ONNX's checker.

    Args:
        graph: an MXNet symbol with a row of numbers for each image, which may end with a fully connected layer.
        parameters: the float32 values of its arguments and auxiliary states, by name. They are copied twice.
        metadata: the file's metadata_props; values that are not text are written as JSON.

    Raises:
        UsageError: a node cannot be translated, or the file would exceed 2 GiB.
        OSError: the file cannot be written.
    """
    translated, data, logits, features = _translate(graph, parameters, (1, 3, size, size))
    read = {name for node in translated.nodes.values() for name in node.input}
    weights = {name: value for name, value in translated.weights.items() if name in read}
    total = sum(value.nbytes for value in weights.values())
    if total > _LIMIT:
        raise UsageError(f"an ONNX file has at most 2 GiB, and these weights are {total / 2**30:.1f} GiB")
    model = onnx.ModelProto(
        ir_version=IR_VERSION,
        opset_import=[onnx.helper.make_opsetid("", OPSET)],
        producer_name="gluon-resnet",
        producer_version=__version__,
        doc_string=_DESCRIPTION,
    )
    for name, value in metadata.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        model.metadata_props.add(key=name, value=text)
    model.graph.name = str(metadata.get("network", "network"))
    _add_nodes(model.graph, translated, data, logits, features)
    for name, value in weights.items():
        # In place, since onnx.helper's functions copy their arguments.
        model.graph.initializer.add(
            name=name,
            dims=value.shape,
            data_type=onnx.helper.np_dtype_to_tensor_dtype(value.dtype),
            raw_data=value.tobytes(),
        )
    with open(path, "wb") as stream:
        stream.write(model.SerializeToString())
    del model
    onnx.checker.check_model(path, full_check=True)


def _translate(
    graph: Any, parameters: Mapping[str, np.ndarray], shape: Sequence[int]
) -> tuple[OnnxGraph, str, str, bool]:
    """The nodes, the names of the input and of the output, and whether that is a fully connected layer's."""
    content = _with_own_names(json.loads(graph.tojson()))
    graph, nodes = mx.sym.load_json(json.dumps(content)), content["nodes"]
    (data,) = (node["name"] for node in nodes if node["op"] == "null" and node["name"] not in parameters)
    one, two = (_shapes(graph, {data: (images, *shape[1:])}) for images in (1, 2))
    translated = OnnxGraph(dict(parameters), {data: tuple(shape)})
    readers = Counter(index for node in nodes for index, *_ in node["inputs"])
    names: list[list[str]] = []  # of the nodes' outputs in ONNX
    for node in nodes:
        if node["op"] == "null":
            names.append([node["name"]])
            continue
        inputs = [(index, number) for index, number, *_ in node["inputs"]]
        first = inputs[0][0]
        output_shape, grown = one[node["name"]], two[node["name"]]
        described = Node(
            node["op"],
            node["name"],
            node.get("attrs", {}),
            [names[index][number] for index, number in inputs],
            nodes[first]["op"] if readers[first] == 1 else "",
            output_shape,
            next((axis for axis, sides in enumerate(zip(output_shape, grown)) if sides[0] != sides[1]), 0),
        )
        if described.operator not in TRANSLATIONS:
            raise UsageError(
                f"the operator {described.operator}, of the node {described.name}, cannot be translated to ONNX"
            )
        outputs = TRANSLATIONS[described.operator](described, translated)
        names.append([outputs] if isinstance(outputs, str) else outputs)
        for output in names[-1]:
            translated.shapes.setdefault(output, output_shape)
    ((last, number, *_),) = content["heads"]
    logits = names[last][number]
    end = nodes[last]["name"]
    classes = one[end][-1]
    if logits not in translated.nodes or (one[end], two[end]) != ((1, classes), (2, classes)):
        raise UsageError(f"expected a network that ends with a row of numbers for each image, found {end}")
    return translated, data, logits, nodes[last]["op"] == "FullyConnected"


def _with_own_names(content: dict[str, Any]) -> dict[str, Any]:
    """The graph of a -symbol.json with another name for each operator whose name another node has before it.

    A block of Gluon that is called twice has such.
    """
    known: set[str] = {node["name"] for node in content["nodes"] if node["op"] == "null"}
    for number, node in enumerate(content["nodes"]):
        if node["op"] != "null":
            while node["name"] in known:
                node["name"] += f"_{number}"
            known.add(node["name"])
    return content


def _shapes(graph: Any, shapes: Mapping[str, Sequence[int]]) -> dict[str, tuple[int, ...]]:
    """The shape of each node's first output, by the node's name."""
    internals = graph.get_internals()
    try:
        inferred = internals.infer_shape(**shapes)[1]
    except mx.base.MXNetError as error:
        raise UsageError(f"the graph does not take any number of images of one size: {says(error)}") from None
    result: dict[str, tuple[int, ...]] = {}
    for name, shape in zip(internals.list_outputs(), inferred):
        result.setdefault(re.sub(r"_output\d*$", "", name), tuple(shape))
    return result


def _add_nodes(graph: onnx.GraphProto, translated: OnnxGraph, data: str, logits: str, features: bool) -> None:
    """Add the nodes and describe the tensors that they write; the logits and any `features` get their names."""
    outputs = {logits: LOGITS}
    last = translated.nodes[logits]
    if features and last.input[0] in translated.nodes:  # the input of the last layer, as one row per image
        outputs[last.input[0]] = FEATURES
    for output, node in translated.nodes.items():
        node.input[:] = [outputs.get(name, name) for name in node.input]
        node.output[:] = [outputs.get(output, output)]
    graph.node.extend(translated.nodes.values())
    shapes = translated.shapes
    graph.input.append(_value(data, shapes[data]))
    graph.output.extend(_value(name, shapes[output]) for output, name in outputs.items())
    described = (name for name in translated.nodes if name not in outputs and shapes.get(name, (0,))[0] == 1)
    graph.value_info.extend(_value(name, shapes[name]) for name in described)


def _value(name: str, shape: Sequence[int]) -> onnx.ValueInfoProto:
    """The description of a float32 tensor with any number of images."""
    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", *shape[1:]])
