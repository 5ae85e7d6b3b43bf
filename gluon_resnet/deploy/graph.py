"""An exported graph and its parameters, checked: MXNet, for example, would leave missing parameters at 0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Optional

import numpy as np

from gluon_resnet._mxnet import gluon, mx
from gluon_resnet.card import ModelCard
from gluon_resnet.deploy.backend import INPUT
from gluon_resnet.deploy.symbol_file import SymbolFile
from gluon_resnet.errors import ModelError
from gluon_resnet.models.parameters import check_arrays, read_arrays
from gluon_resnet.terminal import printable_name

_MOST_CLASSES = 1 << 22  # of a graph without a card; as in csrc/predictor/predictor.cc


class Graph(NamedTuple):
    """The content of PREFIX-symbol.json and PREFIX-0000.params.

    Attributes:
        symbol: the graph from `INPUT` to the logits, (N, classes).
        arrays: the parameters by their names in the symbol, without 'arg:' and 'aux:'.
        classes: the number of outputs.
    """

    symbol: Any
    arrays: dict[str, np.ndarray]
    classes: int


def read_graph(graph_path: str, parameters_path: str, size: int, classes: Optional[int] = None) -> Graph:
    """Read the graph of these files, in float32 or quantized to INT8, for images of `size` pixels.

    ModelError, with the path, if a file is damaged, the two do not belong together, or the number of outputs is not
    `classes`. OSError if a file cannot be read.
    """
    file = SymbolFile(graph_path)
    symbol = file.symbol
    arguments, states = symbol.list_arguments(), symbol.list_auxiliary_states()
    outputs = count_classes(file, size, classes)
    shapes = file.shapes(size)
    dtypes, state_dtypes = file.dtypes(size)
    names = [f"arg:{name}" for name in arguments] + [f"aux:{name}" for name in states]
    expected_shapes = dict(sorted(zip(names, [*shapes.arguments, *shapes.states])))
    expected_dtypes = dict(zip(names, [*dtypes, *state_dtypes]))
    del expected_shapes[f"arg:{INPUT}"]
    arrays = read_arrays(parameters_path)
    check_arrays(parameters_path, arrays, expected_shapes)
    for name, array in sorted(arrays.items()):
        dtype = np.dtype(expected_dtypes[name] or "float32")
        if dtype != array.dtype:
            message = f"parameter {printable_name(name)}: expected {dtype}, found {array.dtype}"
            raise _error(parameters_path, message)
    file.check_results(size, {name[4:]: array.shape for name, array in arrays.items()})
    return Graph(symbol, {name[4:]: array for name, array in arrays.items()}, outputs)


def count_classes(file: SymbolFile, size: int, classes: Optional[int] = None) -> int:
    """The number of outputs for an image of `size` pixels; ModelError unless they are a row, of `classes` if given."""
    (output,) = file.shapes(size).outputs
    found = output[1] if len(output) == 2 and output[0] == 1 else 0
    if found != classes and (classes is not None or not 0 < found <= _MOST_CLASSES):
        raise _error(file.path, f"expected an output of shape (1, {classes or 'classes'}), found {output}")
    return found


def load_graph(
    graph_path: str, parameters_path: str, card: ModelCard, contexts: Optional[Sequence[Any]] = None
) -> Any:
    """The network of these files as a Gluon block on `contexts` (by default the CPU); raises as `read_graph`."""
    graph = read_graph(graph_path, parameters_path, card.size, len(card.classes))
    net = as_block(graph.symbol, graph.arrays, contexts)
    net.hybridize(static_alloc=True)
    return net


def as_block(symbol: Any, arrays: Mapping[str, np.ndarray], contexts: Optional[Sequence[Any]] = None) -> Any:
    """The graph as a Gluon block on `contexts` (by default the CPU), with copies of `arrays` for its parameters."""
    net = gluon.SymbolBlock(symbol, mx.sym.var(INPUT, dtype="float32"))
    for name, parameter in net.collect_params().items():
        value = mx.nd.array(arrays[name], dtype=arrays[name].dtype)
        parameter._load_init(value, contexts or [mx.cpu()], cast_dtype=True, dtype_source="saved")
    return net


def _error(path: str, message: str) -> ModelError:
    return ModelError(f"{path}: {message}", path=path)
