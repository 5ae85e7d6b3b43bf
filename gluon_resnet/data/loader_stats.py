"""The cost of a loader's epoch, and which side waits for the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Optional


class BadRecord(NamedTuple):
    """A record that was left out of an epoch, or whose image was filled in where its data ended."""

    epoch: int
    path: str
    key: int
    offset: int
    reason: str


@dataclass(frozen=True)
class LoaderStats:
    """One epoch so far. Times are in seconds; those of the workers are sums over all threads.

    Reading and decoding are timed for every record, and so is every group of rows that a worker takes; the rest of
    that time counts as augmenting. The part of ``threads * seconds`` that no phase accounts for is the threads' start,
    and their wait for each other or for a processor between two groups of rows.
    """

    images: int = 0  # handed out, without padding
    batches: int = 0
    threads: int = 0
    seconds: float = 0.0  # from the epoch's start to its end, as the consumer saw it, or until now
    reading: float = 0.0
    decoding: float = 0.0
    augmenting: float = 0.0
    waiting: float = 0.0  # by workers for the consumer, with `prefetch` batches ready or being finished
    consumer_waiting: float = 0.0  # in next()
    skipped: tuple[BadRecord, ...] = ()  # with on_error='skip', in the order in which they were found
    partial: tuple[BadRecord, ...] = ()  # with on_error='partial': the JPEG's data ends early
    cached: Optional[int] = None  # records in the cache; None without a cache
    records: int = 0  # in all files

    @property
    def images_per_second(self) -> float:
        """The rate at which the consumer took them."""
        return self.images / self.seconds if self.seconds else 0.0

    @property
    def worker_wait_share(self) -> float:
        """The fraction of the workers' time, from 0 to 1, that they spent waiting for the consumer."""
        return self._share(self.waiting)

    @property
    def consumer_wait_share(self) -> float:
        """The fraction of the time, from 0 to 1, that the consumer spent waiting for a batch."""
        return self.consumer_waiting / self.seconds if self.seconds else 0.0

    @property
    def bottleneck(self) -> Optional[str]:
        """``'loader'`` or ``'consumer'``, whichever the other waits for more, and for at least a tenth of its time."""
        consumer, workers = self.consumer_wait_share, self.worker_wait_share
        if max(consumer, workers) < 0.1:
            return None
        return "loader" if consumer > workers else "consumer"

    def __str__(self) -> str:
        """A one-line summary: the rate, the shares of the time and the verdict."""
        phases = {"reading": self.reading, "decoding": self.decoding, "augmenting": self.augmenting}
        shares = ", ".join(f"{100 * self._share(phases[name]):.0f} % {name}" for name in phases)
        line = (
            f"{self.images_per_second:,.0f} images/s; workers: {shares}, "
            f"{100 * self.worker_wait_share:.0f} % waiting for the consumer; "
            f"the consumer waited {100 * self.consumer_wait_share:.0f} % of the time: "
        )
        if self.bottleneck == "loader":
            line += f"the loader is the bottleneck, {max(phases, key=lambda name: phases[name])} most of all"
        elif self.bottleneck == "consumer":
            line += "the consumer is the bottleneck"
        else:
            line += "neither side is a bottleneck"
        if self.cached is not None:
            line += f"; {self.cached:,} of {self.records:,} records are in the cache"
        for count, what in ((len(self.skipped), "skipped"), (len(self.partial), "decoded in part")):
            if count:
                line += f"; {count:,} {what}"
        return line

    def _share(self, seconds: float) -> float:
        return seconds / (self.threads * self.seconds) if self.seconds else 0.0
