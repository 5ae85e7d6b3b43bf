"""The graph in a -symbol.json file, checked before MXNet sees it, by csrc/graph/, as in the C++ program."""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from gluon_resnet._mxnet import mx
from gluon_resnet.data._native import NativeGraph, mxnet_cause
from gluon_resnet.deploy.backend import INPUT
from gluon_resnet.errors import ModelError
from gluon_resnet.files import read_regular

_MOST_BYTES = 1 << 26  # as in csrc/graph/checked_graph.h

Shape = tuple[int, ...]


class Shapes(NamedTuple):
    """What MXNet infers; unknown are () and negative lengths."""

    arguments: list[Shape]
    outputs: list[Shape]
    states: list[Shape]


class SymbolFile:
    """A graph with the input `INPUT` and one output, made of known operators within their bounds.

    Attributes:
        path: the path of the file.
        symbol: MXNet's symbol, built from the checked graph and not from the file's text.

    Raises:
        ModelError: the file is not such a graph, or MXNet does not accept it; with the path.
        OSError: the file cannot be read.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        text = read_regular(path, _MOST_BYTES)
        try:
            self._graph = NativeGraph(text)
        except ModelError as error:
            raise ModelError(f"{path}: {error}", path=path, offset=error.offset) from None
        try:
            self.symbol = mx.sym.load_json(self._graph.json())
        except mx.base.MXNetError as error:
            raise self._error(says(error)) from None

    def shapes(self, size: int) -> Shapes:
        """The shapes for one image of `size` pixels; ModelError if the graph is for other images."""
        return self._inferred(self.symbol, size, {})

    def dtypes(self, size: int) -> tuple[list[Any], list[Any]]:
        """The types of arguments and states for float32 images, None where unknown. Raises as `shapes`."""
        try:
            arguments, _, states = self.symbol.infer_type_partial(**{INPUT: "float32"})
        except mx.base.MXNetError as error:
            raise self._error(f"not a graph for {size}x{size} images: {says(error)}") from None
        return arguments, states

    def check_results(self, size: int, parameters: Mapping[str, Shape]) -> None:
        """ModelError if the graph would take an absurd amount of memory for one image of `size` pixels.

        Args:
            parameters: the shapes of all arguments and states except the input, by their names in the graph.
        """
        outputs = self._inferred(self.symbol.get_internals(), size, parameters).outputs
        try:
            self._graph.check_results(outputs, 3 * size * size)
        except ModelError as error:
            raise self._error(str(error)) from None

    def _inferred(self, symbol: Any, size: int, parameters: Mapping[str, Shape]) -> Shapes:
        try:
            return _infer_shapes(symbol, {INPUT: (1, 3, size, size), **parameters})
        except mx.base.MXNetError as error:
            raise self._error(f"not a graph for {size}x{size} images: {says(error)}") from None

    def _error(self, message: str) -> ModelError:
        return ModelError(f"{self.path}: {message}", path=self.path)


def says(error: mx.base.MXNetError) -> str:
    """The cause of an MXNet error, in the words of the C++ program."""
    return f"MXNet says: {mxnet_cause(str(error))}"


def _infer_shapes(symbol: Any, known: Mapping[str, Shape]) -> Shapes:
    """Like `symbol.infer_shape_partial`, which returns only the lower 32 bits of a length."""
    lengths = [length for shape in known.values() for length in shape]
    offsets = [0]
    for shape in known.values():
        offsets.append(offsets[-1] + len(shape))
    names = (ctypes.c_char_p * len(known))(*(name.encode() for name in known))
    lists = [
        (ctypes.c_size_t(), ctypes.POINTER(ctypes.c_int)(), ctypes.POINTER(ctypes.POINTER(ctypes.c_int64))())
        for _ in range(3)
    ]
    complete = ctypes.c_int()
    mx.base.check_call(
        mx.base._LIB.MXSymbolInferShapePartialEx64(
            symbol.handle,
            ctypes.c_uint(len(known)),
            names,
            _int64s(offsets),
            _int64s(lengths),
            *(ctypes.byref(part) for parts in lists for part in parts),
            ctypes.byref(complete),
        )
    )
    inferred = (
        [tuple(data[i][: max(dimensions[i], 0)]) for i in range(size.value)]
        for size, dimensions, data in lists
    )
    return Shapes(*inferred)


def _int64s(values: Sequence[int]) -> Any:
    return (ctypes.c_int64 * len(values)).from_buffer(array("q", values))
