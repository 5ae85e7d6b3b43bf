"""The images that tools/predict.py is given: files, folders, record files, lines of standard input."""

from __future__ import annotations

import errno
import os
import select
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Optional, Union

import numpy as np

from gluon_resnet.data import RecordFile
from gluon_resnet.deploy.preparation import Pause
from gluon_resnet.errors import DataError

_ENDINGS = (".jpg", ".jpeg", ".png")


class NamedImage(NamedTuple):
    """An image, or the reason why there is none.

    Attributes:
        name: the name that the user knows: the path, or FILE.rec:KEY.
        source: its path, its bytes, or the error.
        labels: the labels of a record, float32.
    """

    name: str
    source: Union[str, bytes, Exception]
    labels: Optional[np.ndarray] = None

    def image(self) -> Union[str, bytes]:
        """The image for the predictor; raises the error if there was one."""
        if isinstance(self.source, Exception):
            raise self.source
        return self.source


def named_images(names: Iterable[str], stdin: bool) -> Iterator[Union[NamedImage, Pause]]:
    """The images that `names` are or contain, and then, with `stdin`, those named by its lines.

    A Pause is given if standard input has not said yet what is next.
    """
    for name in names:
        yield from _held(name)
    if stdin:
        for line in _lines(0):
            if line is Pause.HERE:
                yield Pause.HERE
            elif line:
                yield from _held(os.fsdecode(line))


def _lines(descriptor: int) -> Iterator[Union[bytes, Pause]]:
    """The lines of a file as they come, without their ends; a Pause if the next one has not come yet."""
    rest = b""
    try:
        os.fstat(descriptor)
    except OSError as error:
        raise OSError(error.errno, error.strerror, "standard input") from None
    while True:
        if not select.select([descriptor], [], [], 0)[0]:
            yield Pause.HERE
        block = os.read(descriptor, 1 << 16)
        if not block:
            break
        *lines, rest = (rest + block).split(b"\n")
        yield from lines
    yield rest


def _held(name: str) -> Iterator[NamedImage]:
    if "\0" in name:
        yield NamedImage(name, FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name))
    elif os.path.isdir(name):
        yield from _of_folder(name)
    elif name.endswith(".rec"):
        yield from _of_records(name)
    else:
        yield NamedImage(name, name)


def _of_folder(folder: str) -> Iterator[NamedImage]:
    found: dict[str, Union[str, Exception]] = {}

    def failed(error: OSError) -> None:
        found[error.filename] = error

    for path, _, files in os.walk(folder, onerror=failed):
        found.update((os.path.join(path, file),) * 2 for file in files if file.lower().endswith(_ENDINGS))
    if not found:
        yield NamedImage(folder, DataError(f"there are no images ({', '.join(_ENDINGS)}) in this folder"))
    for path in sorted(found, key=os.fsencode):
        yield NamedImage(path, found[path])


def _of_records(path: str) -> Iterator[NamedImage]:
    try:
        file = RecordFile(path)
        positions = file.images
    except (DataError, OSError) as error:
        yield NamedImage(path, error)
        return
    for position in positions:
        name = f"{path}:{file.key(position)}"
        try:
            record = file[position]
        except (DataError, OSError) as error:
            yield NamedImage(name, error)
        else:
            yield NamedImage(name, record.payload, record.header.label)
