"""Batches of augmented images from record files."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import resource
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, Optional, Union

from gluon_resnet.data import _native
from gluon_resnet.data._native import Batch
from gluon_resnet.data.arguments import expect, expect_choice, expect_flag, expect_whole_number
from gluon_resnet.data.loader_stats import BadRecord, LoaderStats
from gluon_resnet.data.memory import available_memory
from gluon_resnet.data.records import RecordFile
from gluon_resnet.data.state import LoaderState
from gluon_resnet.data.transforms import EvalTransform, TrainTransform, Transform
from gluon_resnet.errors import DataError, UsageError
from gluon_resnet.files import Path

Records = Union[Path, RecordFile]


class Loader:
    """Reads, decodes and augments records in C++ threads.

    ``for batch in loader:`` runs one epoch, and the next such loop runs the next epoch. How a record is augmented
    depends only on (seed, epoch, record) and the order of the records only on (seed, epoch), never on the number of
    threads.

    The workers stop with the epoch's iterator: at its end, or as soon as a ``break`` or an exception drops it. Only
    one epoch of a loader can run at a time, and only one thread at a time may take its batches; anything else raises
    UsageError from ``next()``.

    A loader can be passed to a forked or spawned process (pickled): there it continues from its state, with its own
    workers and its own list of skipped records. For PyTorch's DataLoader there is `torch_dataset`.

    Args:
        records: a `RecordFile` or a path, or several of them, read as one sequence of records. Only records with an
            image count: see `RecordFile.images`.
        batch_size: the number of records per batch on this rank.
        transform: a `TrainTransform` or an `EvalTransform`.
        shuffle: whether each epoch has a new random order of all records of all files.
        seed: the seed for the order and the augmentation.
        threads: the number of workers; by default one for each processor that this process may use.
        rank, world_size: this process's rank and the number of ranks. All ranks have the same number of batches, and
            together they see every record once per epoch. Concatenated, the ranks' batches of one step equal the
            batch of a single process with ``batch_size * world_size``.
        last_batch: the treatment of records that do not fill the last batch. ``'pad'``: the batch has full size, and
            its last `Batch.pad` rows only repeat other records. ``'discard'``: records that do not fill a batch on
            every rank are left out of this epoch. ``'keep'``: the batch is shorter (with several ranks it may be
            empty).
        dtype: ``'float32'``, ``'float16'`` or ``'uint8'`` (rounded; requires mean 0 and std 1).
        layout: ``'NCHW'`` or ``'NHWC'``.
        fast: whether to trade accuracy for speed: chroma is repeated instead of interpolated, and a JPEG whose crop is
            at least twice as large as the output is decoded at 1/2, 1/4 or 1/8 of its size. The pixels differ from
            those of a full decode.
        on_error: what to do about a record that cannot be read or decoded. ``'raise'``: ``next()`` raises an error
            with its file, key and offset, and may then be called again for the batch after it. ``'skip'``: the record
            is left out and listed in ``stats().skipped``; the batch gets one more row of padding, or with
            ``last_batch='keep'`` one row less. ``'partial'``: as ``'raise'``, except that a JPEG whose data ends
            within its crop is decoded as far as it goes and listed in ``stats().partial``.
        prefetch: the number of batches prepared ahead of the consumer.
        cache: ``'decoded'`` to decode each image whole when it is first needed and keep it in memory with its label
            and id, so that later epochs read and decode only those that did not fit (``stats().cached`` counts those
            that did). The batches are the same to the byte as without a cache. Broken and partial images are not
            kept. None for no cache.
        cache_size: the cache's size in MiB; by default half of the memory available now. The memory is allocated as
            the cache fills, and freed with the loader and its last epoch.

    Raises:
        UsageError: an argument is out of range.
        OSError, RecordError: a file cannot be used.
    """

    def __init__(
        self,
        records: Union[Records, Sequence[Records]],
        batch_size: int,
        transform: Transform,
        *,
        shuffle: bool = False,
        seed: int = 0,
        threads: Optional[int] = None,
        rank: int = 0,
        world_size: int = 1,
        last_batch: str = "pad",
        dtype: str = "float32",
        layout: str = "NCHW",
        fast: bool = False,
        on_error: str = "raise",
        prefetch: int = 3,
        cache: Optional[str] = None,
        cache_size: Optional[int] = None,
    ) -> None:
        self._arguments = {name: value for name, value in locals().items() if name != "self"}  # to pickle
        threads = len(os.sched_getaffinity(0)) if threads is None else threads
        known = isinstance(transform, (EvalTransform, TrainTransform))
        expect(
            known, "transform", "a TrainTransform or an EvalTransform, such as TrainTransform(224)", transform
        )
        expect_choice("last_batch", last_batch, _native.LAST_BATCHES)
        expect_choice("dtype", dtype, _native.DTYPES)
        expect_choice("layout", layout, _native.LAYOUTS)
        expect_choice("on_error", on_error, ("raise", "skip", "partial"))
        expect_whole_number("batch_size", batch_size, 1, 1 << 20)
        expect_whole_number("threads", threads, 1, 1024)
        expect_whole_number("world_size", world_size, 1, 1 << 20)
        expect_whole_number("rank", rank, 0, world_size - 1)
        expect_whole_number("seed", seed, 0, (1 << 64) - 1)
        expect_whole_number("prefetch", prefetch, 1, 1024)
        expect_flag("shuffle", shuffle)
        expect_flag("fast", fast)
        cache_bytes = _cache_bytes(cache, cache_size, fast)
        if dtype == "uint8" and (tuple(transform.mean) != (0, 0, 0) or tuple(transform.std) != (1, 1, 1)):
            raise UsageError(
                "dtype: uint8 cannot hold normalized values; expected a transform with mean 0 and std 1"
            )
        self.files = _open(records)
        self._arguments["records"] = self.files
        self.batch_size = batch_size
        self.transform = transform
        self.seed = seed
        self.shuffle = shuffle
        self.last_batch = last_batch
        self.dtype = dtype
        self.layout = layout
        self._native = _native.NativeLoader(
            [file.native for file in self.files],
            transform.native,
            batch_size=batch_size,
            shuffle=shuffle,
            seed=seed,
            threads=threads,
            rank=rank,
            world_size=world_size,
            last_batch=last_batch,
            dtype=dtype,
            layout=layout,
            fast=fast,
            on_error=on_error,
            prefetch=prefetch,
            cache_bytes=cache_bytes,
        )
        if len(self) == 0:
            raise UsageError(
                f"batch_size: {self.num_records} records do not fill one batch of {batch_size} on each of {world_size} "
                "rank(s), and last_batch='discard' leaves the rest out"
            )
        self._global_batch = batch_size * world_size
        self._fingerprint = ""  # not computed yet
        self._next_epoch = 0
        self._next_batch = 0
        self._current: Optional[weakref.ref[_Epoch]] = None  # kept alive by whoever iterates
        self._place: Optional[_Place] = None  # in the most recent epoch
        self._meter: Optional[_native.NativeMeter] = None  # of the most recent epoch
        self._caches = cache is not None

    def __len__(self) -> int:
        """The number of batches per epoch."""
        return self._native.num_batches

    @property
    def num_records(self) -> int:
        """The number of records in all files, for all ranks."""
        return self._native.num_records

    @property
    def fingerprint(self) -> str:
        """The records' fingerprint, as in `LoaderState`: equal data has an equal one, whatever its files are called."""
        if not self._fingerprint:
            self._fingerprint = f"{self._native.fingerprint():016x}"
        return self._fingerprint

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """The shape of one row of `Batch.data`."""
        size = self.transform.size
        return (3, size, size) if self.layout == "NCHW" else (size, size, 3)

    @property
    def label_width(self) -> int:
        """The number of labels of each record."""
        return self._native.label_width

    def stats(self) -> LoaderStats:
        """Statistics of the current epoch, or, between epochs, of the last one: its costs and waiting times."""
        known = self._meter.read() if self._meter else {}
        for name in ("skipped", "partial"):
            known[name] = tuple(BadRecord(*record) for record in known.get(name, ()))
        cached = self._native.num_cached if self._caches else None
        return LoaderStats(**known, cached=cached, records=self.num_records)

    def __iter__(self) -> Iterator[Batch]:
        """Begin the next epoch, or continue from a loaded state. An epoch still running is ended."""
        self._end_epoch()
        place = _Place(self._next_epoch, self._next_batch)
        epoch = _Epoch(self._native.start(place.epoch, place.batch), place)
        self._current, self._place, self._meter = weakref.ref(epoch), place, epoch.meter
        self._next_epoch, self._next_batch = place.epoch + 1, 0
        return epoch

    def in_turns(self, epoch: int, first: int, step: int) -> Iterator[Batch]:
        """Begin `epoch`, but make only its batch `first` and every `step`-th batch after it.

        For processes that share the batches of one rank. They do not advance this loader's state.
        """
        self.set_epoch(epoch)
        part = _Epoch(self._native.start(epoch, first, step), _Place(epoch, first))
        self._current, self._meter = weakref.ref(part), part.meter
        return part

    def __getitem__(self, index: object) -> NoReturn:
        raise UsageError(
            "a Loader can only be iterated ('for batch in loader'), not indexed; RecordFile(path)[i] is a single "
            "record, and gluon_resnet.data.torch_dataset makes a dataset for PyTorch's DataLoader"
        )

    def __repr__(self) -> str:
        place = self._place or _Place(self._next_epoch, self._next_batch)
        return (
            f"Loader({self.num_records} records in {len(self.files)} file(s), {len(self)} batches of "
            f"{self.batch_size}, {self.transform!r}, shuffle={self.shuffle}, seed={self.seed}; "
            f"epoch {place.epoch}, batch {place.batch})"
        )

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, counted from 0, that the next ``iter()`` begins; otherwise each begins the following one.

        An epoch still running is ended.
        """
        expect_whole_number("epoch", epoch, 0, (1 << 63) - 1)
        self._end_epoch()
        self._next_epoch, self._next_batch = epoch, 0

    def state_dict(self) -> dict[str, Any]:
        """The loader's position, between two batches: a small dict of JSON values.

        It stands after the last batch that was handed out (or that raised an error) in the current epoch, even if the
        loop over it has been left; at the end of an epoch it is the beginning of the next. The position is counted in
        records of the epoch's order, so it is the same on every rank, and valid for any number of threads and ranks.
        """
        place = self._place or _Place(self._next_epoch, self._next_batch)
        return self.state_behind(place.epoch, place.batch)

    def state_behind(self, epoch: int, batches: int) -> dict[str, Any]:
        """The state of a loader that has handed out `batches` batches of `epoch`."""
        return self._state(epoch, batches).to_dict()

    def next_place(self) -> tuple[int, int]:
        """The epoch that the next ``iter()`` begins, and the index of its first batch."""
        return self._next_epoch, self._next_batch

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Make the next ``iter()`` continue from `state`, with the same batches as if the loop had never stopped.

        Seed, shuffle and records must be those of the loader that saved it; the files may have moved. The position
        must be a multiple of ``batch_size * world_size``; if that product is unchanged, and so is the transform (which
        is not checked), the batches of all ranks together are the same to the bit. An epoch still running is ended.

        Raises:
            UsageError: the state belongs to a loader with other records, another seed or another order, is damaged,
                or does not stand between two batches of this loader.
        """
        loaded = LoaderState.from_dict(state)
        loaded.expect_like(self._state(0, 0))
        batch, rest = divmod(loaded.position, self._global_batch)
        if rest:
            raise UsageError(
                f"this state is not between two batches of this loader: position: expected a multiple of "
                f"{self._global_batch} (batch_size * world_size), found {loaded.position}, which would fit, for "
                f"example, a batch_size * world_size of {math.gcd(loaded.position, self._global_batch)}"
            )
        self._end_epoch()
        ahead = self._state(loaded.epoch, batch)
        self._next_epoch, self._next_batch = ahead.epoch, ahead.position // self._global_batch

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle, (self._arguments, self.state_dict())

    def _state(self, epoch: int, batch: int) -> LoaderState:
        if batch == len(self):
            epoch, batch = epoch + 1, 0
        return LoaderState(
            epoch=int(epoch),
            position=int(batch * self._global_batch),
            seed=int(self.seed),
            shuffle=bool(self.shuffle),
            records=self.num_records,
            fingerprint=self.fingerprint,
        )

    def _end_epoch(self) -> None:
        epoch = None if self._current is None else self._current()
        if epoch is not None:
            epoch.close()
        self._current = self._place = None


