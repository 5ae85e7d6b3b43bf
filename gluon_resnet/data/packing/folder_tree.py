"""A walk through a folder of pictures that visits every real folder once, whatever links lead to it."""

from __future__ import annotations

import os

from gluon_resnet.data.packing.image_list import folder_order
from gluon_resnet.data.packing.left_out import is_hidden

_Identity = tuple[int, int]  # device and inode


class FolderTree:
    """Everything below the folder `root`; paths are relative to it, with ``/``.

    A folder itself takes precedence over links to it, and among several links to one folder the first in
    folder_order() does. Links to a folder that contains `root` are not followed. The walk therefore ends, and its
    result depends on names alone.

    Attributes:
        files: regular files, and links to regular files.
        folders: the folders visited, without `root`.
        hidden: hidden or system files and folders, which are not looked into.
        links: links to folders that are visited another way, or that contain `root`.
        unreadable: broken links, and names that are neither files nor folders.

    Raises:
        OSError: a folder cannot be read.
    """

    def __init__(self, root: str) -> None:
        self.files: list[str] = []
        self.folders: list[str] = []
        self.hidden: list[str] = []
        self.links: list[str] = []
        self.unreadable: list[str] = []
        self._root = root
        self._to_follow: list[str] = []
        self._visited = {_identity(os.stat(root))}
        self._walk("")
        above = _folders_above(root)
        while self._to_follow:
            links, self._to_follow = sorted(self._to_follow, key=folder_order), []
            for link in links:
                identity = _identity(os.stat(os.path.join(root, link)))
                if identity in above or not self._enter(link, identity):
                    self.links.append(link)
                else:
                    self._walk(link)

    def _enter(self, path: str, identity: _Identity) -> bool:
        """Whether this is the first visit of the folder."""
        if identity in self._visited:
            return False
        self._visited.add(identity)
        self.folders.append(path)
        return True

    def _walk(self, start: str) -> None:
        stack = [start]
        while stack:
            folder = stack.pop()
            below = []
            with os.scandir(os.path.join(self._root, folder)) as entries:
                for entry in entries:
                    path = f"{folder}/{entry.name}" if folder else entry.name
                    if is_hidden(entry.name):
                        self.hidden.append(path)
                    elif entry.is_symlink():
                        self._note_link(entry, path)
                    elif entry.is_dir(follow_symlinks=False):
                        # Below a link there may be folders that have been visited.
                        if self._enter(path, _identity(entry.stat(follow_symlinks=False))):
                            below.append(path)
                        else:
                            self.links.append(path)
                    elif entry.is_file(follow_symlinks=False):
                        self.files.append(path)
                    else:
                        self.unreadable.append(path)
            stack.extend(sorted(below, reverse=True))

    def _note_link(self, entry: os.DirEntry[str], path: str) -> None:
        try:
            to_folder, to_file = entry.is_dir(), entry.is_file()
        except OSError:  # a link to itself
            to_folder = to_file = False
        (self._to_follow if to_folder else self.files if to_file else self.unreadable).append(path)


def _identity(status: os.stat_result) -> _Identity:
    return status.st_dev, status.st_ino


def _folders_above(root: str) -> set[_Identity]:
    path, above = os.path.realpath(root), set()
    while (parent := os.path.dirname(path)) != path:
        path = parent
        above.add(_identity(os.stat(path)))
    return above
