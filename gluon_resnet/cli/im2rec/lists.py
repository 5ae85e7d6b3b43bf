"""tools/im2rec.py: the lists that a command line refers to, existing or new, and what is packed from them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from typing import Any, NamedTuple, Optional

from gluon_resnet.cli.im2rec.request import ListRequest, content, open_collection, pictures
from gluon_resnet.data.packing.image_list import (
    Entry,
    can_list,
    class_names,
    format_list,
    list_by_folder,
    list_flat,
    read_list,
    split,
    write_text,
)
from gluon_resnet.data.packing.list_files import ListFile, ListsAtPrefix, lists_at, lists_in
from gluon_resnet.data.packing.list_origin import (
    ORIGIN_SUFFIX,
    ListOptions,
    ListOrigin,
    names_digest,
    text_digest,
)
from gluon_resnet.data.packing.sources import EXTENSIONS, Collection, Source
from gluon_resnet.errors import DataError, UsageError
from gluon_resnet.files import regular_only, sha256
from gluon_resnet.terminal import printable, say

_SHAPE = {"chunks", "train_ratio", "test_ratio"}  # the options that determine the lists


class Job(NamedTuple):
    """One record file to write; with `listing` and its `origin` if its .lst is also to be written."""

    prefix: str
    source: Source
    listing: Optional[Sequence[Entry]] = None
    origin: Optional[ListOrigin] = None


class Jobs(NamedTuple):
    """The record files to write, and how many names were left out, all of them reported."""

    jobs: list[Job]
    left_out: int = 0


def packing_jobs(request: ListRequest) -> Jobs:
    """What to pack: the user's own lists if there are any, otherwise new ones.

    DataError or UsageError if the existing lists are not those asked for, and replacing them would lose something.
    """
    collection = open_collection(request)
    if collection.ordered:
        say(
            f"{request.root} is compressed: its pictures are packed in the archive's order, not the list's. "
            "Loader shuffles them; for a reader that does not, decompress it first."
        )
    inside = lists_in(request.prefix) if os.path.isdir(request.prefix) else []
    if inside:
        return Jobs(list(_kept_jobs(request, collection, inside)))
    if not os.path.basename(request.prefix):
        raise UsageError(f"expected a prefix, as in {request.prefix}train, found the folder {request.prefix}")
    there = lists_at(request.prefix)
    for file in there.others:
        if file.origin is None:
            command = f"im2rec.py {file.prefix} {request.root}"
            say(
                f"{file.path}: left alone, since it is not a list of {request.prefix}; to pack it, type {command}"
            )
    if len(there.kept) > 1:
        names = "; or ".join(_paths(lists) for lists in there.kept)
        raise DataError(
            f"{request.prefix}: which lists are meant? {names}: move the others away, or name one without its .lst"
        )
    if there.kept:
        return Jobs(list(_kept_jobs(request, collection, there.kept[0])))
    return _new_jobs(request, collection, there)


def write_lists(request: ListRequest) -> None:
    """Write new lists; DataError if one would replace a list that this program may not replace."""
    collection = open_collection(request)
    paths, _ = pictures(request, collection)
    entries = list_by_folder(paths) if request.options.recursive else list_flat(paths)
    left_out = len(paths) - len(entries)
    if not entries:  # MXNet would write an empty list
        entries = list_by_folder(paths)
    elif left_out:
        say(
            f"{left_out:,} pictures in folders below {request.root} are left out; give --recursive to list them as well"
        )
    lists = [(part, format_list(part.entries)) for part in _split(request, entries)]
    there = lists_at(request.prefix)
    for part, text in lists:
        _require_ours(part.prefix, there, text)
    origin = _origin(request, paths, listed=True)
    for part, text in lists:
        write_text(part.prefix + ".lst", text)
        write_text(part.prefix + ORIGIN_SUFFIX, origin.text(text))
        if part.classes is not None:
            write_text(part.prefix + ".classes", "".join(f"{name}\n" for name in part.classes))
        say(f"{part.prefix}.lst: {content(len(part.entries), part.classes)}")


def _kept_jobs(request: ListRequest, collection: Collection, lists: Sequence[ListFile]) -> Iterator[Job]:
    own = next((file for file in lists if file.origin is not None), None)
    missing = 0
    if own is not None and own.origin is not None and not os.path.isdir(request.prefix):
        changed = any(file.changed for file in lists)
        missing = _compare_with_origin(request, collection, lists, own.origin, changed)
    elif request.given & _SHAPE:
        wanted = {request.prefix + name + ".lst" for name, _ in split([], **_shape(request.options))}
        if wanted != {file.path for file in lists}:
            raise UsageError(
                f"{_paths(lists)}: there is a list, and {_typed(request, _SHAPE)} would make "
                f"{' and '.join(sorted(wanted))}; move the list away, or omit the option"
            )
    for file in lists:
        entries = read_list(file.path)
        if file.origin is None:
            how = ", not made by this program: packed as it is"
        else:
            how = ", made by --list" if file.origin.listed else f", of the split of {file.origin.prefix}"
            how = ", changed since it was made: packed as it is" if file.changed else how
        say(f"{file.path}: an existing list of {len(entries):,} pictures{how}")
        if file.origin is None and request.given:
            say(f"{file.path}: {_typed(request, request.given)} would apply only to a new list")
        yield Job(file.prefix, collection.source(entries, _classes_of(file.prefix, entries)))
    if missing:
        say(f"{missing:,} pictures of {request.root} are in none of these lists")


def _compare_with_origin(
    request: ListRequest,
    collection: Collection,
    lists: Sequence[ListFile],
    origin: ListOrigin,
    changed: bool,
) -> int:
    """The number of pictures in none of a user's lists; an error if lists of ours are not those asked for."""
    command = f"im2rec.py {request.prefix} {request.root} --list"
    differing = {n for n in request.given if getattr(request.options, n) != getattr(origin.options, n)}
    if differing:
        made = ", ".join(origin.options.as_typed(name) for name in sorted(differing))
        raise UsageError(
            f"{_paths(lists)}: made with {made}, but {_typed(request, differing)} is asked for; omit that, or "
            f"remake the lists with {command} and the options that you want"
        )
    paths = [path for path in collection.survey(origin.options.exts).paths if can_list(path)]
    if names_digest(paths) == origin.names:
        return 0
    if changed:
        listed = {entry.path for file in lists for entry in read_list(file.path)}
        return len(set(paths) - listed)
    found = f"{len(paths):,} pictures" if len(paths) != origin.pictures else "pictures with other names"
    whose, remedy = "", f"remake it with {' '.join((command, *_options(origin.options)))}"
    if origin.prefix != os.path.basename(request.prefix):
        whose, remedy = f" for the prefix {origin.prefix}", "choose another prefix"
    raise DataError(
        f"{_paths(lists)}: made{whose} from {origin.pictures:,} pictures of {origin.root}, but {request.root} has "
        f"{found}; {remedy}, or remove {lists[0].prefix}{ORIGIN_SUFFIX} to pack it as it is",
        path=lists[0].path,
    )


