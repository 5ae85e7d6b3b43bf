"""From a checkpoint to the files that every predictor reads: graph, parameters, model card; or one for ONNX."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Callable, NamedTuple, Optional

import numpy as np

from gluon_resnet._mxnet import mx
from gluon_resnet.card import ModelCard
from gluon_resnet.deploy.backend import INPUT
from gluon_resnet.deploy.graph import as_block, count_classes, read_graph
from gluon_resnet.deploy.symbol_file import SymbolFile
from gluon_resnet.deploy.without_card import PartialCard
from gluon_resnet.errors import ModelError, UsageError
from gluon_resnet.files import Path, require_prefix, sha256, temporary_names, whole_file
from gluon_resnet.models import build_network
from gluon_resnet.models.parameters import check_arrays, read_arrays, write_arrays
from gluon_resnet.models.saved import load_card, parameters_path
from gluon_resnet.provenance import Exported

FORMATS = {"mxnet": ("mxnet",), "onnx": ("onnx",), "both": ("mxnet", "onnx")}
_ENDINGS = {"mxnet": ("-symbol.json", "-0000.params"), "onnx": (".onnx",)}  # of the files' names


class Export(NamedTuple):
    """The files that `export` wrote, and files beside them that do not belong to them."""

    files: list[str]
    outdated: list[str]  # left by an earlier export of other parameters


Check = Callable[[str, Any, ModelCard], None]
Color = tuple[float, float, float]


def export(
    model_prefix: Path, epoch: int, output: Path, format: str = "mxnet", check: Optional[Check] = None
) -> Export:
    """Write OUTPUT-model.json, and the files of `format`, from a training run's files.

    'mxnet': OUTPUT-symbol.json and OUTPUT-0000.params. The graph has the normalization inside: its input `data` is
    float32 RGB from 0 to 255 of shape (N, 3, size, size), its output the logits, (N, classes). The parameters are
    named as `HybridBlock.export` names them, so that `SymbolBlock.imports`, `Module` and the C predict API read them.

    'onnx': OUTPUT.onnx, with the same input, and the outputs of `write_onnx`. Its metadata is the card's content.

    'both': these three.

    Either all files are written or, if one cannot be made, none. The card's `exported` names the checkpoint that they
    were made from and the formats that exist: an earlier export in the other format remains among these if it was made
    from the same checkpoint.

    Args:
        model_prefix: the PREFIX of PREFIX-model.json and PREFIX-NNNN.params.
        epoch: the number NNNN.
        output: the beginning of the new files' names; its folder is created if needed.
        format: one of FORMATS.
        check: a function that is called before OUTPUT.onnx gets its name, with the path that it has so far, the network
            as a Gluon block, and the card; if it raises, nothing is written.

    Raises:
        ModelError: the card or the parameters are damaged, or do not belong together.
        UsageError: the export would overwrite the checkpoint, or the network cannot be translated to ONNX.
        EnvironmentProblem: the format is ONNX, and the package onnx is not installed.
        OSError: a file cannot be read or written.
    """
    model_prefix, output = os.fspath(model_prefix), os.fspath(output)
    if format not in FORMATS:
        raise UsageError(f"format: expected one of {', '.join(FORMATS)}, found {format!r}")
    require_prefix(output)
    checkpoint = parameters_path(model_prefix, epoch)
    _require_other(checkpoint, output, format)
    card = load_card(model_prefix)
    graph, arrays = _read(build_network(card), checkpoint)
    return _write(output, format, card.at_epoch(epoch), graph, arrays, checkpoint, check)


def export_graph(
    model_prefix: Path,
    epoch: int,
    output: Path,
    told: Optional[PartialCard] = None,
    mean: Optional[Color] = None,
    std: Optional[Color] = None,
    check: Optional[Check] = None,
) -> Export:
    """Write OUTPUT.onnx and OUTPUT-model.json from PREFIX-symbol.json and PREFIX-NNNN.params of any MXNet program.

    Args:
        model_prefix: the PREFIX.
        epoch: the number NNNN.
        output: the beginning of the new files' names; its folder is created if needed.
        told: what a card says besides; None if there is PREFIX-model.json.
        mean, std: the normalization that the graph's input has been through, on the scale of pixels from 0 to 255; it
            becomes part of the ONNX graph. None for 0 and 1.
        check: as for `export`.

    Raises:
        ModelError: a file is damaged, the two do not belong together, or the graph has operators outside
            docs/model_card.md.
        UsageError, EnvironmentProblem, OSError: as for `export`.
    """
    model_prefix, output = os.fspath(model_prefix), os.fspath(output)
    graph_path, parameters = f"{model_prefix}-symbol.json", parameters_path(model_prefix, epoch)
    if os.path.realpath(output) == os.path.realpath(model_prefix):
        raise UsageError(f"the export would put its own card beside {graph_path}: choose another output")
    if told:
        card = told.of_graph(count_classes(SymbolFile(graph_path), told.size), graph_path)
    else:
        card = ModelCard.load(f"{model_prefix}-model.json")
        card.require_format("mxnet", f"{model_prefix}-model.json")
    graph, arrays, _ = read_graph(graph_path, parameters, card.size, len(card.classes))
    if mean or std:
        card = replace(card, mean=mean or card.mean, std=std or card.std)
        values = {"normalization_mean": card.mean, "normalization_std": card.std}
        shift, scale = (mx.sym.var(name, shape=(1, 3, 1, 1)) for name in values)
        normalized = mx.sym.broadcast_div(mx.sym.broadcast_sub(mx.sym.var(INPUT), shift), scale)
        graph = graph(**{INPUT: normalized})
        arrays.update(
            {name: np.array(value, "float32").reshape(1, 3, 1, 1) for name, value in values.items()}
        )
    return _write(output, "onnx", card, graph, arrays, parameters, check)


def _require_other(parameters: str, output: str, format: str) -> None:
    """UsageError if the export would overwrite what it reads."""
    if any(os.path.realpath(parameters) == os.path.realpath(path) for path in _paths(output, format)):
        raise UsageError(f"the export would overwrite the checkpoint {parameters}: choose another output")


def _paths(output: str, format: str) -> list[str]:
    return [output + ending for kind in FORMATS[format] for ending in _ENDINGS[kind]]


def _write(
    output: str,
    format: str,
    card: ModelCard,
    graph: Any,
    arrays: Mapping[str, np.ndarray],
    checkpoint: str,
    check: Optional[Check],
) -> Export:
    """Write the files of `format`, from a graph and its parameters, by their names there, which `checkpoint` has."""
    require_prefix(output)
    paths = _paths(output, format)
    versions = {"mxnet": mx.__version__}
    if "onnx" in FORMATS[format]:
        from gluon_resnet.deploy import onnx_export  # it needs the package onnx

        versions["onnx"] = f"opset {onnx_export.OPSET}"

    digest = sha256(checkpoint)
    formats = {**_formats(output, digest), **{kind: versions[kind] for kind in FORMATS[format]}}
    card = replace(card, exported=Exported(digest, formats))

    os.makedirs(os.path.dirname(output) or ".", exist_ok=True)
    with temporary_names(f"{output}-model.json", *paths) as (card_path, *temporary):
        card.save(card_path)
        if "mxnet" in FORMATS[format]:
            with whole_file(temporary[0]) as stream:  # MXNet would not notice a disk that is full at the end
                stream.write(graph.tojson())
            kinds = {"arg": graph.list_arguments(), "aux": graph.list_auxiliary_states()}
            write_arrays(
                temporary[1],
                {f"{kind}:{name}": arrays[name] for kind in kinds for name in kinds[kind] if name != INPUT},
            )
        if "onnx" in FORMATS[format]:
            with open(card_path, encoding="utf-8") as stream:
                metadata = json.load(stream)
            onnx_export.write_onnx(temporary[-1], graph, arrays, card.size, metadata)
            if check:
                check(temporary[-1], as_block(graph, arrays), card)
    others = [output + ending for kind in _ENDINGS if kind not in formats for ending in _ENDINGS[kind]]
    return Export([*paths, f"{output}-model.json"], [path for path in others if os.path.exists(path)])


def _read(net: Any, checkpoint: str) -> tuple[Any, dict[str, np.ndarray]]:
    """The graph of a network that is not initialized, and its parameters in `checkpoint`, by their names in the graph.

    The parameters do not become MXNet's, which would hold them, with a gradient for each, beside the file's content.
    """
    parameters = net._collect_params_with_prefix()
    arrays = read_arrays(checkpoint)
    check_arrays(checkpoint, arrays, {name: parameter.shape for name, parameter in parameters.items()})
    return net(mx.sym.var(INPUT)), {
        parameter.name: np.asarray(arrays[name], parameter.dtype) for name, parameter in parameters.items()
    }


def _formats(output: str, digest: str) -> dict[str, str]:
    """The formats in which an earlier export of the same checkpoint exists."""
    try:
        exported = ModelCard.load(f"{output}-model.json").exported
    except (OSError, ModelError):
        return {}
    if exported is None or exported.sha256 != digest:
        return {}
    return {
        kind: exported.formats[kind]
        for kind, endings in _ENDINGS.items()
        if kind in exported.formats and all(os.path.exists(output + ending) for ending in endings)
    }
