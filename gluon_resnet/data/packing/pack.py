"""Packing: from pictures to a record file."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Callable, NamedTuple, Optional

from gluon_resnet.data import _native
from gluon_resnet.data.packing.conversion import decode_with_opencv
from gluon_resnet.data.packing.image_list import Entry, format_list, write_text
from gluon_resnet.data.packing.list_origin import ORIGIN_SUFFIX, ListOrigin
from gluon_resnet.data.packing.output import PackOutput
from gluon_resnet.data.packing.sources import Source
from gluon_resnet.errors import DataError, ImageError, UsageError
from gluon_resnet.terminal import printable

# Called from time to time with the number of pictures done and the number of bytes written so far.
Progress = Callable[[int, int], None]

_REPORT_EVERY = 0.1  # seconds


@dataclass(frozen=True)
class PackOptions:
    """How pictures become records; the order of the steps is MXNet's: decode, crop, resize, encode.

    Attributes:
        pass_through: whether to store the encoded bytes as they are. They must be JPEG or PNG.
        verify: whether, with `pass_through`, to refuse pictures that cannot be decoded completely.
        center_crop: whether to cut the longer side down to the length of the shorter one.
        resize: the shorter side's new length in pixels, with OpenCV's linear interpolation; None keeps it. Smaller
            pictures are enlarged, as in MXNet.
        color: ``'rgb'``, ``'gray'``, or ``'source'``: gray stays gray, and in PNG alpha is kept.
        encoding: ``'jpeg'`` or ``'png'``.
        quality: the JPEG quality, from 1 to 100, or the level of PNG compression, where values above 9 count as 9.
        pack_label: whether to pack all labels of a picture, not only the first.
        threads: the number of worker threads, on which the bytes written do not depend. None: one for each core.
        on_error: what to do about a picture that cannot be packed. ``'fail'``: no record file is written.
            ``'skip'``: the picture is left out.
    """

    pass_through: bool = False
    verify: bool = True
    center_crop: bool = False
    resize: Optional[int] = None
    color: str = "rgb"
    encoding: str = "jpeg"
    quality: int = 95
    pack_label: bool = False
    threads: Optional[int] = None
    on_error: str = "fail"

    def __post_init__(self) -> None:
        _require(self.resize is None or self.resize > 0, "resize", "a positive length", self.resize)
        _require(self.color in ("rgb", "gray", "source"), "color", "rgb, gray or source", self.color)
        _require(self.encoding in ("jpeg", "png"), "encoding", "jpeg or png", self.encoding)
        lowest = 1 if self.encoding == "jpeg" else 0
        _require(lowest <= self.quality <= 100, "quality", f"{lowest} to 100", self.quality)
        _require(self.threads is None or self.threads > 0, "threads", "a positive number", self.threads)
        _require(self.on_error in ("fail", "skip"), "on_error", "fail or skip", self.on_error)


def _require(holds: bool, name: str, expected: str, found: object) -> None:
    if not holds:
        raise UsageError(f"{name}: expected {expected}, found {found!r}")


class Failure(NamedTuple):
    """A picture that could not be packed, and the reason."""

    name: str
    reason: str


@dataclass(frozen=True)
class PackReport:
    """The result of packing.

    Attributes:
        path: the record file.
        records: the number of records.
        bytes: the size of the record file.
        seconds: the duration of packing.
        failures: the pictures left out, in the order of the source.
        errors_path: the file that lists them; None if there are none.
    """

    path: str
    records: int
    bytes: int
    seconds: float
    failures: tuple[Failure, ...]
    errors_path: Optional[str]


class BadImagesError(ImageError):
    """Some pictures cannot be packed, so nothing was written.

    Attributes:
        failures: all such pictures, in the order of the source.
        errors_path: the file that lists them.
    """

    def __init__(self, message: str, failures: tuple[Failure, ...], errors_path: str) -> None:
        super().__init__(message, path=errors_path)
        self.failures = failures
        self.errors_path = errors_path


def pack(
    source: Source,
    prefix: str,
    options: PackOptions = PackOptions(),
    *,
    listing: Optional[Sequence[Entry]] = None,
    origin: Optional[ListOrigin] = None,
    progress: Optional[Progress] = None,
) -> PackReport:
    """Pack `source` into PREFIX.rec and PREFIX.idx, and its class names, if known, into PREFIX.classes.

    Files of these names are replaced, but only once the new ones are complete. Pictures that cannot be packed
    are listed in PREFIX.errors.txt, one printable line each: NAME<tab>REASON.

    Args:
        source: the source of the pictures; see Source.
        prefix: the path of the output without its endings; its folder must exist.
        options: the options of packing; see PackOptions.
        listing: a list to write to PREFIX.lst, together with the other files.
        origin: the origin of the list, written to PREFIX.lst.json.
        progress: a function to report progress to; see Progress.

    Raises:
        BadImagesError: a picture cannot be packed and `options.on_error` is ``'fail'``, or no picture can be packed.
        DataError: the source has no pictures or is itself damaged, or another process is writing these files.
        OSError: the output cannot be written.
    """
    if len(source) == 0:
        raise DataError(f"{prefix}: there are no pictures to pack")
    started = time.monotonic()
    texts: dict[str, str] = {}
    if listing is not None:
        texts[".lst"] = format_list(listing)
        if origin is not None:
            texts[ORIGIN_SUFFIX] = origin.text(texts[".lst"])
    if source.classes is not None:
        texts[".classes"] = "".join(f"{name}\n" for name in source.classes)
    with PackOutput(prefix) as output:
        with _packer(output, options) as packer:
            _feed(packer, source, options, progress)
            failures = tuple(Failure(*failure) for failure in packer.failures())
            size = packer.bytes_written()
        errors_path = _list_failures(prefix, failures)
        if errors_path is not None and (options.on_error == "fail" or len(failures) == len(source)):
            name, reason = failures[0]
            raise BadImagesError(
                f"{len(failures)} of {len(source)} pictures cannot be packed, so nothing was written; "
                f"the first: {printable(name)}: {printable(reason)}",
                failures,
                errors_path,
            )
        output.commit(texts)
    seconds = time.monotonic() - started
    return PackReport(prefix + ".rec", len(source) - len(failures), size, seconds, failures, errors_path)


def _packer(output: PackOutput, options: PackOptions) -> _native.NativePacker:
    keep_alpha = options.encoding == "png"
    return _native.NativePacker(
        output.record,
        output.index,
        partial(decode_with_opencv, color=options.color, alpha=keep_alpha),
        pass_through=options.pass_through,
        verify=options.verify,
        center_crop=options.center_crop,
        resize=options.resize or 0,
        color=options.color,
        png=options.encoding == "png",
        quality=min(options.quality, 9) if options.encoding == "png" else options.quality,
        threads=options.threads or len(os.sched_getaffinity(0)),
    )


def _feed(
    packer: _native.NativePacker, source: Source, options: PackOptions, progress: Optional[Progress]
) -> None:
    last = time.monotonic()
    for key, labels, name, content in source:
        packer.submit(key, labels if options.pack_label else labels[:1], name, content)
        if progress is not None and time.monotonic() - last > _REPORT_EVERY:
            progress(packer.done(), packer.bytes_written())
            last = time.monotonic()
    while not packer.finish(_REPORT_EVERY):
        if progress is not None:
            progress(packer.done(), packer.bytes_written())
    if progress is not None:
        progress(packer.done(), packer.bytes_written())


def _list_failures(prefix: str, failures: Sequence[Failure]) -> Optional[str]:
    path = prefix + ".errors.txt"
    if failures:
        write_text(path, "".join(f"{printable(name)}\t{printable(reason)}\n" for name, reason in failures))
        return path
    if os.path.exists(path):  # from an earlier run
        os.unlink(path)
    return None
