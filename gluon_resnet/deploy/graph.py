"""An exported graph and its parameters, checked: MXNet itself would leave missing parameters 0, for one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple, Optional

import numpy as np

from gluon_resnet._mxnet import gluon, mx
from gluon_resnet.card import ModelCard
from gluon_resnet.deploy.backend import INPUT
from gluon_resnet.errors import ModelError
from gluon_resnet.models.parameters import check_arrays, read_arrays


class Graph(NamedTuple):
    """What PREFIX-symbol.json and PREFIX-0000.params hold.

    Attributes:
        symbol: from `INPUT` to the logits, (N, classes).
        arrays: the parameters by the names that the symbol has for them, without 'arg:' and 'aux:'.
        classes: the number of outputs.
    """

    symbol: Any
    arrays: dict[str, np.ndarray]
    classes: int


def read_graph(graph_path: str, parameters_path: str, size: int, classes: Optional[int] = None) -> Graph:
    """The graph of these files for images of `size` pixels, of float32 or quantized to INT8.

    ModelError, with the path, where a file is damaged, the two do not belong together, or the graph has another
    number of outputs than `classes`. OSError where a file cannot be read.
    """
    with open(graph_path, "rb") as stream:
        text = stream.read()
    try:
        json.loads(text)  # says better than MXNet what is wrong
        symbol = mx.sym.load_json(text.decode())
        arguments, states = symbol.list_arguments(), symbol.list_auxiliary_states()
        if INPUT not in arguments or len(symbol.list_outputs()) != 1:
            raise _error(graph_path, f"expected a graph with the input {INPUT!r} and one output")
        shapes, outputs, state_shapes = symbol.infer_shape_partial(**{INPUT: (1, 3, size, size)})
        dtypes, _, state_dtypes = symbol.infer_type_partial(**{INPUT: "float32"})
    except (ValueError, RecursionError) as error:
        raise _error(graph_path, f"this is not JSON: {error}") from None
    except mx.base.MXNetError as error:
        raise _error(graph_path, f"not a graph for {size}x{size} images: {_reason(error)}") from None
    if len(outputs[0]) != 2 or outputs[0] != (1, classes or outputs[0][1]):
        expected = (1, classes or "classes")
        raise _error(graph_path, f"expected an output of shape {expected}, found {outputs[0]}")
    names = [f"arg:{name}" for name in arguments] + [f"aux:{name}" for name in states]
    expected_shapes = dict(zip(names, [*shapes, *state_shapes]))
    expected_dtypes = dict(zip(names, [*dtypes, *state_dtypes]))
    del expected_shapes[f"arg:{INPUT}"]
    arrays = read_arrays(parameters_path)
    check_arrays(parameters_path, arrays, expected_shapes)
    for name, array in arrays.items():
        dtype = expected_dtypes[name]
        if dtype not in (None, array.dtype):
            message = f"parameter {name}: expected {np.dtype(dtype)}, found {array.dtype}"
            raise _error(parameters_path, message)
    return Graph(symbol, {name[4:]: array for name, array in arrays.items()}, outputs[0][1])


def load_graph(
    graph_path: str, parameters_path: str, card: ModelCard, contexts: Optional[Sequence[Any]] = None
) -> Any:
    """The network of these files as a Gluon block on `contexts` (default: the CPU); raises as `read_graph`."""
    graph = read_graph(graph_path, parameters_path, card.size, len(card.classes))
    net = gluon.SymbolBlock(graph.symbol, mx.sym.var(INPUT, dtype="float32"))
    net.collect_params().load(parameters_path, ctx=contexts, cast_dtype=True, dtype_source="saved")
    net.hybridize(static_alloc=True)
    return net


def _reason(error: Exception) -> str:
    """CAUSE in a message with lines like "MXNetError: Check failed: a == b (1 vs. 2) : CAUSE"."""
    lines = [line for line in str(error).splitlines() if "Error: " in line or "Check failed: " in line]
    line = lines[-1].split("Check failed: ")[-1] if lines else str(error)
    return line.partition(": ")[2] or line


def _error(path: str, message: str) -> ModelError:
    return ModelError(f"{path}: {message}", path=path)
