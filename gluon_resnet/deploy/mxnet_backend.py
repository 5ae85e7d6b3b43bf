"""An exported network in MXNet: one executor for each of a few batch sizes, its operators fused by oneDNN."""

from __future__ import annotations

import contextlib
import json
import os
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Optional

import numpy as np

from gluon_resnet._mxnet import mx
from gluon_resnet.deploy.backend import FEATURES, INPUT, LOGITS
from gluon_resnet.deploy.graph import read_graph
from gluon_resnet.deploy.symbol_file import says
from gluon_resnet.errors import ModelError

_FULLY_CONNECTED = (
    "FullyConnected",
    "_sg_mkldnn_fully_connected",
)  # in a float32 file; fused, in an INT8 file


class MXNetBackend:
    """PREFIX-symbol.json and PREFIX-0000.params; see `Backend`.

    An executor runs only one shape, and keeps another copy of the weights, in the order that oneDNN wants. There are
    therefore only a few, each made when it is first needed: for batches of `batch_size`, of a quarter of it and so on,
    and of 1. A batch of another size is run in such pieces. With ResNet-50 an executor takes as long per image in a
    batch of 1 as in one of 16: 77 ms on one core. A hybridized block, which takes any shape, needs 25 ms more whenever
    the batch size changes, to reorder the weights, and without static_shape in every call.
    """

    def __init__(self, prefix: str, size: int, classes: Optional[int], batch_size: int) -> None:
        # Otherwise each executor reports on standard error that it is fused.
        os.environ.setdefault("MXNET_SUBGRAPH_VERBOSE", "0")
        self._path = f"{prefix}-symbol.json"
        graph = read_graph(self._path, f"{prefix}-0000.params", size, classes)
        self.classes, self._size = graph.classes, size
        self._sizes = sorted({1, *(batch_size >> shift for shift in range(0, batch_size.bit_length(), 2))})
        self._arrays = {name: mx.nd.array(array, dtype=array.dtype) for name, array in graph.arrays.items()}
        features = _features(graph.symbol)
        self._outputs = {LOGITS: 0, FEATURES: 1} if features is not None else {LOGITS: 0}
        self._symbol = graph.symbol if features is None else mx.sym.Group([graph.symbol, features])
        self._misfused = _is_misfused(self._symbol)
        self._executors: dict[int, Any] = {}

    def run(self, inputs: np.ndarray, output: str) -> np.ndarray:
        """See `Backend.run`."""
        if output not in self._outputs:
            message = (
                f"{self._path}: the network does not end with a fully connected layer, so it has no features"
            )
            raise ModelError(message, path=self._path)
        rows = []
        begin = 0
        while begin < len(inputs):
            count = max(size for size in self._sizes if size <= len(inputs) - begin)
            try:
                executor = self._executor(count)
                executor.arg_dict[INPUT][:] = inputs[begin : begin + count]
                rows.append(executor.forward(is_train=False)[self._outputs[output]].asnumpy())
                if len(rows[-1]) != count:
                    message = (
                        f"{self._path}: expected one row for each of {count} images, found {len(rows[-1])}"
                    )
                    raise ModelError(message, path=self._path)
            except mx.base.MXNetError as error:
                raise ModelError(f"{self._path}: {says(error)}", path=self._path) from None
            begin += count
        return rows[0] if len(rows) == 1 else np.concatenate(rows)

    def _executor(self, count: int) -> Any:
        if count not in self._executors:
            symbol = self._symbol
            arguments = {name: self._arrays[name] for name in symbol.list_arguments() if name != INPUT}
            arguments[INPUT] = mx.nd.empty((count, 3, self._size, self._size))
            states = {name: self._arrays[name] for name in symbol.list_auxiliary_states()}
            # MXNet fuses the operators here, unless the user's MXNET_SUBGRAPH_BACKEND says otherwise.
            with _without_fusion() if self._misfused else contextlib.nullcontext():
                self._executors[count] = symbol.bind(mx.cpu(), arguments, grad_req="null", aux_states=states)
        return self._executors[count]


def _is_misfused(symbol: Any) -> bool:
    """Whether MXNet's fusion would change what the graph computes.

    It merges the batch normalization after a convolution into it even if something else reads the convolution's output.
    """
    nodes = json.loads(symbol.tojson())["nodes"]
    readers = defaultdict(list)
    for node in nodes:
        for source, *_ in node["inputs"]:
            readers[source].append(node["op"])
    return any(
        nodes[index]["op"] == "Convolution" and "BatchNorm" in operators and len(operators) > 1
        for index, operators in readers.items()
    )


@contextlib.contextmanager
def _without_fusion() -> Iterator[None]:
    chosen = os.environ.get("MXNET_SUBGRAPH_BACKEND")
    os.environ["MXNET_SUBGRAPH_BACKEND"] = "default"  # fuses nothing, and unlike NONE does not say so
    try:
        yield
    finally:
        del os.environ["MXNET_SUBGRAPH_BACKEND"]
        if chosen is not None:
            os.environ["MXNET_SUBGRAPH_BACKEND"] = chosen


def _features(symbol: Any) -> Optional[Any]:
    """The input of the last fully connected layer, (N, D), as a symbol; None if the graph does not end with one.

    In an INT8 graph it is the float32 value from which the layer's input is quantized.
    """
    graph = json.loads(symbol.tojson())
    nodes = graph["nodes"]
    last = nodes[graph["heads"][0][0]]
    if last["op"] not in _FULLY_CONNECTED:
        return None
    features = symbol.get_children()[0]
    if nodes[last["inputs"][0][0]]["op"] == "_contrib_quantize_v2":
        features = features.get_children()[0]
    elif last.get("attrs", {}).get("quantized") == "True":  # by earlier layers
        return None
    return mx.sym.Flatten(features)
