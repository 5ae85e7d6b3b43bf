"""tools/im2rec.py: pack pictures into RecordIO files, as MXNet's program of that name does; check them."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Optional

from gluon_resnet.cli.im2rec_options import pack_options, parse
from gluon_resnet.data.checking import check, rebuild_index
from gluon_resnet.data.cifar10 import cifar10_sources
from gluon_resnet.data.image_list import (
    Entry,
    class_names,
    format_list,
    list_by_folder,
    list_flat,
    read_list,
    split,
    write_text,
)
from gluon_resnet.data.packing import BadImagesError, Failure, PackOptions, pack
from gluon_resnet.data.sources import Collection, Folder, Source
from gluon_resnet.data.tar_archive import TarArchive
from gluon_resnet.errors import DataError, UsageError

_SHOWN_FAILURES = 20  # on the terminal; the file has all


class _Job(NamedTuple):
    """One record file to write; with `listing` where its .lst is new."""

    prefix: str
    source: Source
    listing: Optional[Sequence[Entry]] = None


def main(argv: Optional[Sequence[str]] = None) -> Optional[int]:
    """Do what `argv` says (default: the command line); the exit status, None for success."""
    args = parse(argv)
    if args.check:
        return _check(_record_path(args.prefix), args.num_thread)
    if args.rebuild_index:
        path = _record_path(args.prefix)
        print(f"{os.path.splitext(path)[0]}.idx: {rebuild_index(path):,} records")
        return None
    options = pack_options(args)
    folder = os.path.dirname(args.prefix) or os.curdir
    for path in (args.root, folder):  # an archive may take long to read: say this before
        if not os.path.exists(path):
            raise DataError(f"{path}: no such file or folder", path=path)
    if args.list:
        _write_lists(args)
        return None
    jobs = _cifar10_jobs(args) if args.source == "cifar10" else _listed_jobs(args)
    whole = [_pack(job, options) for job in jobs]
    return None if all(whole) else 1


def _record_path(prefix: str) -> str:
    return prefix if prefix.endswith(".rec") else prefix + ".rec"


def _check(path: str, threads: Optional[int]) -> Optional[int]:
    with _Bar("records") as bar:
        report = check(path, threads=threads, progress=bar.update)
    for key, offset, reason in report.bad:
        print(f"{path}: key {key} at offset {offset}: {reason}", file=sys.stderr)
    verdict = f"{len(report.bad):,} of them bad" if report.bad else "all of them whole"
    rate = report.records / max(report.seconds, 1e-9)
    print(
        f"{path}: {report.records:,} records, {verdict}, {report.bytes / 1e6:,.1f} MB, {rate:,.0f} images/s"
    )
    return 1 if report.bad else None


def _write_lists(args: argparse.Namespace) -> None:
    collection = _collection(args)
    paths = _paths(collection, args)
    entries = list_by_folder(paths) if args.recursive else list_flat(paths)
    left_out = len(paths) - len(entries)
    if not entries:  # MXNet would write an empty list
        entries = list_by_folder(paths)
    elif left_out:
        print(f"{left_out:,} pictures in folders below {args.root} are left out; --recursive lists them, too")
    for prefix, part, classes in _split(entries, args):
        write_text(prefix + ".lst", format_list(part))
        if classes is not None:
            write_text(prefix + ".classes", "".join(f"{name}\n" for name in classes))
        print(f"{prefix}.lst: {_content(len(part), classes)}")


def _cifar10_jobs(args: argparse.Namespace) -> Iterator[_Job]:
    for part, source in cifar10_sources(args.root).items():
        yield _Job(f"{args.prefix}_{part}", source)


def _listed_jobs(args: argparse.Namespace) -> Iterator[_Job]:
    collection = _collection(args)
    lists = _existing_lists(args.prefix)
    if collection.ordered:
        print(
            f"{args.root} is compressed: its pictures are packed in its own order, not in that of the list. "
            "Loader shuffles them; for a reader that does not, decompress it first."
        )
    for path in lists:
        entries = read_list(path)
        prefix = path[: -len(".lst")]
        print(f"{path}: an existing list of {len(entries):,} pictures")
        yield _Job(prefix, collection.source(entries, _classes_of(prefix, entries)))
    if lists:
        return
    if not os.path.basename(args.prefix):
        raise UsageError(f"expected a prefix, as in {args.prefix}train, found the folder {args.prefix}")
    paths = _paths(collection, args)
    flat = list_flat(paths)
    if flat and len(flat) < len(paths) and not args.recursive:
        raise DataError(
            f"{args.root}: has {len(flat):,} pictures beside its class folders, such as {flat[0].path}; "
            "move them away, or say --recursive to make them a class",
            path=args.root,
        )
    parts = list(_split(list_by_folder(paths), args))
    for prefix, part, _ in parts:
        if not part:
            raise DataError(f"{prefix}.lst: none of the {len(paths):,} pictures is left for this list")
    for prefix, part, classes in parts:
        print(f"{prefix}.lst: a new list of {_content(len(part), classes)}")
        source = collection.source(part, classes)
        yield _Job(prefix, source, listing=source.entries)


def _collection(args: argparse.Namespace) -> Collection:
    is_folder = os.path.isdir(args.root)
    if (args.source == "folder" and not is_folder) or (args.source == "tar" and is_folder):
        raise UsageError(f"--source {args.source}: {args.root} is {'a' if is_folder else 'no'} folder")
    return Folder(args.root) if is_folder else TarArchive(args.root)


def _paths(collection: Collection, args: argparse.Namespace) -> list[str]:
    paths = collection.paths(args.exts)
    if not paths:
        raise DataError(
            f"{args.root}: has no pictures, that is files ending with {' '.join(args.exts)} "
            "(see --exts, and --source cifar10 for CIFAR-10's own files)",
            path=args.root,
        )
    return paths


def _split(
    entries: Sequence[Entry], args: argparse.Namespace
) -> Iterator[tuple[str, list[Entry], Optional[tuple[str, ...]]]]:
    """Prefix, entries and the names of all classes, for each list to make."""
    classes = class_names(entries)
    for name, part in split(
        entries,
        shuffle=args.shuffle,
        chunks=args.chunks,
        train_ratio=args.train_ratio,
        test_ratio=args.test_ratio,
    ):
        yield args.prefix + name, part, classes


def _existing_lists(prefix: str) -> list[str]:
    """The lists that MXNet's im2rec.py would pack: all whose path starts with `prefix`."""
    if os.path.isdir(prefix):
        inside = _lists_in(prefix, "")
        if inside:
            return inside
    return _lists_in(*os.path.split(prefix))


