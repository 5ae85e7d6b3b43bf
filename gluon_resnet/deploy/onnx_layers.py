"""The ONNX equivalents of MXNet's layers: src/operator of MXNet 1.9.1, and docs/Operators.md of ONNX, opset 13."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gluon_resnet.deploy.onnx_graph import Node, OnnxGraph, Translation


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
    rank = len(graph.shapes[node.inputs[0]])
    node.require("axis", *((1, -1) if rank == 2 else (1, 1 - rank)))
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
    kinds = {
        "relu": "Relu",
        "sigmoid": "Sigmoid",
        "tanh": "Tanh",
        "softrelu": "Softplus",
        "softsign": "Softsign",
    }
    return graph.add(kinds[node.require("act_type", *kinds)], node.inputs, node.name)


def _leaky_relu(node: Node, graph: OnnxGraph) -> str:
    kind = node.require("act_type", "leaky", "elu", "selu", "gelu", "prelu")
    if kind == "prelu":
        return _prelu(node, graph)
    if kind == "gelu":
        return _gelu(node, graph)
    if kind == "selu":
        return graph.add("Selu", node.inputs, node.name)
    return graph.add(
        {"leaky": "LeakyRelu", "elu": "Elu"}[kind],
        node.inputs,
        node.name,
        alpha=float(node.get("slope", 0.25)),
    )


def _gelu(node: Node, graph: OnnxGraph) -> str:
    """x (1 + erf(x / sqrt(2))) / 2."""
    (x,), name = node.inputs, node.name
    root, one, half = (
        graph.constant(f"{name}_{of}", value)
        for of, value in (("root", math.sqrt(2)), ("one", 1), ("half", 0.5))
    )
    inner = graph.add("Erf", [graph.add("Div", [x, root], f"{name}_divided")], f"{name}_erf")
    inner = graph.add("Mul", [graph.add("Add", [inner, one], f"{name}_sum"), half], f"{name}_halved")
    return graph.add("Mul", [x, inner], name)


def _prelu(node: Node, graph: OnnxGraph) -> str:
    x, slope = node.inputs
    rank = len(graph.shapes[x])
    if rank > 2:  # PRelu broadcasts from the last axis; MXNet's slopes belong to the second
        shape = (-1, *(1,) * (rank - 2))
        slope = graph.constant(f"{node.name}_slope", graph.weights[slope].reshape(shape), "float32")
    return graph.add("PRelu", [x, slope], node.name)


def _pooling(node: Node, graph: OnnxGraph) -> str:
    node.require("layout", None, "NCHW")
    kind = node.require("pool_type", "max", "avg", "sum")
    if node.get("global_pool", False):
        if kind == "sum":
            axes = graph.constant(f"{node.name}_axes", (2, 3), "int64")
            return graph.add("ReduceSum", [node.inputs[0], axes], node.name)
        return graph.add({"max": "GlobalMaxPool", "avg": "GlobalAveragePool"}[kind], node.inputs, node.name)
    full = node.require("pooling_convention", "valid", "full") == "full"
    window = {
        "kernel_shape": node.get("kernel", ()),
        "strides": node.get("stride", ()) or (1, 1),
        "pads": 2 * (node.get("pad", ()) or (0, 0)),
    }
    if kind == "max":
        return graph.add("MaxPool", node.inputs, node.name, **window, ceil_mode=int(full))
    return _average_pooling(
        node, graph, window, with_padding=node.get("count_include_pad", True), total=kind == "sum"
    )


def _average_pooling(
    node: Node, graph: OnnxGraph, window: dict[str, Any], with_padding: bool, total: bool
) -> str:
    """With a last window that may reach over the edge ('full'), where runtimes disagree about what an average is of."""
    kernel, strides, pads = (window[name] for name in ("kernel_shape", "strides", "pads"))
    (x,), name = node.inputs, node.name
    sides, results = graph.shapes[x][2:], node.output_shape[2:]
    # What the last window lacks beyond the padding.
    over = [
        max(0, (result - 1) * stride + size - side - 2 * pad)
        for result, stride, size, side, pad in zip(results, strides, kernel, sides, pads)
    ]
    if not any(over) and not total:
        return graph.add("AveragePool", [x], name, **window, count_include_pad=int(with_padding))
    counts = [
        [
            min(i * stride - pad + size, side + (pad if with_padding else 0))
            - max(i * stride - pad, -pad if with_padding else 0)
            for i in range(result)
        ]
        for result, stride, size, side, pad in zip(results, strides, kernel, sides, pads)
    ]
    if min(min(row) for row in counts) < 1:
        raise node.error("a window beyond the edge")
    around = graph.constant(
        f"{name}_around", [0, 0, *pads[:2], 0, 0, *(pad + more for pad, more in zip(pads, over))], "int64"
    )
    padded = graph.add("Pad", [x, around, graph.constant(f"{name}_zero", 0)], f"{name}_padded")
    mean = graph.add("AveragePool", [padded], f"{name}_mean", kernel_shape=kernel, strides=strides)
    divisor = 1 if total else np.outer(np.array(counts[0]), np.array(counts[1]))
    factor = graph.constant(f"{name}_factor", kernel[0] * kernel[1] / divisor)
    return graph.add("Mul", [mean, factor], name)


def _adaptive_pooling(node: Node, graph: OnnxGraph) -> str:
    sides, results = graph.shapes[node.inputs[0]][2:], node.output_shape[2:]
    if results == (1, 1):
        return graph.add("GlobalAveragePool", node.inputs, node.name)
    if any(side % result for side, result in zip(sides, results)):
        raise node.error(f"output_size={results} of {sides}")
    kernel = [side // result for side, result in zip(sides, results)]
    return graph.add("AveragePool", node.inputs, node.name, kernel_shape=kernel, strides=kernel)


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


def _instance_norm(node: Node, graph: OnnxGraph) -> str:
    return graph.add("InstanceNormalization", node.inputs, node.name, epsilon=float(node.get("eps", 1e-3)))


def _l2_normalization(node: Node, graph: OnnxGraph) -> str:
    """x / sqrt(sum of squares + eps), where ONNX's LpNormalization has no eps."""
    (x,), name = node.inputs, node.name
    rank, mode = len(graph.shapes[x]), node.get("mode", "instance")
    axes = {"instance": range(1, rank), "channel": [1], "spatial": range(2, rank)}[mode]
    total = graph.add("ReduceSumSquare", [x], f"{name}_squares", axes=list(axes), keepdims=1)
    eps = graph.constant(f"{name}_eps", node.get("eps", 1e-10))
    norm = graph.add("Sqrt", [graph.add("Add", [total, eps], f"{name}_sum")], f"{name}_norm")
    return graph.add("Div", [x, norm], name)


