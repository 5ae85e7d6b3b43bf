"""Sources of pictures: the interface that packing needs, and folders of files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Optional, Protocol, Union

import numpy as np

from gluon_resnet.data.packing.folder_tree import FolderTree
from gluon_resnet.data.packing.image_list import Entry
from gluon_resnet.data.packing.left_out import Survey, survey
from gluon_resnet.errors import ImageError

STORED_EXTENSIONS = (".jpeg", ".jpg", ".jpe", ".jfif", ".png")  # of formats that records may hold
# The endings listed by default: these, and the formats that every supported OpenCV decodes.
EXTENSIONS = (*STORED_EXTENSIONS, ".bmp", ".dib", ".tif", ".tiff", ".webp")


class FilePart(NamedTuple):
    """Encoded bytes in a file, which packing reads in its own threads; a `size` of -1 means up to its end."""

    path: str
    offset: int = 0
    size: int = -1


class Picture(NamedTuple):
    """One picture to pack.

    Attributes:
        key: see Entry.
        labels: see Entry.
        name: the name of the picture in messages.
        content: encoded bytes, where to read them, uint8 pixels ``(H, W, 3)`` RGB, or the reason why there are none.
    """

    key: int
    labels: tuple[float, ...]
    name: str
    content: Union[FilePart, bytes, np.ndarray, ImageError]


class Source(Protocol):
    """Pictures in the order in which they are packed; each iteration starts over and reads as it goes.

    Attributes:
        classes: the class names in the order of the labels, or None.
    """

    @property
    def classes(self) -> Optional[tuple[str, ...]]: ...

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Picture]: ...


class Collection(Protocol):
    """Files to choose pictures from: a folder, or an archive.

    Attributes:
        ordered: whether its pictures can only be read in its own order.
    """

    ordered: bool

    def survey(self, extensions: Sequence[str] = EXTENSIONS) -> Survey:
        """The names of the files with one of the lower-case `extensions`, and the names that are left out."""

    def source(self, entries: Sequence[Entry], classes: Optional[tuple[str, ...]] = None) -> ListedSource:
        """The pictures of a list."""


class ListedSource(Source, Protocol):
    """The pictures of a list.

    Attributes:
        entries: the list, in the order of the pictures.
    """

    @property
    def entries(self) -> Sequence[Entry]: ...


class Folder:
    """The files below the folder `root`."""

    ordered = False

    def __init__(self, root: str) -> None:
        self.root = root

    def survey(self, extensions: Sequence[str] = EXTENSIONS) -> Survey:
        """See Collection. OSError if a folder cannot be read."""
        tree = FolderTree(self.root)
        return survey(
            tree.files,
            tree.folders,
            extensions,
            hidden=tree.hidden,
            links=tree.links,
            unreadable=tree.unreadable,
        )

    def source(self, entries: Sequence[Entry], classes: Optional[tuple[str, ...]] = None) -> FolderSource:
        """See Collection."""
        return FolderSource(self.root, entries, classes)


class FolderSource:
    """The pictures of a list, below the folder `root`; see ListedSource."""

    def __init__(
        self, root: str, entries: Sequence[Entry], classes: Optional[tuple[str, ...]] = None
    ) -> None:
        self.root = root
        self.entries = entries
        self.classes = classes

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Picture]:
        for key, labels, path in self.entries:
            full = os.path.join(self.root, path)
            yield Picture(key, labels, full, FilePart(full))
