"""What a list of pictures was made from: PREFIX.lst.json beside PREFIX.lst, which MXNet's tools ignore."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from typing import Optional

from gluon_resnet.errors import GluonResnetError
from gluon_resnet.files import sha256, sha256_of
from gluon_resnet.json_values import from_json, is_integer, is_number, read_json, require

ORIGIN_SUFFIX = ".lst.json"


@dataclass(frozen=True)
class ListOptions:
    """The options that determine a list's content; see im2rec.py --help."""

    exts: tuple[str, ...]
    recursive: bool = False
    shuffle: bool = True
    chunks: int = 1
    train_ratio: float = 1.0
    test_ratio: float = 0.0

    def __post_init__(self) -> None:
        texts = isinstance(self.exts, tuple) and all(isinstance(ext, str) for ext in self.exts)
        require(texts, "exts", "texts", self.exts)
        for name in ("recursive", "shuffle"):
            require(isinstance(getattr(self, name), bool), name, "true or false", getattr(self, name))
        require(is_integer(self.chunks, 1, 1 << 62), "chunks", "a positive number", self.chunks)
        for name in ("train_ratio", "test_ratio"):
            require(is_number(getattr(self, name), 0, 1), name, "0 to 1", getattr(self, name))

    def as_typed(self, name: str) -> str:
        """The option `name` as on a command line: ``--train-ratio 0.75``."""
        value = getattr(self, name)
        if name == "shuffle":
            return "shuffled" if value else "--no-shuffle"
        if name == "recursive":
            return "--recursive" if value else "no --recursive"
        return f"--{name.replace('_', '-')} {' '.join(value) if isinstance(value, tuple) else f'{value:g}'}"


@dataclass(frozen=True)
class ListOrigin:
    """What a list was made from. The location of its folder is reported but not compared, since folders are moved.

    Attributes:
        prefix: the prefix given to the command, without its folder; the lists of a split have longer names.
        listed: whether it was made by --list, for a user who may have plans for it, and not while packing.
        root: the absolute path of the folder or archive.
        options: the options it was made with; see ListOptions.
        pictures: the number of pictures in all lists that were made together.
        names: the names_digest() of those pictures.
        content: the SHA-256 of the list itself, which shows whether someone has changed it since.
    """

    prefix: str
    listed: bool
    root: str
    options: ListOptions
    pictures: int
    names: str
    content: str = ""

    def __post_init__(self) -> None:
        for name in ("prefix", "root", "names", "content"):
            require(isinstance(getattr(self, name), str), name, "a text", getattr(self, name))
        require(isinstance(self.listed, bool), "listed", "true or false", self.listed)
        require(is_integer(self.pictures, 0, 1 << 62), "pictures", "a number", self.pictures)

    def text(self, content: str) -> str:
        """The text of the .lst.json for a list whose text is `content`."""
        value = {**asdict(self), "content": text_digest(content)}
        return json.dumps({"what": "the origin of a list of im2rec.py", **value}, indent=1) + "\n"

    def differences(self, now: ListOrigin) -> Iterator[str]:
        """Describe what has changed since this list was made."""
        for field in fields(ListOptions):
            if getattr(self.options, field.name) != getattr(now.options, field.name):
                yield f"{self.options.as_typed(field.name)} then, {now.options.as_typed(field.name)} now"
        if self.names != now.names:
            if self.pictures != now.pictures:
                yield f"{self.pictures:,} pictures then, {now.pictures:,} now"
            else:
                yield f"{now.pictures:,} pictures as then, but with other names"
        if self.root != now.root:
            yield f"{self.root} then, {now.root} now"


def read_origin(list_path: str) -> Optional[ListOrigin]:
    """The origin of a list; None for a foreign list, made by hand or by another program."""
    path = os.path.splitext(list_path)[0] + ORIGIN_SUFFIX
    with contextlib.suppress(OSError, ValueError, GluonResnetError):
        value = read_json(path)
        if isinstance(value, dict):
            value.pop("what", None)
        return from_json(ListOrigin, value, "the file")
    return None


def is_changed(list_path: str, origin: ListOrigin) -> bool:
    """Whether the list has changed since it was made."""
    return sha256(list_path) != origin.content


def text_digest(text: str) -> str:
    """The SHA-256 of a list's text as it is written to the disk."""
    return sha256_of([text.encode("utf-8", "surrogateescape")])


def names_digest(paths: Iterable[str]) -> str:
    """The SHA-256 of the names in their order."""
    return sha256_of(path.encode("utf-8", "surrogateescape") + b"\0" for path in paths)
