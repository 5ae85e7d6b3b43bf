"""PyTorch's .pth, .pt and .th files of weights, read without PyTorch and without running anything from them.

    since PyTorch 1.6: a zip archive, uncompressed unless someone repacked it: NAME/data.pkl,
        NAME/data/KEY (a storage's values), NAME/byteorder (since 2.0)
    before: a series of pickles: magic number, version 1001, properties of the machine, the value, the
        list of storage keys; then for each of these keys an int64 number of values, and the values

In both, the pickle describes a tensor as torch._utils._rebuild_tensor_v2(storage, offset, size, stride, ...), and
its storage as the persistent id ('storage', type, key, device, number of values).
"""

from __future__ import annotations

import io
import math
import os
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any, Callable, NamedTuple, Optional

import numpy as np

from gluon_resnet.convert.pickled import INERT, default_dict, evaluate, ordered_dict
from gluon_resnet.convert.torch_state import choose
from gluon_resnet.errors import ModelError, UsageError
from gluon_resnet.files import Path, read_regular
from gluon_resnet.terminal import MOST_OF_A_NAME, printable, shown

_MAGIC = 0x1950A86A20F9469CFC6C
_VERSION = 1001
_DIMENSIONS = 32  # the limit of NumPy 1
# How many times larger than the file its members may be in all: those of deflated weights are a tenth larger.
_COMPRESSIONS = {zipfile.ZIP_STORED: 1, zipfile.ZIP_DEFLATED: 16}


class _Type(NamedTuple):
    """A storage class of PyTorch; `dtype` is the type of its values in the file."""

    name: str
    dtype: str


class _Storage(NamedTuple):
    key: str
    type: _Type
    length: int  # the number of values


class _Tensor(NamedTuple):
    """A view of a storage; offset and strides are counted in values."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


_TYPES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "BFloat16Storage": "<u2",  # the upper half of a float32
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}


def read_torch(
    path: Path, entry: Optional[str] = None, tell: Callable[[str], None] = lambda sentence: None
) -> dict[str, np.ndarray]:
    """The tensors of a file written by `torch.save(state_dict, path)`, or of a training script's dict around one.

    Args:
        path: the path of the file.
        entry: the key of the weights in that dict; by default see torch_state.choose.
        tell: a function that gets a sentence if there was a choice between several entries.

    Returns:
        Read-only arrays, bitwise equal except that bfloat16 becomes float32. Tensors that share a storage share memory.

    Raises:
        UsageError: there is no such entry.
        ModelError: the file is damaged, or contains anything but tensors, or would need to run code to be read.
        OSError: the file cannot be read.
    """
    path = os.fspath(path)
    data = read_regular(path)
    try:
        value, storages = _from_zip(data) if data[:2] == b"PK" else _from_pickles(data)
        state = choose(path, value, _Tensor, entry, tell)
        return {name: _array(name, tensor, storages) for name, tensor in state.items()}
    except UsageError:
        raise
    except ValueError as error:
        raise ModelError(f"{path}: {printable(str(error))}", path=path) from None


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _Tensor:
    tuples = isinstance(shape, tuple) and isinstance(strides, tuple) and len(shape) == len(strides)
    if not isinstance(storage, _Storage) or not tuples or len(shape) > _DIMENSIONS:
        raise ValueError("a tensor is not described as PyTorch does")
    numbers = (offset, *shape, *strides)
    if not all(isinstance(number, int) and 0 <= number < 2**63 for number in numbers):
        # A few hundred bytes can describe nested tuples that take terabytes to print.
        raise ValueError(
            f"impossible tensor: offset {shown(offset)}, shape {shown(shape)}, strides {shown(strides)}"
        )
    return _Tensor(storage, offset, shape, strides)


def _rebuild_parameter(tensor: Any, *_: Any) -> Any:
    return tensor


def _storage(identity: Any) -> _Storage:
    """The storage that a persistent id stands for; before PyTorch 0.4 a sixth element was a view of a storage."""
    kind, *fields = identity if isinstance(identity, tuple) and len(identity) in (5, 6) else (None,)
    if kind != "storage" or fields[4:] not in ([], [None]):
        raise ValueError("a storage is not described as PyTorch does")
    storage_type, key, _, length = fields[:4]
    known = isinstance(storage_type, _Type) and isinstance(key, str)
    if not known or not isinstance(length, int) or not 0 <= length < 2**48:
        raise ValueError("a storage is not described as PyTorch does")
    return _Storage(key, storage_type, length)


# What training scripts save beside the weights: options, schedules, measurements. None of it is needed here.
_BESIDE = (
    "argparse.Namespace",
    "collections.Counter",
    "torch.device",
    "torch.Size",
    *(f"torch.{name}" for name in ("float32", "float64", "float16", "bfloat16", "int64", "int32", "uint8")),
    *("numpy.dtype", "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "_codecs.encode"),
    *(
        f"{module}.{name}"
        for module in ("pathlib", "pathlib._local")
        for name in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")
    ),
    *(
        f"{module}.{name}"
        for module in ("builtins", "__builtin__")
        for name in ("set", "list", "dict", "int", "float")
    ),
)

_KNOWN: Mapping[str, Any] = {
    **dict.fromkeys(_BESIDE, INERT),
    "collections.OrderedDict": ordered_dict,
    "collections.defaultdict": default_dict,
    "torch._utils._rebuild_tensor": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
    **{f"torch.{name}": _Type(name, dtype) for name, dtype in _TYPES.items()},
}


class _Pickle:
    """The value of a pickle, and the storages that its tensors need."""

    def __init__(self, stream: io.BytesIO) -> None:
        self.storages: dict[str, _Storage] = {}
        self.value = evaluate(stream, _KNOWN, self._remember)

    def _remember(self, identity: Any) -> _Storage:
        storage = _storage(identity)
        if self.storages.setdefault(storage.key, storage) != storage:
            raise ValueError(f"storage {storage.key[:MOST_OF_A_NAME]} is described twice, in different ways")
        return storage


def _from_zip(data: bytes) -> tuple[Any, dict[str, np.ndarray]]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return _from_archive(archive, len(data))
    except (
        zipfile.BadZipFile,
        NotImplementedError,
        RuntimeError,
        EOFError,
        OverflowError,
        zlib.error,
        struct.error,
    ) as error:
        raise ValueError(f"this is not a whole zip archive: {error}") from None


def _from_archive(archive: zipfile.ZipFile, left: float) -> tuple[Any, dict[str, np.ndarray]]:
    def member(name: str) -> bytes:
        """The member's bytes; the total must be in proportion to the file, so that there are no duplicates or bombs."""
        nonlocal left
        try:
            information = archive.getinfo(name)
        except KeyError:
            raise ValueError(f"the archive has no {name[:MOST_OF_A_NAME]}") from None
        if information.compress_type not in _COMPRESSIONS:
            raise ValueError(
                f"{name[:MOST_OF_A_NAME]} in the archive is not compressed with deflate: save the file again"
            )
        factor = _COMPRESSIONS[information.compress_type]
        left -= information.file_size / factor
        if left < 0:
            times = f"more than {factor} times " if factor > 1 else ""
            raise ValueError(f"{name[:MOST_OF_A_NAME]} in the archive is {times}larger than the file")
        with archive.open(information) as stream:
            # Without a number the library unpacks more than the archive declares.
            return stream.read(information.file_size + 1)

    pickles = [name for name in archive.namelist() if name.split("/")[1:] == ["data.pkl"]]
    if len(pickles) != 1:
        raise ValueError("the archive is not one that PyTorch writes: it has no data.pkl")
    root = pickles[0].split("/")[0]
    if f"{root}/byteorder" in archive.namelist() and member(f"{root}/byteorder") != b"little":
        raise ValueError("the file is from a big-endian machine: save it again on a little-endian one")
    pickle = _Pickle(io.BytesIO(member(pickles[0])))
    return pickle.value, {
        key: _values(storage, member(f"{root}/data/{key}")) for key, storage in pickle.storages.items()
    }


