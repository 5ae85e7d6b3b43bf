"""tools/im2rec.py: the lists that a command line asks for, and the pictures for them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Optional

from gluon_resnet.data.packing.image_list import can_list
from gluon_resnet.data.packing.list_origin import ListOptions
from gluon_resnet.data.packing.sources import Collection, Folder
from gluon_resnet.data.packing.tar_archive import TarArchive
from gluon_resnet.errors import DataError, UsageError
from gluon_resnet.terminal import say, tell

SHOWN_FAILURES = 20  # the most shown on the terminal


@dataclass(frozen=True)
class ListRequest:
    """What is asked for.

    Attributes:
        prefix, root: the arguments as typed.
        source: ``'auto'``, ``'folder'`` or ``'tar'``.
        options: the options of lists; see ListOptions.
        given: the names of those options that were given on the command line.
        skip: whether to leave out what cannot be listed, instead of failing.
    """

    prefix: str
    root: str
    source: str
    options: ListOptions
    given: frozenset[str] = frozenset()
    skip: bool = False


def open_collection(request: ListRequest) -> Collection:
    """The folder or archive; UsageError if it is not what --source says."""
    is_folder = os.path.isdir(request.root)
    if (request.source == "folder" and not is_folder) or (request.source == "tar" and is_folder):
        raise UsageError(f"--source {request.source}: {request.root} is {'a' if is_folder else 'no'} folder")
    return Folder(request.root) if is_folder else TarArchive(request.root)


def pictures(request: ListRequest, collection: Collection) -> tuple[list[str], int]:
    """The paths to list, and the number of files and folders left out, which are reported."""
    paths, left_out = collection.survey(request.options.exts)
    for line in left_out.lines():
        say(line)
    bad = [path for path in paths if not can_list(path)]
    for path in bad[:SHOWN_FAILURES]:
        tell(f"{path}: a list cannot hold this name; rename it")
    if bad and not request.skip:
        raise DataError(
            f"{request.root}: {len(bad):,} of {len(paths):,} names have tabs, line breaks, or blanks at their ends, so "
            "nothing was written; rename them, or give --on-error skip to leave them out",
            path=request.root,
        )
    if bad:
        say(f"left out: {len(bad):,} names that a list cannot hold")
        paths = [path for path in paths if can_list(path)]
    if not paths:
        raise DataError(
            f"{request.root}: has no pictures, that is, files ending with {' '.join(request.options.exts)} "
            "(see --exts, and --source cifar10 for CIFAR-10's own files)",
            path=request.root,
        )
    return paths, left_out.total + len(bad)


def content(count: int, classes: Optional[Iterable[str]], what: str = "pictures") -> str:
    """The number of pictures and of their classes, in words."""
    return f"{count:,} {what}" + (f" in {len(tuple(classes)):,} classes" if classes is not None else "")
