"""From the exported files of a float32 network to those of the same network in INT8, using MXNet's oneDNN quantization.

Activations between the layers have 8 bits. In the file the weights of convolutions stay float32, apart from their
batch normalization: oneDNN folds and quantizes them, per channel, when the network is loaded.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Optional

import numpy as np

from gluon_resnet._mxnet import mx
from gluon_resnet.card import ModelCard
from gluon_resnet.deploy.backend import INPUT
from gluon_resnet.deploy.calibration import Calibration
from gluon_resnet.deploy.graph import Graph, read_graph
from gluon_resnet.deploy.symbol_file import says
from gluon_resnet.deploy.without_card import PartialCard
from gluon_resnet.errors import ModelError, UsageError
from gluon_resnet.files import Path, require_prefix, temporary_names
from gluon_resnet.models.parameters import write_arrays

MODES = ("entropy", "naive", "none")

_BACKEND = "MKLDNN_QUANTIZE"
_ORDER = ("Pooling", "Pad", "expand_dims", "squeeze")  # their output is negative where their input is
_LAYERS = ("_sg_mkldnn_conv", "_sg_mkldnn_fully_connected")


class Quantized(NamedTuple):
    """The result of a quantization.

    Attributes:
        layers: the number of convolutions and fully connected layers that are now INT8.
        float_layers: the names of those that are not.
        same: the number of images in the last calibration batch for which both networks predict the same class.
        compared: the number of images in that batch; 0 without calibration.
    """

    layers: int
    float_layers: tuple[str, ...]
    same: int
    compared: int


def quantize(
    model: Path,
    output: Path,
    records: Optional[Path],
    *,
    mode: str = "entropy",
    batches: int = 10,
    batch_size: int = 32,
    exclude: Sequence[str] = (),
    threads: Optional[int] = None,
    card: Optional[PartialCard] = None,
) -> Quantized:
    """Write OUTPUT-symbol.json, OUTPUT-0000.params and OUTPUT-model.json from the exported files of `model`.

    The input stays float32 RGB from 0 to 255, and is normalized in float32. The new network runs on any x86-64
    processor, and is faster than the float32 network on one with AVX-512 VNNI. Its card says how it was made, and
    lists no errors, since these were measured in float32.

    Args:
        model: the PREFIX of files written by `export`.
        output: the beginning of the new files' names; its folder is created if needed.
        records: a record file of images to calibrate on, read by `Calibration`; not used without calibration.
        mode: which of a layer's output values maps to INT8's largest. 'entropy': the one with which the 8-bit
            distribution differs least from float32's (Kullback-Leibler divergence); 'naive': the largest one seen;
            'none': no calibration, but the largest of each batch, which has to be found during each prediction.
        batches, batch_size: the number of calibration batches and their size; fewer if there are not enough images.
        exclude: names of layers that stay float32: resnet20_conv0 for one whose weight is resnet20_conv0_weight.
        threads: the number of decoding threads; by default one for each processor.
        card: the card of a model without PREFIX-model.json.

    Raises:
        UsageError: an argument is out of range, the network is already INT8, or it would be overwritten.
        DataError: a record is damaged, or the records are not for this network.
        ModelError: a file of the model is damaged, or MXNet cannot quantize it.
        OSError: a file cannot be read or written.
    """
    model, output = os.fspath(model), os.fspath(output)
    if mode not in MODES:
        raise UsageError(f"mode: expected one of {', '.join(MODES)}, found {mode!r}")
    if min(batches, batch_size) < 1:
        raise UsageError(f"expected at least 1 batch of at least 1 image, found {batches} of {batch_size}")
    if os.path.realpath(f"{model}-0000.params") == os.path.realpath(f"{output}-0000.params"):
        raise UsageError(f"the INT8 network would overwrite {model}-0000.params: choose another output")
    require_prefix(output)
    path, parameters = f"{model}-symbol.json", f"{model}-0000.params"
    if card is None:
        known = ModelCard.load(f"{model}-model.json")
        known.require_format("mxnet", f"{model}-model.json")
        graph = read_graph(path, parameters, known.size, len(known.classes))
    else:
        graph = read_graph(path, parameters, card.size, len(card.classes) if card.classes else None)
        known = card.of_graph(graph.classes, path)
    if known.quantization is not None or '"op": "_contrib_quantize' in graph.symbol.tojson():
        raise UsageError(f"{path}: this network is already INT8")
    calibration = None
    if mode != "none":
        if records is None:
            raise UsageError(f"mode {mode!r} needs records to calibrate on")
        calibration = Calibration(os.fspath(records), known, batches, batch_size, threads)

    os.environ.setdefault(
        "MXNET_SUBGRAPH_VERBOSE", "0"
    )  # otherwise it reports on standard error what it fuses
    try:
        symbol, arrays, result = _quantized(graph, known.size, mode, calibration, exclude)
    except mx.base.MXNetError as error:
        raise ModelError(f"{path}: this network cannot be quantized: {says(error)}", path=path) from None
    if not result.layers:
        raise ModelError(f"{path}: no layer of this network can be quantized", path=path)
    how: dict[str, Any] = {
        "dtype": "int8",
        "mode": mode,
        "int8_layers": result.layers,
        "float_layers": list(result.float_layers),
    }
    if calibration:
        how["calibration"] = {
            "file": calibration.file,
            "fingerprint": calibration.fingerprint,
            "images": calibration.images,
            "batch_size": calibration.batch_size,
        }
    exported = known.exported and replace(known.exported, formats=_without_onnx(known.exported.formats))
    _write(output, symbol, arrays, replace(known, errors=(), exported=exported, quantization=how))
    return result


def _quantized(
    graph: Graph, size: int, mode: str, calibration: Optional[Iterable[np.ndarray]], exclude: Sequence[str]
) -> tuple[Any, dict[str, np.ndarray], Quantized]:
    """The INT8 graph, its parameters by their names in the file, and the result."""
    from mxnet.contrib import quantization

    fused = graph.symbol.get_backend_symbol(_BACKEND)
    layers = _layers(fused)
    unknown = [name for name in exclude if name not in layers]
    if unknown:
        raise UsageError(f"there is no layer {unknown[0]!r} to exclude: its layers are {', '.join(layers)}")
    arguments, states = (
        {name: mx.nd.array(graph.arrays[name]) for name in names if name != INPUT}
        for names in (fused.list_arguments(), fused.list_auxiliary_states())
    )
    symbol, new_arguments, _, collector = quantization.quantize_graph(
        fused,
        arguments,
        states,
        excluded_sym_names=[*(layers[name] for name in exclude), *_sums_of_unsigned(fused)],
        calib_mode=mode,
        # uint8 after a ReLU, int8 elsewhere.
        quantized_dtype="auto",
        # Only whole chains of layers: a single pooling is not worth converting from and to float32.
        quantize_mode="smart",
    )
    inputs, logits = np.zeros((1, 3, size, size), np.float32), np.empty((0, graph.classes), np.float32)
    if calibration is not None:
        executor = None
        for inputs in calibration:
            if executor is None:
                pixels = mx.nd.empty(inputs.shape)
                executor = fused.bind(
                    mx.cpu(), {**arguments, INPUT: pixels}, grad_req="null", aux_states=states
                )
                executor.set_monitor_callback(collector.collect, monitor_all=True)
            pixels[:] = inputs
            logits = executor.forward(is_train=False)[0].asnumpy()
        symbol, new_arguments, _ = quantization.calib_graph(
            symbol, arguments, states, collector, calib_mode=mode, quantized_dtype="auto", logger=None
        )
    symbol = symbol.get_backend_symbol(_BACKEND)  # now the conversions to INT8 and back are fused as well
    floats = tuple(_layers(symbol, quantized=False))
    states = {name: states[name] for name in symbol.list_auxiliary_states()}
    new_arguments = {name: new_arguments[name] for name in symbol.list_arguments() if name != INPUT}
    # Run it even if there is nothing to compare: some operators refuse only then.
    pixels = mx.nd.array(inputs)
    executor = symbol.bind(mx.cpu(), {**new_arguments, INPUT: pixels}, grad_req="null", aux_states=states)
    answers = executor.forward(is_train=False)[0].asnumpy().argmax(axis=1)
    same = int((answers == logits.argmax(axis=1)).sum()) if len(logits) else 0
    arrays = {f"arg:{name}": array.asnumpy() for name, array in new_arguments.items()}
    arrays.update({f"aux:{name}": array.asnumpy() for name, array in states.items()})
    return symbol, arrays, Quantized(len(_layers(symbol)) - len(floats), floats, same, len(logits))


def _layers(symbol: Any, quantized: bool = True) -> dict[str, str]:
    """The convolutions and fully connected layers: the stem of the weight's name, and the node's name.

    Args:
        quantized: whether to include layers that are already quantized.
    """
    nodes = json.loads(symbol.tojson())["nodes"]
    names = {}
    for node in nodes:
        if node["op"] in _LAYERS and (quantized or _attribute(node, "quantized") != "true"):
            weight = nodes[node["inputs"][1][0]]["name"]
            names[weight[: weight.rindex("_weight")]] = node["name"]
    return names


def _sums_of_unsigned(symbol: Any) -> list[str]:
    """The nodes of convolutions that add the output of a ReLU and can themselves give negative numbers.

    MXNet lets oneDNN add in place, and reads the uint8 of one as the int8 of the other; in float32 these are correct.
    A network with pre-activation has such a layer in its first unit.
    """
    nodes = json.loads(symbol.tojson())["nodes"]

    def is_unsigned(node: dict[str, Any]) -> bool:
        while node["op"] in _ORDER:
            node = nodes[node["inputs"][0][0]]
        if _attribute(node, "with_sum") == "true":
            return _attribute(node, "with_postsum_act") == "true"
        return _attribute(node, "with_act") == "true" or _attribute(node, "act_type") == "relu"

    return [
        node["name"]
        for node in nodes
        if _attribute(node, "with_sum") == "true"
        and _attribute(node, "with_postsum_act") != "true"
        and is_unsigned(nodes[node["inputs"][-1][0]])
    ]


def _attribute(node: dict[str, Any], name: str) -> str:
    return str(node.get("attrs", {}).get(name)).lower()  # MXNet writes True and true


def _without_onnx(formats: dict[str, str]) -> dict[str, str]:
    return {name: number for name, number in formats.items() if name != "onnx"}


def _write(output: str, symbol: Any, arrays: dict[str, np.ndarray], card: ModelCard) -> None:
    os.makedirs(os.path.dirname(output) or ".", exist_ok=True)
    names = (f"{output}-model.json", f"{output}-symbol.json", f"{output}-0000.params")
    with temporary_names(*names) as (card_path, graph_path, arrays_path):
        card.save(card_path)
        symbol.save(graph_path)
        write_arrays(arrays_path, arrays)
