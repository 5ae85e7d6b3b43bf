"""What a loader's epoch costs, and which side waits for the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Optional


class BadRecord(NamedTuple):
    """A record that was left out of an epoch, or whose image has been made up where its data ends."""

    epoch: int
    path: str
    key: int
    offset: int
    reason: str


@dataclass(frozen=True)
class LoaderStats:
    """One epoch so far. Times are in seconds; those of the workers are sums over all threads.

    The clock is read around every record's reading and decoding, and around every group of rows that a worker takes;
    what of that is neither reading nor decoding counts as augmenting. What the phases leave of ``threads * seconds``
    is the threads' start, and their wait for each other or for a processor between two groups of rows.
    """

    images: int = 0  # handed out, without padding
    batches: int = 0
    threads: int = 0
    seconds: float = 0.0  # from the epoch's start until the consumer was told of its end, or until now
    reading: float = 0.0
    decoding: float = 0.0
    augmenting: float = 0.0
    waiting: float = 0.0  # of workers, for the consumer: `prefetch` batches are ready or being finished
    consumer_waiting: float = 0.0  # in next()
    skipped: tuple[BadRecord, ...] = ()  # by on_error='skip', in the order in which they were met
    partial: tuple[BadRecord, ...] = ()  # by on_error='partial': the JPEG's data ends early
    cached: Optional[int] = None  # records in the cache; None: there is no cache
    records: int = 0  # in all files

    @property
    def images_per_second(self) -> float:
        """At which the consumer took them."""
        return self.images / self.seconds if self.seconds else 0.0

    @property
    def worker_wait_share(self) -> float:
        """The part of the workers' time, 0 to 1, in which they waited for the consumer."""
        return self._share(self.waiting)

    @property
    def consumer_wait_share(self) -> float:
        """The part of the time, 0 to 1, in which the consumer waited for a batch."""
        return self.consumer_waiting / self.seconds if self.seconds else 0.0

    @property
    def bottleneck(self) -> Optional[str]:
        """``'loader'`` or ``'consumer'``: for which the other side waits more, and at least a tenth of its time."""
        consumer, workers = self.consumer_wait_share, self.worker_wait_share
        if max(consumer, workers) < 0.1:
            return None
        return "loader" if consumer > workers else "consumer"

    def __str__(self) -> str:
        """One line to read: the rate, the shares of the time, the verdict."""
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
