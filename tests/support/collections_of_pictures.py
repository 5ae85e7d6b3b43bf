"""Sources of pictures that the tests of packing make for themselves: in memory, folders and archives."""

from __future__ import annotations

import io
import pathlib
import tarfile
from collections.abc import Iterator
from typing import Optional

import numpy as np

from gluon_resnet.cli.im2rec import main
from gluon_resnet.data import RecordFile, decode
from gluon_resnet.data.packing.pack import PackOptions, pack
from gluon_resnet.data.packing.sources import FilePart, ListedSource, Picture
from tests.support.pictures import encode, picture

NAMES = [
    "a.jpg",
    "b.PNG",
    "cat/1.jpg",
    "cat/2.JPEG",
    "cat-big/1.jpg",
    "cat/young/1.jpg",
    "dog/1.png",
    "dog/x.txt",
]


class Pictures:
    """A source of pictures in memory; a content alone stands for a picture with its position as label."""

    def __init__(self, *items: object, classes: Optional[tuple[str, ...]] = None) -> None:
        self.classes = classes
        self.items = [
            item if isinstance(item, Picture) else Picture(i, (float(i),), f"picture {i}", item)
            for i, item in enumerate(items)
        ]

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Picture]:
        return iter(self.items)


def packed(folder: pathlib.Path, *items: object, **options: object) -> list[np.ndarray]:
    """The images in the records of `items`, as they were packed."""
    pack(Pictures(*items), str(folder / "p"), PackOptions(**options))
    return [decode(record.payload, "source") for record in RecordFile(folder / "p.rec")]


def jpegs(count: int) -> list[bytes]:
    return [encode(picture(20 + i % 7, 30 + i % 5, i)) for i in range(count)]


def write_tree(root: pathlib.Path, names: list[str] = NAMES) -> pathlib.Path:
    """A folder of files, each with its name as content."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return root


def write_tar(path: pathlib.Path, files: dict[str, bytes], mode: str = "w", **options: object) -> str:
    with tarfile.open(path, mode, **options) as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return str(path)


def contents(source: ListedSource) -> dict[str, object]:
    """What packing would read, by the path in the list."""
    read = {}
    for entry, (key, labels, _, content) in zip(source.entries, source):
        assert (key, labels) == entry[:2]
        if isinstance(content, FilePart):
            with open(content.path, "rb") as file:
                file.seek(content.offset)
                content = file.read(content.size)
        read[entry.path] = content
    return read


def write_pets(root: pathlib.Path) -> pathlib.Path:
    """A folder of 12 pictures in the classes cat, dog and owl; some are PNG."""
    for i in range(12):
        path = root / ("cat", "dog", "owl")[i % 3] / f"{i}.{'png' if i % 5 == 0 else 'jpg'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(picture(30 + i, 40 - i, i), path.suffix))
    return root


def im2rec(*arguments: object) -> None:
    """Runs the command line, and expects success."""
    assert not main([str(argument) for argument in arguments])


def files(prefix: pathlib.Path) -> dict[str, bytes]:
    """What stands at a prefix, by suffix."""
    return {path.suffix: path.read_bytes() for path in prefix.parent.glob(prefix.name + ".*")}
