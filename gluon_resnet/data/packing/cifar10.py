"""CIFAR-10 as published by its authors: binary or Python batches, in a folder or in their tar.gz."""

from __future__ import annotations

import io
import os
import pickle
import posixpath
import re
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Callable, ClassVar

import numpy as np

from gluon_resnet.data.packing.sources import Picture
from gluon_resnet.data.packing.tar_archive import TarArchive
from gluon_resnet.errors import DataError
from gluon_resnet.files import read_regular
from gluon_resnet.terminal import reason_of, shown

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_PIXELS = 3 * 32 * 32
_BATCH = re.compile(r"(?:data_batch_(?P<number>\d+)|test_batch)(?P<binary>\.bin)?")

Read = Callable[[], bytes]


class Cifar10Source:
    """The pictures of some batches, in their order, as pixels; keys are counted from 0.

    Args:
        batches: the name of each batch and a function that reads its bytes. A name with ``.bin`` belongs to a binary
            batch, any other to a pickled one.

    Raises:
        DataError: a batch is not as published. Pickles may hold arrays, numbers, strings and containers of
            them; one that asks for anything else is refused before it can run.
    """

    classes = CLASSES

    def __init__(self, batches: Sequence[tuple[str, Read]]) -> None:
        self._batches = batches
        self._size = sum(len(_load(name, read())[1]) for name, read in batches)

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Picture]:
        key = 0
        for name, read in self._batches:
            images, labels = _load(name, read())
            for i, (pixels, label) in enumerate(zip(images, labels)):
                yield Picture(key, (float(label),), f"{name}: image {i}", pixels)
                key += 1


def cifar10_sources(root: str) -> dict[str, Cifar10Source]:
    """The parts found in `root`, a folder or tar archive: ``'train'`` (data_batch_1 …) and ``'test'`` (test_batch).

    Binary batches are preferred if there are both kinds. DataError if there are none.
    """
    files = _folder_files(root) if os.path.isdir(root) else _archive_files(root)
    found: list[tuple[bool, int, str, str, Read]] = []
    for path, read in files.items():
        match = _BATCH.fullmatch(posixpath.basename(path))
        if match:
            number = int(match["number"] or 0)
            found.append((bool(match["binary"]), number, "train" if number else "test", path, read))
    if not found:
        raise DataError(
            f"{root}: expected CIFAR-10's batches (data_batch_1 or data_batch_1.bin …)", path=root
        )
    binary = any(item[0] for item in found)
    parts: dict[str, list[tuple[str, Read]]] = {}
    for is_binary, _, part, path, read in sorted(found, key=lambda item: item[:2]):
        if is_binary == binary:
            parts.setdefault(part, []).append((path, read))
    return {part: Cifar10Source(batches) for part, batches in sorted(parts.items(), reverse=True)}


def _folder_files(root: str) -> dict[str, Read]:
    folders = [root, *(os.path.join(root, f"cifar-10-batches-{kind}") for kind in ("bin", "py"))]
    paths = [os.path.join(f, name) for f in folders if os.path.isdir(f) for name in sorted(os.listdir(f))]
    return {path: partial(read_regular, path) for path in paths if os.path.isfile(path)}


def _archive_files(root: str) -> dict[str, Read]:
    archive = TarArchive(root)
    return {path: partial(archive.read, path) for path in archive.survey(("", ".bin")).paths}


def _load(name: str, data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """The images, uint8 ``(n, 32, 32, 3)`` RGB, and labels ``(n,)`` of the batch `name` with the bytes `data`."""
    if name.endswith(".bin"):
        if not data or len(data) % (1 + _PIXELS):
            raise DataError(
                f"{name}: expected images of {1 + _PIXELS} bytes, found {len(data)} bytes", path=name
            )
        rows = np.frombuffer(data, np.uint8).reshape(-1, 1 + _PIXELS)
        planes, labels = rows[:, 1:], rows[:, 0]
    else:
        planes, labels = _load_pickled(name, data)
    if labels.max() >= len(CLASSES):
        raise DataError(f"{name}: expected labels from 0 to 9, found {labels.max()}", path=name)
    images = planes.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), labels


