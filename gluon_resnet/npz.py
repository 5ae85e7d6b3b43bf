"""NumPy's .npz files, read within the memory that their size allows: `np.load` asks for what a header claims."""

from __future__ import annotations

import math
import struct
import zipfile
import zlib
from collections.abc import Collection

import numpy as np

from gluon_resnet.errors import DataError
from gluon_resnet.files import regular_only
from gluon_resnet.terminal import printable_name

# The largest ratio of its arrays' size to the file's; small files may consist of many equal values.
_MOST_TIMES, _ALWAYS = 64, 1 << 26

# The exceptions of zipfile and NumPy for something that is not an archive of arrays, or not a complete one.
_DAMAGES = (
    *(ValueError, KeyError, TypeError, AttributeError, EOFError, OverflowError, NotImplementedError),
    *(RuntimeError, MemoryError, SyntaxError, zipfile.BadZipFile, zlib.error, struct.error),
)


def read_npz(path: str, names: Collection[str], writer: str) -> dict[str, np.ndarray]:
    """The arrays with these names; nothing in the file is unpickled.

    Args:
        writer: the program that writes such files, for messages.

    Raises:
        DataError: it is another file, or a damaged one; with the path.
        OSError: the file cannot be read.
    """
    with open(path, "rb", opener=regular_only) as stream:
        size = stream.seek(0, 2)
        try:
            with zipfile.ZipFile(stream) as archive:
                members = {name: archive.getinfo(f"{name}.npy") for name in names}
                if sum(member.file_size for member in members.values()) > max(_MOST_TIMES * size, _ALWAYS):
                    raise ValueError(f"its arrays are more than {_MOST_TIMES} times as large")
                return {name: _array(archive, member) for name, member in members.items()}
        except _DAMAGES as error:
            reason = printable_name(str(error))
            raise DataError(f"{path}: not a file of {writer}: {reason}", path) from None


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        if version != (1, 0):
            raise ValueError(f"an array has the version {version}")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
        content = stream.read(member.file_size)
    fits = not dtype.hasobject and len(shape) <= 8 and min(shape, default=0) >= 0
    if not fits or math.prod(shape) * dtype.itemsize != len(content):
        raise ValueError(f"an array does not have the shape {shape}")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C").copy()