def _from_pickles(data: bytes) -> tuple[Any, dict[str, np.ndarray]]:
    stream = io.BytesIO(data)
    if evaluate(stream, _KNOWN) != _MAGIC or evaluate(stream, _KNOWN) != _VERSION:
        raise ValueError("this is not a file of torch.save")
    machine = evaluate(stream, _KNOWN)
    if not isinstance(machine, dict) or machine.get("little_endian") is not True:
        raise ValueError("the file is from a big-endian machine: save it again on a little-endian one")
    pickle = _Pickle(stream)
    keys = evaluate(stream, _KNOWN)
    if not isinstance(keys, list) or any(not isinstance(key, str) for key in keys):
        raise ValueError("the list of storages is damaged")
    if sorted(keys) != sorted(pickle.storages):
        raise ValueError(f"expected {len(pickle.storages)} storages, found {len(keys)} others")
    storages = {}
    for key in keys:
        storage, header = pickle.storages[key], stream.read(8)
        if header != struct.pack("<Q", storage.length):
            raise ValueError(
                f"storage {key[:MOST_OF_A_NAME]}: expected {storage.length} values, found another number or the end"
            )
        storages[key] = _values(storage, stream.read(storage.length * np.dtype(storage.type.dtype).itemsize))
    if stream.read(1):
        raise ValueError("something follows the last storage")
    return pickle.value, storages


def _values(storage: _Storage, data: bytes) -> np.ndarray:
    dtype = np.dtype(storage.type.dtype)
    if len(data) != storage.length * dtype.itemsize:
        size = storage.length * dtype.itemsize
        raise ValueError(f"storage {storage.key[:MOST_OF_A_NAME]}: expected {size} bytes, found {len(data)}")
    values = np.frombuffer(data, dtype)
    if storage.type.name == "BFloat16Storage":
        values = (values.astype("<u4") << 16).view("<f4")
        values.flags.writeable = False
    return values


def _array(name: str, tensor: _Tensor, storages: Mapping[str, np.ndarray]) -> np.ndarray:
    values, size = storages[tensor.storage.key], math.prod(tensor.shape)
    last = tensor.offset + sum((length - 1) * stride for length, stride in zip(tensor.shape, tensor.strides))
    # It has more values than its storage, by showing the same ones repeatedly, which would need memory later.
    if size > len(values) or (size and last >= len(values)) or max(tensor.shape, default=0) >= 2**31:
        raise ValueError(
            f"tensor {name[:MOST_OF_A_NAME]} of shape {shown(tensor.shape)}, strides {shown(tensor.strides)} and "
            f"offset {tensor.offset} "
            f"does not fit in its storage of {len(values)} values"
        )
    if not size:
        return np.empty(tensor.shape, values.dtype)
    # The stride of a dimension of 1 is never used, and may be anything.
    strides = [
        stride * values.itemsize if length > 1 else 0 for length, stride in zip(tensor.shape, tensor.strides)
    ]
    array: np.ndarray = np.ndarray(
        tensor.shape, values.dtype, values.data, tensor.offset * values.itemsize, strides
    )
    array.flags.writeable = False
    return array
