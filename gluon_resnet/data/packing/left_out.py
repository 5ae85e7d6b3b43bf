"""Files that are not taken as pictures: they are counted and named, so that nothing is silently left out."""

from __future__ import annotations

import os
import posixpath
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gluon_resnet.data.packing.image_list import folder_order
from gluon_resnet.terminal import printable

# Names used by desktops, NAS boxes and file systems, in lower case. Names that start with a dot are hidden anyway.
_SYSTEM = frozenset(
    (
        *("@eadir", "#recycle", "#snapshot", "__macosx", "lost+found"),
        *("$recycle.bin", "system volume information", "thumbs.db", "desktop.ini"),
    )
)
_SHOWN = 8


@dataclass(frozen=True)
class LeftOut:
    """Names below the root that are not taken; paths have ``/``.

    Attributes:
        endings: the number of files with each other ending, in lower case; ``''`` for no ending.
        hidden: hidden or system files and folders; the contents of such folders are not counted.
        links: links to folders that are reached another way, or that contain the root.
        unreadable: broken links, and names that are neither files nor folders.
        without: leaf folders with no picture that is taken, which are therefore not classes.
    """

    endings: Mapping[str, int]
    hidden: Sequence[str] = ()
    links: Sequence[str] = ()
    unreadable: Sequence[str] = ()
    without: Sequence[str] = ()

    @property
    def files(self) -> int:
        """The number of files with other endings."""
        return sum(self.endings.values())

    @property
    def total(self) -> int:
        """The number of all names that are left out; folders without pictures are not counted."""
        return self.files + len(self.hidden) + len(self.links) + len(self.unreadable)

    def lines(self) -> Iterator[str]:
        """One line for each kind of name that is left out."""
        if self.endings:
            counted = sorted(self.endings.items(), key=lambda item: (-item[1], item[0]))
            shown = [
                f"{count:,} {printable(ending) or 'without an ending'}" for ending, count in counted[:_SHOWN]
            ]
            rest = sum(count for _, count in counted[_SHOWN:])
            shown += [f"{rest:,} others"] if rest else []
            what = _number(self.files, "file")
            yield f"left out: {what} with other endings ({', '.join(shown)}); choose the endings with --exts"
        if self.hidden:
            yield f"left out: {_number(len(self.hidden), 'hidden or system name')} ({_names(self.hidden)})"
        if self.links:
            what = _number(len(self.links), "link")
            yield f"left out: {what} to folders that are reached another way or contain the root ({_names(self.links)})"
        if self.unreadable:
            what = _number(
                len(self.unreadable), "broken link or special file", "broken links or special files"
            )
            yield f"left out: {what} ({_names(self.unreadable)})"
        if self.without:
            what = _number(len(self.without), "folder")
            yield f"left out: {what} without a picture that is taken, and thus not classes ({_names(self.without)})"


class Survey(NamedTuple):
    """The pictures of a folder or an archive, in folder_order(), and the names that are left out."""

    paths: list[str]
    left_out: LeftOut


def survey(
    files: Iterable[str],
    folders: Iterable[str],
    extensions: Sequence[str],
    *,
    hidden: Sequence[str] = (),
    links: Sequence[str] = (),
    unreadable: Sequence[str] = (),
) -> Survey:
    """Select the `files` with one of the `extensions`, and find the `folders` that hold none of them."""
    paths: list[str] = []
    endings: Counter[str] = Counter()
    for path in files:
        ending = os.path.splitext(path)[1].lower()
        if ending in extensions:
            paths.append(path)
        else:
            endings[ending] += 1
    paths.sort(key=folder_order)
    taken = {posixpath.dirname(path) for path in paths}
    tree = sorted(taken.union(folders) - {"", "/"}, key=lambda folder: folder.split("/"))
    ends = (f for f, following in zip(tree, [*tree[1:], ""]) if not following.startswith(f + "/"))
    without = [folder for folder in ends if folder not in taken]
    return Survey(paths, LeftOut(endings, sorted(hidden), sorted(links), sorted(unreadable), without))


def is_hidden(name: str) -> bool:
    """Whether `name`, the last part of a path, is that of a hidden or system file or folder."""
    return (name.startswith(".") and name not in (".", "..")) or name.lower() in _SYSTEM


def _number(count: int, noun: str, plural: str = "") -> str:
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def _names(paths: Sequence[str]) -> str:
    more = len(paths) - _SHOWN
    return ", ".join([*map(printable, paths[:_SHOWN]), *([f"and {more:,} more"] if more > 0 else [])])