def _fully_connected(node: Node, graph: OnnxGraph) -> str:
    x, weight, *bias = node.inputs
    if len(graph.shapes[x]) > 2:
        if not node.get("flatten", True):
            turned = graph.constant(f"{node.name}_turned", graph.weights[weight].T)
            product = graph.add("MatMul", [x, turned], f"{node.name}_product" if bias else node.name)
            return graph.add("Add", [product, *bias], node.name) if bias else product
        x = graph.add("Flatten", [x], f"{node.name}_flatten")
        graph.shapes[x] = (1, graph.weights[weight].shape[1])
    return graph.add("Gemm", [x, weight, *bias], node.name, transB=1)


def _up_sampling(node: Node, graph: OnnxGraph) -> str:
    node.require("sample_type", "nearest")
    scale = node.get("scale", 1)
    scales = graph.constant(f"{node.name}_scales", (1, 1, scale, scale))
    nearest = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return graph.add("Resize", [node.inputs[0], "", scales], node.name, **nearest)


def _bilinear_resize(node: Node, graph: OnnxGraph) -> str:
    node.require("mode", "size")
    (x,), (height, width) = node.inputs, node.output_shape[2:]
    before = graph.shapes[x][2:]
    scales = [np.float32(after / side) for after, side in zip((height, width), before)]
    for number, (after, side) in enumerate(zip((height, width), before)):
        if int(np.float32(side) * scales[number]) < after:  # onnxruntime rounds the product down
            scales[number] = np.nextafter(scales[number], np.float32(np.inf))
    listed = graph.constant(f"{node.name}_scales", (1, 1, *scales))
    how = "align_corners" if node.get("align_corners", True) else "pytorch_half_pixel"
    return graph.add("Resize", [x, "", listed], node.name, mode="linear", coordinate_transformation_mode=how)


def _dropout(node: Node, graph: OnnxGraph) -> str:
    node.require("mode", "training")
    return node.inputs[0]


LAYERS: dict[str, Translation] = {
    "Activation": _activation,
    "BatchNorm": _batch_norm,
    "Convolution": _convolution,
    "Dropout": _dropout,
    "FullyConnected": _fully_connected,
    "InstanceNorm": _instance_norm,
    "L2Normalization": _l2_normalization,
    "LRN": _local_response_norm,
    "LeakyReLU": _leaky_relu,
    "Pooling": _pooling,
    "UpSampling": _up_sampling,
    "_contrib_AdaptiveAvgPooling2D": _adaptive_pooling,
    "_contrib_BilinearResize2D": _bilinear_resize,
}
