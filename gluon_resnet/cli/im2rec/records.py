"""tools/im2rec.py on existing record files: checks, indexes, joins, unpacks and salvages them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Optional

from gluon_resnet.cli.im2rec.bar import Bar
from gluon_resnet.cli.im2rec.request import SHOWN_FAILURES, content
from gluon_resnet.data.packing.checking import check, rebuild_index
from gluon_resnet.data.packing.joining import JoinedRecords
from gluon_resnet.data.packing.list_origin import ORIGIN_SUFFIX
from gluon_resnet.data.packing.pack import PackOptions, pack
from gluon_resnet.data.packing.salvage import Salvaged
from gluon_resnet.data.packing.unpacking import unpack_records
from gluon_resnet.errors import UsageError
from gluon_resnet.files import whole_file
from gluon_resnet.terminal import printable, say, tell

_AS_THEY_ARE = PackOptions(pass_through=True, verify=False, pack_label=True, threads=1)


def on_records(mode: str, prefix: str, inputs: Sequence[str], threads: Optional[int]) -> Optional[int]:
    """Do what `mode`, the name of an option, says; return the exit status, None for success."""
    path = _record_path(prefix)
    if mode == "check":
        return _check(path, threads)
    if mode == "rebuild_index":
        say(f"{os.path.splitext(path)[0]}.idx: {rebuild_index(path):,} records")
    elif mode == "join":
        _join([_record_path(name) for name in inputs], _new(prefix))
    elif mode == "salvage":
        _salvage(path, _new(inputs[0]))
    else:
        _unpack(path, inputs[0])
    return None


def _record_path(prefix: str) -> str:
    return prefix if prefix.endswith(".rec") else prefix + ".rec"


def _new(prefix: str) -> str:
    """The prefix of new files, whose folder is created; UsageError if one of them exists."""
    prefix = prefix.removesuffix(".rec")
    for suffix in (".rec", ".idx", ".lst", ORIGIN_SUFFIX, ".classes"):
        if os.path.lexists(prefix + suffix):
            raise UsageError(f"{prefix}{suffix}: this file already exists; choose another prefix")
    if not os.path.basename(prefix) or os.path.isdir(prefix):
        raise UsageError(f"{prefix}: expected the prefix of new files, found a folder")
    os.makedirs(os.path.dirname(prefix) or os.curdir, exist_ok=True)
    return prefix


def _check(path: str, threads: Optional[int]) -> Optional[int]:
    with Bar("records") as bar:
        report = check(path, threads=threads, progress=bar.update)
    for key, offset, reason in report.bad:
        tell(f"{path}: key {key} at offset {offset}: {reason}")
    verdict = f"{len(report.bad):,} of them bad" if report.bad else "all of them whole"
    rate = report.records / max(report.seconds, 1e-9)
    say(f"{path}: {report.records:,} records, {verdict}, {report.bytes / 1e6:,.1f} MB, {rate:,.0f} images/s")
    return 1 if report.bad else None


def _join(paths: Sequence[str], prefix: str) -> None:
    source = JoinedRecords(paths)
    with Bar("records", len(source)) as bar:
        report = pack(
            source, prefix, _AS_THEY_ARE, listing=source.entries, progress=lambda done, _: bar.update(done)
        )
    files = f"{len(paths)} files, keys from 0 to {report.records - 1}"
    say(f"{report.path}: {content(report.records, source.classes, 'records')} of {files}")
    if source.entries is None:
        say(f"{prefix}.lst: not written, since not every file has a list of all its records")


def _salvage(path: str, prefix: str) -> None:
    source = Salvaged(path)
    with Bar("records", len(source)) as bar:
        report = pack(source, prefix, _AS_THEY_ARE, progress=lambda done, _: bar.update(done))
    lost = [
        f"{path}: at offset {offset}: {size:,} bytes are lost: {why}" for offset, size, why in source.lost
    ]
    for line in lost[:SHOWN_FAILURES]:
        tell(line)
    if len(lost) > SHOWN_FAILURES:
        with whole_file(prefix + ".errors.txt") as stream:
            stream.writelines(f"{printable(line)}\n" for line in lost)
        tell(f"and {len(lost) - SHOWN_FAILURES:,} more; they are all in {prefix}.errors.txt")
    what = f"{sum(lost.size for lost in source.lost):,} bytes in {len(lost):,} places" if lost else "nothing"
    say(f"{report.path}: {report.records:,} whole records of {path}, {what} lost")


def _unpack(path: str, folder: str) -> None:
    unpacked = unpack_records(path, folder)
    others = f"; {unpacked.others:,} records that are not images are left out" if unpacked.others else ""
    say(f"{folder}: {unpacked.images:,} images in {unpacked.folders:,} folders of {path}{others}")
    if unpacked.renumbered:
        say(f"{folder}: packed again, its classes get other labels, in the order of their names")
