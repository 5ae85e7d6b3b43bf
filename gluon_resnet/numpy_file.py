"""NumPy's .npz files, which may be a stranger's."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterable

import numpy as np

from gluon_resnet.files import regular_only
from gluon_resnet.terminal import MOST_OF_A_NAME, printable

# How many times larger than the file its arrays may be together: numbers of images, compressed, are ten times.
_COMPRESSION = 64
_LEAST = 1 << 20  # bytes that any file may have

# What np.load raises for what is not an archive of arrays, or not whole, or without one of the names.
_DAMAGE = (
    *(ValueError, KeyError, TypeError, AttributeError, EOFError, OverflowError, NotImplementedError),
    *(RuntimeError, MemoryError, SyntaxError, zipfile.BadZipFile, zlib.error, struct.error),
)


def read_arrays(path: str, names: Iterable[str]) -> list[np.ndarray]:
    """The arrays of these names.

    Raises:
        ValueError: it is damaged, or has no such arrays, or unpacks to far more than its size.
        DataError: it is no regular file.
        OSError: it cannot be read.
    """
    with open(path, "rb", opener=regular_only) as stream:
        try:
            size = stream.seek(0, 2)
            with zipfile.ZipFile(stream) as archive:
                unpacked = sum(member.file_size for member in archive.infolist())
            if unpacked > max(_LEAST, _COMPRESSION * size):
                raise ValueError(f"it would unpack to {unpacked} bytes, and has {size}")
            stream.seek(0)
            with np.load(stream, allow_pickle=False) as content:
                return [content[name] for name in names]
        except _DAMAGE as error:
            raise ValueError(printable(str(error), 4 * MOST_OF_A_NAME) or type(error).__name__) from None
