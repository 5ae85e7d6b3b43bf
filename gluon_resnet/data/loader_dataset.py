"""The dataset that torch_adapter.py returns; the only module here that imports PyTorch."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Optional, Union

import torch
from torch.utils.data import IterableDataset, get_worker_info

from gluon_resnet.data.arguments import expect_choice, expect_whole_number
from gluon_resnet.data.loader import Batch, Loader, Records
from gluon_resnet.data.transforms import Transform
from gluon_resnet.errors import DataError, UsageError

_MOST_WORKERS = 1024


class _Loops:
    """Tells which epoch each loop over the dataset is, for workers that know nothing of each other.

    The numbers are kept in memory shared by all processes, where each worker writes only its own.
    """

    def __init__(self) -> None:
        # For each worker: the number of the call of set() and, in the lower half, how many loops it has begun since;
        # and the number drawn by the iterator of its last loop.
        self._begun = torch.zeros(_MOST_WORKERS, dtype=torch.int64).share_memory_()
        self._iterators = torch.zeros(_MOST_WORKERS, dtype=torch.int64).share_memory_()
        # Epoch, batch, calls of set(), and the call after which a loop was ambiguous.
        self._start = torch.tensor([0, 0, 0, -1]).share_memory_()
        self._calls = 0  # of set(), before this process was started
        self._process = os.getpid()  # the one that counts all calls

    def set(self, epoch: int, batch: int) -> None:
        """Make the next loop begin here."""
        self._calls += 1
        self._start[:3] = torch.tensor([epoch, batch, self._calls])

    def begin(self, worker: int, workers: int, iterator: int) -> tuple[int, int]:
        """The epoch and the first batch of the loop that a worker begins; UsageError if they are ambiguous."""
        if workers > _MOST_WORKERS:
            raise UsageError(f"num_workers: expected at most {_MOST_WORKERS}, found {workers}")
        epoch, batch, calls, unclear = self._start.tolist()
        # A worker that is slow to start may belong to a loop that ended before set() was called.
        late = self._process != os.getpid() and self._calls != calls
        self._process = os.getpid()
        mine = self._counts(calls)[worker] + 1
        if not late:
            self._iterators[worker] = iterator
            self._begun[worker] = (calls << 32) + mine
        counts, iterators = self._counts(calls), self._iterators.tolist()
        # The others have begun either this loop, with the same iterator, or the one before.
        together = all(
            count == mine - 1 or (count == mine and iterators[other] == iterator)
            for other, count in enumerate(counts[:workers])
        )
        if not together or any(counts[workers:]):
            unclear = calls
            if not late:
                self._start[3] = calls  # for the others, too, which may begin after this one
        if late or unclear == calls:
            raise UsageError(
                "it is not clear which epoch this loop is: an earlier loop ended before all its workers had started, "
                "or had a different number of workers; call the dataset's set_epoch() before the loop"
            )
        return epoch + mine - 1, batch if mine == 1 else 0

    def last(self) -> tuple[int, int, bool]:
        """The epoch and the first batch of the most recent loop, and whether there has been one."""
        epoch, batch, calls, _ = self._start.tolist()
        loops = max(self._counts(calls))
        return epoch + max(loops - 1, 0), batch if loops <= 1 else 0, loops > 0

    def _counts(self, calls: int) -> list[int]:
        """How many loops each worker has begun since the given call of set()."""
        return [value & 0xFFFFFFFF if value >> 32 == calls else 0 for value in self._begun.tolist()]


class LoaderDataset(IterableDataset):
    """The batches of a `Loader` as tensors ``(images, labels)``, for a DataLoader with ``batch_size=None``.

    Each loop over the DataLoader is one epoch, and the next loop is the next epoch. Its workers take turns making the
    batches, which are the same and come in the same order for any number of workers, forked or spawned, persistent or
    not, and without workers; they equal those of a `Loader`.

    Each worker has its own process's dataset; only the numbers of the loops are shared. If a loop ended before every
    worker had begun it, the next one cannot tell which epoch is meant: it raises UsageError, unless `set_epoch` or
    `load_state_dict` has been called in between. No epoch is silently read twice.

    Images have the loader's dtype and layout. Labels are int64 ``(n,)``, as ``cross_entropy`` expects, or float32
    ``(n, label_width)`` for records with several labels. There is no padding: with ``last_batch='keep'`` the last
    batch is shorter, and on several ranks it may be empty.

    Args:
        records, batch_size, transform: the arguments of `Loader`.
        labels: ``'int64'``, or ``'float32'`` for labels that are not classes.
        threads: the number of threads of each worker; by default the processors that this process may use, divided
            among the workers.
        rank, world_size: the arguments of `Loader`; by default taken from ``torch.distributed``, or from the
            environment variables RANK and WORLD_SIZE, as torchrun sets them; otherwise there is one rank.
        last_batch: ``'keep'`` or ``'discard'``.
        options: the other arguments of `Loader`. Records that ``on_error`` skips or decodes in part are reported by a
            warning at the end of each worker's epoch. Each worker has its own ``cache``, which requires persistent
            workers.

    Raises:
        UsageError, OSError, RecordError: as for `Loader`.
    """

    def __init__(
        self,
        records: Union[Records, Sequence[Records]],
        batch_size: int,
        transform: Transform,
        *,
        labels: str = "int64",
        threads: Optional[int] = None,
        rank: Optional[int] = None,
        world_size: Optional[int] = None,
        last_batch: str = "keep",
        **options: Any,
    ) -> None:
        expect_choice("labels", labels, ("int64", "float32"))
        expect_choice("last_batch", last_batch, ("keep", "discard"))
        if (rank is None) != (world_size is None):
            raise UsageError("rank and world_size go together: expected both or neither")
        if rank is None:
            rank, world_size = _place_among_ranks()
        options = {"rank": rank, "world_size": world_size, "last_batch": last_batch, **options}
        self._loader: Optional[Loader] = Loader(records, batch_size, transform, threads=threads, **options)
        self._process = os.getpid()  # the loader's owner
        self._arguments = {"batch_size": batch_size, "transform": transform, **options}
        self._arguments["records"] = self._loader.files
        self._threads = threads
        self._labels = labels
        self._loops = _Loops()

    def __len__(self) -> int:
        """The number of batches per epoch on this rank."""
        return len(self._own_loader())

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Begin this process's share of the next epoch."""
        info = get_worker_info()
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        epoch, first = self._loops.begin(worker, workers, 0 if info is None else info.seed - worker)
        loader = self._own_loader(workers)
        return self._tensors(loader, loader.in_turns(epoch, first + worker, workers))

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, counted from 0, of the next loop, even for persistent workers; otherwise epochs count up."""
        expect_whole_number("epoch", epoch, 0, (1 << 62) - 1)
        self._loops.set(epoch, 0)

    def state_dict(self, batches: int) -> dict[str, Any]:
        """A state as from `Loader.state_dict`, after `batches` batches of the most recent loop.

        Only the loop knows how many it has taken: the workers are ahead of it.
        """
        epoch, first, begun = self._loops.last()
        expect_whole_number("batches", batches, 0, len(self) - first if begun else 0)
        loader = self._own_loader()
        return loader.state_behind(epoch, first + batches)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Make the next loop continue from `state`, or a `Loader`'s; errors as for `Loader.load_state_dict`."""
        loader = self._own_loader()
        loader.load_state_dict(state)
        self._loops.set(*loader.next_place())

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_loader": None}

    def _own_loader(self, workers: int = 1) -> Loader:
        """This process's loader: a worker has one with its share of the processors, for as long as it lives."""
        if self._loader is None or self._process != os.getpid():
            threads = self._threads or max(1, len(os.sched_getaffinity(0)) // workers)
            self._loader = Loader(threads=threads, **self._arguments)
            self._process = os.getpid()
        return self._loader

    def _tensors(
        self, loader: Loader, batches: Iterator[Batch]
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for batch in batches:
            yield torch.from_dlpack(batch), self._label_tensor(batch)
        stats = loader.stats()
        for found, what in ((stats.skipped, "skipped"), (stats.partial, "decoded in part")):
            if found:
                warnings.warn(f"{len(found)} record(s) {what}; the first: {found[0].reason}", stacklevel=2)

    def _label_tensor(self, batch: Batch) -> torch.Tensor:
        labels = torch.from_numpy(batch.label)
        if self._labels == "float32" or labels.ndim > 1:
            return labels
        whole = labels.long()
        if not torch.equal(whole.float(), labels):
            raise DataError(
                f"expected labels that are class numbers, found {labels[whole.float() != labels][0]:g}; "
                "labels='float32' keeps them as they are"
            )
        return whole


def _place_among_ranks() -> tuple[int, int]:
    """This process's rank, and the number of ranks."""
    distributed = torch.distributed
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    try:
        return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    except KeyError:
        return 0, 1
    except ValueError as error:
        raise UsageError(
            f"environment variables RANK and WORLD_SIZE: expected whole numbers: {error}"
        ) from None