def _load_pickled(name: str, data: bytes) -> tuple[np.ndarray, np.ndarray]:
    try:
        batch = _ArrayUnpickler(io.BytesIO(data), encoding="bytes").load()
        planes, labels = batch[b"data"], batch[b"labels"]
        if not isinstance(planes, np.ndarray):
            raise TypeError(f"expected an array of images, found {shown(planes)}")
        if isinstance(labels, list) and all(type(label) is int for label in labels):
            labels = np.array(labels)
        elif not isinstance(labels, np.ndarray):
            raise TypeError(f"expected a list of labels, found {shown(labels)}")
    except Exception as error:  # a damaged pickle can raise anything
        reason = reason_of(error)
        raise DataError(f"{name}: not a Python batch of CIFAR-10: {reason}", path=name) from error
    # A pickle can create an array without filling it.
    whole = planes.dtype == np.uint8 and planes.ndim == 2 and 0 < planes.nbytes <= len(data)
    whole = whole and planes.shape[1] == _PIXELS
    if not whole or labels.shape != (len(planes),) or labels.dtype.kind not in "iu" or labels.min() < 0:
        raise DataError(
            f"{name}: expected uint8 data of shape (n, {_PIXELS}) and n labels, "
            f"found {planes.dtype} of shape {planes.shape} and labels of shape {labels.shape}",
            path=name,
        )
    return planes, labels


# The opcodes that make objects, sets, or any number of bytes that they name.
_NOT_NEEDED = frozenset(
    code[0]
    for code in (
        *(pickle.BYTEARRAY8, pickle.NEXT_BUFFER, pickle.READONLY_BUFFER, pickle.LONG4, pickle.LONG),
        *(pickle.EMPTY_SET, pickle.ADDITEMS, pickle.FROZENSET, pickle.INST, pickle.OBJ, pickle.NEWOBJ),
        *(pickle.NEWOBJ_EX, pickle.EXT1, pickle.EXT2, pickle.EXT4, pickle.PERSID, pickle.BINPERSID),
    )
)
_PAIRS = (pickle.DICT[0], pickle.SETITEMS[0], pickle.SETITEM[0])


def _of_plain_keys(load: Callable[..., None]) -> Callable[..., None]:
    """The operation, restricted to plain keys: hashing a tuple of nested tuples can take for ever."""

    def checked(unpickler: Any) -> None:
        keys = (
            unpickler.stack[-2::2]
            if load is pickle._Unpickler.dispatch[pickle.SETITEM[0]]
            else unpickler.stack[::2]
        )
        if not all(isinstance(key, (bytes, str, int)) for key in keys):
            raise pickle.UnpicklingError("it has keys that are neither strings nor numbers")
        load(unpickler)

    return checked


class _ArrayUnpickler(pickle._Unpickler):
    """Unpickles arrays and plain containers, and looks up nothing else: no pickle can make it run code.

    It derives from the unpickler in Python: five bytes, a high memo index, make the one in C allocate 64 GiB.
    """

    dispatch: ClassVar[dict[int, Callable[..., None]]] = {
        code: _of_plain_keys(load) if code in _PAIRS else load
        for code, load in pickle._Unpickler.dispatch.items()
        if code not in _NOT_NEEDED
    }

    def find_class(self, module: str, name: str) -> Any:
        found = _PICKLED.get((module, name))
        if found is None:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no array needs")
        return found


def _latin1_bytes(text: str, encoding: str) -> bytes:
    """How Python 3 pickles bytes for Python 2: codecs.encode, without the choice of a codec."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it asks for the codec {encoding}")
    return text.encode("latin1")


_reconstruct = np.empty(0).__reduce__()[0]
_PICKLED = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _latin1_bytes,
}
