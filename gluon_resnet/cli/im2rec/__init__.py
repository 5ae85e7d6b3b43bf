"""tools/im2rec.py: packs pictures into RecordIO files, like MXNet's program of that name, and works on such files."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Optional

from gluon_resnet.cli.im2rec.bar import Bar
from gluon_resnet.cli.im2rec.lists import Job, Jobs, packing_jobs, write_lists
from gluon_resnet.cli.im2rec.options import PIXELS, list_request, pack_options, parse
from gluon_resnet.cli.im2rec.records import on_records
from gluon_resnet.cli.im2rec.request import SHOWN_FAILURES, content
from gluon_resnet.data.packing.cifar10 import cifar10_sources
from gluon_resnet.data.packing.idx import idx_sources
from gluon_resnet.data.packing.output import only_run
from gluon_resnet.data.packing.pack import BadImagesError, Failure, PackOptions, pack
from gluon_resnet.data.packing.sources import Source
from gluon_resnet.errors import DataError
from gluon_resnet.terminal import say, tell


def main(argv: Optional[Sequence[str]] = None) -> Optional[int]:
    """Do what `argv` says (default: the command line); return the exit status, None for success."""
    args = parse(argv)
    if args.mode in ("check", "rebuild_index", "join", "unpack", "salvage"):
        return on_records(args.mode, args.prefix, args.inputs, args.num_thread)
    options = pack_options(args)
    if not os.path.exists(args.root):  # reading an archive may take long, so this is checked first
        raise DataError(f"{args.root}: no such file or folder", path=args.root)
    os.makedirs(os.path.dirname(args.prefix) or os.curdir, exist_ok=True)
    with only_run(args.prefix):
        if args.mode == "list":
            write_lists(list_request(args))
            return None
        jobs, left_out = (
            Jobs(list(_pixel_jobs(args))) if args.source in PIXELS else packing_jobs(list_request(args))
        )
        whole = [_pack(job, options) for job in jobs]
    if left_out:
        say(f"{args.root}: {left_out:,} left out, as listed above")
    return None if all(whole) else 1


def _pixel_jobs(args: argparse.Namespace) -> Iterator[Job]:
    sources: Mapping[str, Source] = (cifar10_sources if args.source == "cifar10" else idx_sources)(args.root)
    for part, source in sources.items():
        prefix = f"{args.prefix}_{part}"
        if os.path.exists(prefix + ".lst"):  # it would be overwritten
            raise DataError(
                f"{prefix}.lst: there is a list of other pictures; choose another prefix",
                path=prefix + ".lst",
            )
        yield Job(prefix, source)


def _pack(job: Job, options: PackOptions) -> bool:
    """Write the record file; return whether it was written."""
    try:
        with Bar("images", len(job.source)) as bar:
            report = pack(
                job.source,
                job.prefix,
                options,
                listing=job.listing,
                origin=job.origin,
                progress=lambda done, _: bar.update(done),
            )
    except BadImagesError as error:
        _show_failures(error.failures, error.errors_path)
        bad = f"{len(error.failures):,} of {len(job.source):,} pictures are bad"
        hint = "; give --on-error skip to leave them out" if len(error.failures) < len(job.source) else ""
        tell(f"im2rec.py: error: {job.prefix}.rec: {bad}, so nothing was written{hint}")
        return False
    if report.errors_path is not None:
        _show_failures(report.failures, report.errors_path)
    rate = len(job.source) / max(report.seconds, 1e-9)
    what = content(report.records, job.source.classes, "records")
    skipped = f"{len(report.failures):,} skipped"
    say(f"{report.path}: {what}, {report.bytes / 1e6:,.1f} MB, {rate:,.0f} images/s, {skipped}")
    return True


def _show_failures(failures: Sequence[Failure], path: str) -> None:
    for name, reason in failures[:SHOWN_FAILURES]:
        tell(f"{name}: {reason}")
    more = len(failures) - SHOWN_FAILURES
    tell(f"{f'and {more:,} more; ' if more > 0 else ''}they are all in {path}")