def _new_jobs(request: ListRequest, collection: Collection, there: ListsAtPrefix) -> Jobs:
    paths, left_out = pictures(request, collection)
    flat = list_flat(paths)
    if flat and len(flat) < len(paths) and not request.options.recursive:
        raise DataError(
            f"{request.root}: has {len(flat):,} pictures beside its class folders, such as {printable(flat[0].path)}; "
            "move them away, or give --recursive to make them a class",
            path=request.root,
        )
    parts = list(_split(request, list_by_folder(paths)))
    for part in parts:
        if not part.entries:
            raise DataError(f"{part.prefix}.lst: none of the {len(paths):,} pictures is left for this list")
    origin = _origin(request, paths, listed=False)
    jobs = []
    for part in parts:
        source = collection.source(part.entries, part.classes)
        text = format_list(source.entries)
        old = _require_ours(part.prefix, there, text)
        what = content(len(part.entries), part.classes)
        names = part.prefix + ".classes"
        if part.classes is None and os.path.exists(names):
            raise DataError(
                f"{names}: the file has class names, but these pictures have none; move it away",
                path=names,
            )
        if old is None:
            say(f"{part.prefix}.lst: a new list of {what}")
        elif old.origin is not None and old.origin.content == text_digest(text):
            say(f"{part.prefix}.lst: an existing list of {what}")
        else:
            changes = "; ".join(old.origin.differences(origin)) if old.origin is not None else ""
            say(f"{part.prefix}.lst: remade, a list of {what} ({changes or 'in another order'})")
        jobs.append(Job(part.prefix, source, source.entries, origin))
    return Jobs(jobs, left_out)


