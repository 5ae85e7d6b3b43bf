"""A network's graph and parameters as an ONNX file.

MXNet's exporter is not used: it takes the opset of the installed onnx, makes every weight an input as well, which
keeps runtimes from folding it, gives PReLU's slopes the wrong axis, and copies the weights several times.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gluon_resnet import __version__
from gluon_resnet.deploy.backend import FEATURES, LOGITS
from gluon_resnet.errors import EnvironmentProblem, UsageError

try:
    import onnx
except ImportError:
    raise EnvironmentProblem(
        "writing ONNX files needs the package onnx: pip install 'gluon-resnet[onnx]'"
    ) from None

from gluon_resnet.deploy.onnx_operators import TRANSLATIONS, Node, OnnxGraph

OPSET = 13  # known to onnxruntime since 1.6 (2020); no operator here gains anything from a later one
IR_VERSION = 7  # the one of that opset's time; from 4 on, weights need not be inputs

_DESCRIPTION = (
    "Input: float32 RGB from 0 to 255, NCHW; the normalization is inside. Outputs: the logits, before the softmax; "
    "the features, which are the inputs of the last fully connected layer."
)
_LIMIT = 2**31 - 2**22  # protobuf's limit is 2 GiB; the rest is for nodes and metadata


def write_onnx(
    path: str, graph: Any, parameters: Mapping[str, np.ndarray], size: int, metadata: Mapping[str, Any]
) -> None:
    """Write a network to `path`, with the graph's own input, (N, 3, size, size), and the outputs of _DESCRIPTION.

    Batch normalization after a convolution is folded into it, in float64. The file is validated by ONNX's checker.

    Args:
        graph: an MXNet symbol that ends with a fully connected layer.
        parameters: the float32 values of its arguments and auxiliary states, by name. They are copied twice.
        metadata: the file's metadata_props; values that are not text are written as JSON.

    Raises:
        UsageError: a node cannot be translated, or the file would exceed 2 GiB.
        OSError: the file cannot be written.
    """
    translated, data, logits = _translate(graph, parameters, (1, 3, size, size))
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
    _add_nodes(model.graph, translated, data, logits)
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
) -> tuple[OnnxGraph, str, str]:
    """The nodes, the name of the input, and the name of the output."""
    content = json.loads(graph.tojson())
    nodes = content["nodes"]
    (data,) = (node["name"] for node in nodes if node["op"] == "null" and node["name"] not in parameters)
    internals = graph.get_internals()
    shapes = dict(zip(internals.list_outputs(), internals.infer_shape(**{data: shape})[1]))
    translated = OnnxGraph(dict(parameters), {data: tuple(shape)})
    readers = Counter(index for node in nodes for index, *_ in node["inputs"])
    names: list[str] = []  # the nodes' outputs in ONNX; only the first output of any operator here is read
    for node in nodes:
        if node["op"] == "null":
            names.append(node["name"])
            continue
        indices = [index for index, *_ in node["inputs"]]
        described = Node(
            node["op"],
            node["name"],
            node.get("attrs", {}),
            [names[index] for index in indices],
            nodes[indices[0]]["op"] if readers[indices[0]] == 1 else "",
        )
        if described.operator not in TRANSLATIONS:
            raise UsageError(
                f"the operator {described.operator}, of the node {described.name}, cannot be translated to ONNX"
            )
        output = TRANSLATIONS[described.operator](described, translated)
        translated.shapes.setdefault(output, shapes[f"{described.name}_output"])
        names.append(output)
    ((last, *_),) = content["heads"]
    if nodes[last]["op"] != "FullyConnected":
        raise UsageError(
            f"expected a network that ends with a fully connected layer, found {nodes[last]['name']} at its end"
        )
    return translated, data, names[last]


def _add_nodes(graph: onnx.GraphProto, translated: OnnxGraph, data: str, logits: str) -> None:
    """Add the nodes and describe all tensors that they write; the two outputs get their names."""
    # The input of the last layer, as one row per image.
    outputs = {logits: LOGITS, translated.nodes[logits].input[0]: FEATURES}
    for output, node in translated.nodes.items():
        node.input[:] = [outputs.get(name, name) for name in node.input]
        node.output[:] = [outputs.get(output, output)]
    graph.node.extend(translated.nodes.values())
    shapes = translated.shapes
    graph.input.append(_value(data, shapes[data]))
    graph.output.extend(_value(name, shapes[output]) for output, name in outputs.items())
    graph.value_info.extend(_value(name, shapes[name]) for name in translated.nodes if name not in outputs)


def _value(name: str, shape: Sequence[int]) -> onnx.ValueInfoProto:
    """The description of a float32 tensor with any number of images."""
    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", *shape[1:]])