def _unpickle(arguments: dict[str, Any], state: dict[str, Any]) -> Loader:
    loader = Loader(**arguments)
    loader.load_state_dict(state)
    return loader


@dataclass
class _Place:
    """A position between two batches, shared with the loader, which still needs it when the iterator is gone."""

    epoch: int
    batch: int  # the next one


class _Epoch(Iterator[Batch]):
    """The batches of one epoch; its workers stop with it, at the latest when the last reference to it is dropped."""

    def __init__(self, native: _native.NativeEpoch, place: _Place) -> None:
        self._native = native
        self._place = place
        self.meter = self._native.meter()

    def __next__(self) -> Batch:
        try:
            batch = self._native.next()
        except (DataError, OSError):
            self._place.batch += 1
            raise
        if batch is None:
            self.close()  # the workers have ended, and are joined
            raise StopIteration
        self._place.batch += 1
        return batch

    def close(self) -> None:
        self._native.close()


def _open(records: Union[Records, Sequence[Records]]) -> list[RecordFile]:
    """The record files, all of which stay open."""
    if isinstance(records, (str, bytes, os.PathLike, RecordFile)):
        records = [records]  # type: ignore[list-item]
    with contextlib.suppress(TypeError):
        records = list(records)
    several = isinstance(records, list) and bool(records)
    expect(several, "records", "at least one record file (.rec), or a list of them", records)
    try:
        return [file if isinstance(file, RecordFile) else RecordFile(file) for file in records]
    except OSError as error:
        if error.errno != errno.EMFILE:
            raise
        allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        needed = len(records) + 256
        raised = f"allow more by 'ulimit -n {needed}', or " if most in (-1, needed) or most > needed else ""
        raise UsageError(
            f"records: a loader keeps its {len(records)} record files open, and this process may have {allowed} files "
            f"open: {raised}pack fewer, larger files"
        ) from None


def _cache_bytes(cache: Optional[str], mebibytes: Optional[int], fast: bool) -> int:
    """The cache's size in bytes; 0 for no cache."""
    if cache is None:
        if mebibytes is not None:
            raise UsageError("cache_size: given without a cache; add cache='decoded'")
        return 0
    expect_choice("cache", cache, ("decoded",))
    if fast:
        raise UsageError(
            "cache: fast=True decodes an image at the scale of each epoch's crop, so there is no image to keep; "
            "choose one of the two"
        )
    if mebibytes is None:
        return max(available_memory() // 2, 1 << 20)
    expect_whole_number("cache_size", mebibytes, 1, 1 << 26)
    return int(mebibytes) << 20