class _Part(NamedTuple):
    """A list to make; `classes` are the class names of all lists together."""

    prefix: str
    entries: Sequence[Entry]
    classes: Optional[tuple[str, ...]]


def _split(request: ListRequest, entries: Sequence[Entry]) -> Iterator[_Part]:
    classes = class_names(entries)
    for name, part in split(entries, shuffle=request.options.shuffle, **_shape(request.options)):
        yield _Part(request.prefix + name, part, classes)


def _shape(options: ListOptions) -> dict[str, Any]:
    return {name: getattr(options, name) for name in _SHAPE}


def _origin(request: ListRequest, paths: Sequence[str], listed: bool) -> ListOrigin:
    return ListOrigin(
        prefix=os.path.basename(request.prefix),
        listed=listed,
        root=os.path.abspath(request.root),
        options=request.options,
        pictures=len(paths),
        names=names_digest(paths),
    )


def _require_ours(prefix: str, there: ListsAtPrefix, text: str) -> Optional[ListFile]:
    """The list at PREFIX.lst, if any; DataError if replacing it by `text` would lose something."""
    path = prefix + ".lst"
    other = next((file for file in there.others if file.path == path), None)
    if other is not None:
        whose = (
            "that belongs to no whole split"
            if other.origin is None
            else f"of the prefix {other.origin.prefix}"
        )
        raise DataError(f"{path}: there is a list {whose}; choose another prefix, or move it away", path=path)
    file = next((file for lists in there.sets for file in lists if file.path == path), None)
    users = file is not None and (file.origin is None or file.changed or file.of_split)
    if file is not None and users and sha256(path) != text_digest(text):
        what = "changed since it was made" if file.changed else "made for another prefix"
        what = "not made by this program" if file.origin is None else what
        raise DataError(f"{path}: the list there was {what}, and would be lost; move it away", path=path)
    return file


def _classes_of(prefix: str, entries: Sequence[Entry]) -> Optional[tuple[str, ...]]:
    """The class names of a list; None if its folders do not tell."""
    names = class_names(entries)
    path = prefix + ".classes"
    if names is not None and os.path.exists(path):
        with open(
            path, encoding="utf-8-sig", errors="surrogateescape", newline="\n", opener=regular_only
        ) as stream:
            known = tuple(line.rstrip("\r\n") for line in stream)
        # One part of the pictures may lack the last classes.
        if known[: len(names)] == names:
            return known
    return names


def _paths(lists: Iterable[ListFile]) -> str:
    return " and ".join(file.path for file in lists)


def _typed(request: ListRequest, names: Iterable[str]) -> str:
    return ", ".join(request.options.as_typed(name) for name in sorted(set(names) & request.given))


def _options(options: ListOptions) -> Iterator[str]:
    """The options to type for them."""
    usual = ListOptions(EXTENSIONS)
    for field in fields(ListOptions):
        if getattr(options, field.name) != getattr(usual, field.name):
            yield options.as_typed(field.name)
