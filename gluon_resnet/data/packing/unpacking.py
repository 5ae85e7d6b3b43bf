"""Unpacks the images of a record file into files again, in one folder for each class."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from typing import NamedTuple, Optional
from urllib.parse import quote

import numpy as np

from gluon_resnet.data.class_names import classes_path, read_class_names
from gluon_resnet.data.packing.left_out import is_hidden
from gluon_resnet.data.records import RecordFile
from gluon_resnet.errors import DataError, UsageError
from gluon_resnet.terminal import printable

_ENDINGS = (
    (b"\xff\xd8\xff", ".jpg"),
    (b"\x89PNG", ".png"),
    (b"GIF8", ".gif"),
    (b"BM", ".bmp"),
    (b"II*\0", ".tif"),
    (b"MM\0*", ".tif"),
)
_MOST_NAME = 255  # bytes, in the file systems of today


class Unpacked(NamedTuple):
    """The result of unpacking.

    Attributes:
        images: the number of images.
        folders: the number of folders.
        others: the number of records that are not images.
        renumbered: whether the classes will get different labels when the folder is packed again.
    """

    images: int
    folders: int
    others: int
    renumbered: bool


def unpack_records(path: str, folder: str) -> Unpacked:
    """Write the images in the record file `path` to ``folder/CLASS/KEY.jpg``, byte for byte.

    The ending depends on the format: .jpg, .png …, .bin. CLASS is the name in NAME.classes beside NAME.rec, or
    the label if there is no such file. Whatever a class is called, nothing is written outside `folder`: characters
    that could lead outside, or hide a folder, are escaped as in a URL. Everything is first written to FOLDER.partial,
    which is then renamed.

    Raises:
        UsageError: `folder` is not empty, or FOLDER.partial exists.
        RecordError: a record cannot be read.
        DataError: a label has no name, or a class name cannot be a folder's.
        OSError: the folder cannot be written to.
    """
    file = RecordFile(path)
    folders = _ClassFolders(path)
    folder = os.path.abspath(folder)
    if os.path.lexists(folder) and (
        not os.path.isdir(folder) or os.path.islink(folder) or os.listdir(folder)
    ):
        raise UsageError(
            f"{folder}: expected a new or empty folder to unpack to, found one with files, or a file"
        )
    partial = folder + ".partial"
    os.makedirs(os.path.dirname(folder) or os.curdir, exist_ok=True)
    try:
        os.mkdir(partial)
    except FileExistsError:
        raise UsageError(
            f"{partial}: this folder was left by a run that was interrupted; remove it first"
        ) from None
    try:
        made = set()
        for name, image, payload in _images(file, folders):
            if name not in made:
                os.makedirs(os.path.join(partial, name), exist_ok=True)
                made.add(name)
            with open(os.path.join(partial, name, image), "xb") as stream:
                stream.write(payload)
        os.rename(partial, folder)
    except BaseException as error:
        shutil.rmtree(partial, ignore_errors=True)
        if isinstance(error, OSError) and error.errno in (errno.EEXIST, errno.ENOTDIR):
            raise DataError(
                f"{path}: two images, or an image and a class, have the same name", path=path
            ) from None
        raise
    return Unpacked(len(file.images), len(folders.used), len(file) - len(file.images), folders.renumbered())


def _images(file: RecordFile, folders: _ClassFolders) -> Iterator[tuple[str, str, bytes]]:
    """For each image, the name of its folder, the name of its file, and its bytes."""
    positions = file.images
    digits = len(str(max(file.key(position) for position in positions)))
    for position in positions:
        header, payload = file[position]
        key = file.key(position)
        yield folders.of(float(header.label[0]), key), f"{key:0{digits}}{_ending(payload)}", payload


class _ClassFolders:
    """The folder of each class, by label."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.used: dict[float, str] = {}  # by label
        names = classes_path(path)
        self._names: Optional[list[str]] = None
        if os.path.exists(names):
            known = read_class_names(names)
            self._names = [self._folder(name) for name in known]
            first: dict[str, int] = {}
            for label, name in enumerate(self._names):
                if first.setdefault(name, label) != label:
                    raise DataError(
                        f"{names}: labels {first[name]} and {label} have the same name, {printable(name)}",
                        path=names,
                    )

    def of(self, label: float, key: int) -> str:
        if self._names is None:
            # As short as float32 allows: 0.1, not 0.10000000149.
            name = str(int(label)) if label.is_integer() else str(np.float32(label))
        elif label.is_integer() and 0 <= label < len(self._names):
            name = self._names[int(label)]
        else:
            raise DataError(
                f"{self._path}: key {key}: expected one of {len(self._names)} classes, found label {label:g}",
                path=self._path,
                key=key,
            )
        self.used[label] = name
        return name

    def renumbered(self) -> bool:
        """Whether the labels used differ from those that the sorted names would get."""
        names = sorted(self.used.values(), key=lambda name: name.split("/"))
        return dict(enumerate(names)) != self.used

    def _folder(self, name: str) -> str:
        folder = "/".join(map(_harmless, name.split("/")))
        if any(len(os.fsencode(part)) > _MOST_NAME for part in folder.split("/")):
            raise DataError(
                f"{self._path}: this class name is too long for a folder: {printable(name, 43)}",
                path=self._path,
            )
        return folder


def _harmless(part: str) -> str:
    """`part` as a folder's name that stays inside its parent, is not hidden, and is unique to `part`."""
    if part == "":
        return "%"
    escaped = "".join(quote(c, safe="") if c in "%\\" or not c.isprintable() else c for c in part)
    if is_hidden(part) or part in (".", ".."):
        escaped = f"%{ord(part[0]):02X}{escaped[1:]}"
    return escaped if escaped == escaped.strip() else escaped.replace(" ", "%20")


def _ending(payload: bytes) -> str:
    if payload[:4] == b"RIFF" and payload[8:12] == b"WEBP":
        return ".webp"
    return next((ending for start, ending in _ENDINGS if payload.startswith(start)), ".bin")