def _lists_in(folder: str, start: str) -> list[str]:
    names = sorted(os.listdir(folder or os.curdir))
    lists = [os.path.join(folder, name) for name in names if name.startswith(start) and name.endswith(".lst")]
    return [path for path in lists if os.path.isfile(path)]


def _classes_of(prefix: str, entries: Sequence[Entry]) -> Optional[tuple[str, ...]]:
    """Names of the classes of a list; None where its folders do not tell."""
    names = class_names(entries)
    path = prefix + ".classes"
    if names is not None and os.path.exists(path):
        with open(path, encoding="utf-8", errors="surrogateescape") as stream:
            known = tuple(stream.read().splitlines())
        # A part of a whole may lack the last classes.
        if known[: len(names)] == names:
            return known
    return names


def _pack(job: _Job, options: PackOptions) -> bool:
    """Whether the record file has been written."""
    try:
        with _Bar("images", len(job.source)) as bar:
            report = pack(
                job.source,
                job.prefix,
                options,
                listing=job.listing,
                progress=lambda done, _: bar.update(done),
            )
    except BadImagesError as error:
        _show_failures(error.failures, error.errors_path)
        bad = f"{len(error.failures):,} of {len(job.source):,} pictures are bad"
        hint = "; --on-error skip leaves them out" if len(error.failures) < len(job.source) else ""
        print(f"im2rec.py: error: {job.prefix}.rec: {bad}, so nothing was written{hint}", file=sys.stderr)
        return False
    if report.errors_path is not None:
        _show_failures(report.failures, report.errors_path)
    rate = len(job.source) / max(report.seconds, 1e-9)
    content = _content(report.records, job.source.classes, "records")
    skipped = f"{len(report.failures):,} skipped"
    print(f"{report.path}: {content}, {report.bytes / 1e6:,.1f} MB, {rate:,.0f} images/s, {skipped}")
    return True


def _show_failures(failures: Sequence[Failure], path: str) -> None:
    for name, reason in failures[:_SHOWN_FAILURES]:
        print(f"{name}: {reason}", file=sys.stderr)
    more = len(failures) - _SHOWN_FAILURES
    print(f"{f'and {more:,} more; ' if more > 0 else ''}all of them in {path}", file=sys.stderr)


def _content(count: int, classes: Optional[Iterable[str]], what: str = "pictures") -> str:
    return f"{count:,} {what}" + (f" in {len(tuple(classes)):,} classes" if classes is not None else "")


class _Bar:
    """A bar with rate and time left on the terminal; nothing where there is none."""

    def __init__(self, unit: str, total: Optional[int] = None) -> None:
        self._bar = None
        if sys.stderr.isatty():
            from tqdm import tqdm  # its import takes as long as packing fifty pictures

            self._bar = tqdm(total=total, unit=f" {unit}", leave=False, dynamic_ncols=True)

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def update(self, done: int, total: Optional[int] = None) -> None:
        if self._bar is not None:
            self._bar.total = total or self._bar.total
            self._bar.update(done - self._bar.n)
