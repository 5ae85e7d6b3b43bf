"""MXNet's ``.params`` files, read strictly and written whole.

    uint64 0x112, uint64 0, uint64 number of arrays, the arrays, uint64 number of names, the names
    array: uint32 0xF993FAC9, int32 storage type (0: dense), int32 ndim, int64 shape[ndim],
           int32 device type, int32 device id, int32 data type, the values in C order
           (in older files: uint32 0xF993FAC8, and no storage type)
    name:  uint64 length, bytes in UTF-8

All are little-endian. MXNet's own reader allocates as much memory as a damaged length says, and its errors do not
say where the damage is.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from gluon_resnet._mxnet import mx
from gluon_resnet.errors import ModelError
from gluon_resnet.files import Path, read_regular, whole_file
from gluon_resnet.terminal import printable_name

_LIST_MAGIC = 0x112
_OLD_ARRAY_MAGIC = 0xF993FAC8  # from before MXNet had sparse arrays
_ARRAY_MAGICS = (0xF993FAC9, 0xF993FACA)  # the second one is for MXNet's numpy semantics
_DTYPES = {0: "<f4", 1: "<f8", 2: "<f2", 3: "u1", 4: "<i4", 5: "i1", 6: "<i8"}
_DTYPE_FLAGS = {np.dtype(name): flag for flag, name in _DTYPES.items()}
_MOST_ELEMENTS = 1 << 48
_CPU = 1


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write `arrays` as `mx.nd.save` would; each must have one of its dtypes other than bfloat16."""
    with whole_file(path, "wb") as stream:
        stream.write(struct.pack("<3Q", _LIST_MAGIC, 0, len(arrays)))
        for array in arrays.values():
            array = np.ascontiguousarray(array)
            stream.write(struct.pack("<Iii", _ARRAY_MAGICS[0], 0, array.ndim))
            stream.write(struct.pack(f"<{array.ndim}q", *array.shape))
            stream.write(struct.pack("<3i", _CPU, 0, _DTYPE_FLAGS[array.dtype]))
            stream.write(array.data)
        stream.write(struct.pack("<Q", len(arrays)))
        for name in map(str.encode, arrays):
            stream.write(struct.pack("<Q", len(name)) + name)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read a file of named dense arrays; ModelError with path and offset if it is anything else."""
    path = os.fspath(path)
    reader = _Reader(path, read_regular(path))
    if reader.numbers("2Q", "the header") != (_LIST_MAGIC, 0):
        raise reader.error("this is not an MXNet parameter file", 0)
    arrays = [reader.array() for _ in range(reader.count("arrays"))]
    names = reader.count("names")
    if names != len(arrays):
        raise reader.error(f"expected {len(arrays)} names, found {names}", reader.offset - 8)
    named: dict[str, np.ndarray] = {}
    for array in arrays:
        start = reader.offset
        name = reader.name()
        if name in named:
            raise reader.error(f"there are two parameters named {printable_name(name)}", start)
        named[name] = array
    if reader.offset != len(reader.data):
        raise reader.error(f"{len(reader.data) - reader.offset} bytes follow the end", reader.offset)
    return named


def of_a_graph(names: Iterable[str]) -> bool:
    """Whether parameters are named as those of a -symbol.json are, 'arg:NAME' and 'aux:NAME'."""
    return all(name.startswith(("arg:", "aux:")) for name in names)


def check_arrays(path: Path, arrays: Mapping[str, np.ndarray], expected: Mapping[str, Sequence[int]]) -> None:
    """Raise ModelError unless `arrays`, read from `path`, have exactly the `expected` names and shapes.

    An expected dimension of 0 or less is not known yet and matches anything.
    """

    def fail(name: str, message: str) -> ModelError:
        return ModelError(
            f"{os.fspath(path)}: parameter {printable_name(name)}{message}", path=os.fspath(path)
        )

    for name, shape in expected.items():
        if name not in arrays:
            raise fail(name, f" is missing, expected with shape {tuple(shape)}")
        found = arrays[name].shape
        if len(found) != len(shape) or any(e not in (f, 0, -1) for e, f in zip(shape, found)):
            raise fail(name, f": expected shape {tuple(shape)}, found {found}")
    extra = sorted(name for name in arrays if name not in expected)
    if extra:
        raise fail(extra[0], f" (one of {len(extra)}) does not belong to this network")


def save_parameters(net: Any, path: Path) -> None:
    """Write the parameters of the Gluon block `net` under the names that its `load_parameters` expects.

    Weights are those of the first context; running statistics are averaged over the contexts.
    """
    write_arrays(path, parameter_values(net))


def parameter_values(net: Any) -> dict[str, np.ndarray]:
    """Copies of the values that `save_parameters` writes, by name."""
    parameters = net._collect_params_with_prefix()
    return {name: parameter_value(parameter) for name, parameter in parameters.items()}


def parameter_value(parameter: Any) -> np.ndarray:
    """The value of a Gluon parameter: that of the first context or, for running statistics, the mean over all.

    A net hybridized with static_alloc changes running statistics without telling MXNet's engine, so reading them
    would not wait for queued steps; therefore this waits for all work.
    """
    mx.nd.waitall()
    values = parameter.list_data() if parameter.grad_req == "null" else parameter.list_data()[:1]
    mean = np.mean([value.asnumpy() for value in values], axis=0, dtype=np.float64)
    return mean.astype(values[0].dtype)


def load_parameters(net: Any, path: Path) -> None:
    """Set the parameters of the initialized Gluon block `net`, on all its contexts, to those in `path`.

    ModelError, with path, parameter, expected and found, unless names and shapes are exactly those of `net`.
    """
    arrays = read_arrays(path)
    parameters = net._collect_params_with_prefix()
    check_arrays(path, arrays, {name: parameter.shape for name, parameter in parameters.items()})
    for name, parameter in parameters.items():
        parameter.set_data(mx.nd.array(arrays[name], dtype=parameter.dtype))


class _Reader:
    """A position in the bytes of a file; every read is checked against its end."""

    def __init__(self, path: str, data: bytes) -> None:
        self.path = path
        self.data = data
        self.offset = 0

    def error(self, message: str, offset: int) -> ModelError:
        return ModelError(f"{self.path}: {message} (at byte {offset})", path=self.path, offset=offset)

    def take(self, size: int, what: str) -> memoryview:
        start, left = self.offset, len(self.data) - self.offset
        if size > left:
            raise self.error(f"expected {size} bytes of {what}, found {left}", start)
        self.offset += size
        return memoryview(self.data)[start : self.offset]

    def numbers(self, layout: str, what: str) -> tuple[int, ...]:
        return struct.unpack("<" + layout, self.take(struct.calcsize("<" + layout), what))

    def count(self, what: str) -> int:
        (count,) = self.numbers("Q", f"the number of {what}")
        if count > len(self.data):  # each takes at least one byte
            raise self.error(f"impossible number of {what}: {count}", self.offset - 8)
        return count

    def array(self) -> np.ndarray:
        start = self.offset
        (magic,) = self.numbers("I", "an array's header")
        storage = 0 if magic == _OLD_ARRAY_MAGIC else self.numbers("i", "an array's header")[0]
        (dimensions,) = self.numbers("i", "an array's header")
        if magic not in (_OLD_ARRAY_MAGIC, *_ARRAY_MAGICS) or storage != 0 or not 1 <= dimensions <= 32:
            raise self.error("expected a dense array as MXNet writes it, found something else", start)
        shape = self.numbers(f"{dimensions}q", "an array's shape")
        # NumPy refuses an empty array if its other lengths alone would make it too large.
        if min(shape) < 0 or math.prod(max(length, 1) for length in shape) > _MOST_ELEMENTS:
            raise self.error(f"impossible array of shape {shape}", start)
        self.take(8, "an array's device")
        (flag,) = self.numbers("i", "an array's data type")
        if flag not in _DTYPES:
            raise self.error(f"impossible data type {flag} of an array", start)
        dtype = np.dtype(_DTYPES[flag])
        values = self.take(math.prod(shape) * dtype.itemsize, f"values of an array of shape {shape}")
        return np.frombuffer(values, dtype).reshape(shape)

    def name(self) -> str:
        (length,) = self.numbers("Q", "a name's length")
        start = self.offset
        try:
            return bytes(self.take(length, "a name")).decode()
        except UnicodeDecodeError:
            raise self.error("a name is not UTF-8", start) from None
