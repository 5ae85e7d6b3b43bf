"""Files of named arrays, as written by PyTorch, safetensors and MXNet."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from typing import Any, Callable, Optional

import numpy as np

from gluon_resnet.convert.torch_file import read_torch
from gluon_resnet.errors import EnvironmentProblem, ModelError, UsageError
from gluon_resnet.files import Path, read_regular, regular_only, whole_file
from gluon_resnet.models.parameters import read_arrays, write_arrays
from gluon_resnet.terminal import printable, shown

TORCH_ENDINGS = (".pth", ".pt", ".th")
_SAFETENSORS = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",  # the upper half of a float32
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U8": "u1",
    "BOOL": "?",
}


def read_weights(
    path: Path, entry: Optional[str] = None, tell: Callable[[str], None] = lambda sentence: None
) -> dict[str, np.ndarray]:
    """The arrays of a .pth, .pt, .th, .safetensors or .params file; the kind is told from its first bytes.

    Args:
        path: the path of the file.
        entry, tell: as for read_torch; only its files have entries.

    Returns:
        Read-only arrays, bitwise equal except that bfloat16 becomes float32, named without 'arg:' and 'aux:'.

    Raises:
        UsageError: the file has no such entry.
        ModelError: the file is damaged, of another kind, or contains anything but named arrays.
        EnvironmentProblem: the library that reads it is missing.
        OSError: the file cannot be read.
    """
    path = os.fspath(path)
    with open(path, "rb", opener=regular_only) as stream:
        start = stream.read(16)
    if start[:2] in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        return read_torch(path, entry, tell)
    if entry is not None:
        raise UsageError(f"{path} is not a PyTorch file and has no entries: omit --weights {entry}")
    if start[:8] == (0x112).to_bytes(8, "little"):
        return _without_kinds(path, read_arrays(path))
    if start[8:9] == b"{":
        return _read_safetensors(path)
    raise _error(
        path, "expected a file of weights from PyTorch, safetensors or MXNet, found another kind of file"
    )


def write_weights(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write `arrays` in the format given by the ending of `path`.

    Raises:
        UsageError: there is no such ending.
        EnvironmentProblem: the library that writes the format is missing.
        OSError: the file cannot be written.
    """
    ending = os.path.splitext(path)[1]
    if ending == ".params":
        write_arrays(path, arrays)
    elif ending == ".safetensors":
        _safetensors()
        from safetensors.numpy import save

        content = save({name: np.ascontiguousarray(a) for name, a in arrays.items()}, {"format": "pt"})
        with whole_file(path, "wb") as stream:
            stream.write(content)
    elif ending in TORCH_ENDINGS:
        try:
            torch: Any = importlib.import_module("torch")
        except ImportError:
            raise EnvironmentProblem(
                f"writing {ending} needs PyTorch: install it, or name a .safetensors file"
            ) from None
        tensors = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
        with whole_file(path, "wb") as stream:
            torch.save(tensors, stream)
    else:
        endings = ", ".join([*TORCH_ENDINGS, ".safetensors", ".params"])
        raise UsageError(f"{os.fspath(path)}: expected a name that ends with one of {endings}")


def _read_safetensors(path: str) -> dict[str, np.ndarray]:
    library = _safetensors()
    data = read_regular(path)
    try:
        tensors = library.deserialize(data)
    except (library.SafetensorError, ValueError) as error:
        raise _error(path, f"this is not a whole safetensors file: {error}") from None
    arrays = {}
    for name, tensor in sorted(tensors, key=lambda item: item[0]):  # the library's order is random
        if tensor["dtype"] not in _SAFETENSORS:
            raise _error(
                path, f"tensor {name[:80]} has the data type {tensor['dtype']}, which is not supported"
            )
        values = np.frombuffer(bytes(tensor["data"]), _SAFETENSORS[tensor["dtype"]])
        if tensor["dtype"] == "BF16":
            values = (values.astype("<u4") << 16).view("<f4")
        try:
            arrays[name] = values.reshape(tensor["shape"])
        except ValueError:  # a shape with a 0 in it, larger than any array can have
            raise _error(path, f"tensor {name[:80]}: impossible shape {shown(tensor['shape'])}") from None
        arrays[name].flags.writeable = False
    return arrays


def _safetensors() -> Any:
    try:
        import safetensors
    except ImportError:
        raise EnvironmentProblem(
            ".safetensors files need safetensors: pip install 'gluon-resnet[convert]'"
        ) from None
    return safetensors


def _without_kinds(path: str, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    result = {
        name.split(":", 1)[1] if name[:4] in ("arg:", "aux:") else name: a for name, a in arrays.items()
    }
    if len(result) != len(arrays):
        raise _error(path, "a name occurs twice, once with 'arg:' or 'aux:' in front")
    return result


def _error(path: str, message: str) -> ModelError:
    return ModelError(f"{path}: {printable(message)}", path=path)
