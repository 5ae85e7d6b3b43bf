"""What a protocol is to an evaluation: batches of images, and the scores that a network gives them."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import Any, Callable, NamedTuple, Protocol

import numpy as np


class Images(NamedTuple):
    """Some records in their order."""

    labels: np.ndarray  # float, (n,) or (n, labels per record)
    pixels: Any  # what the scorer that made them takes


class Scorer(Protocol):
    """One network under one protocol, over the records of an evaluation.

    An iterator yields every record once, in order; for the same records and batch size the batches of all
    scorers are of the same records.
    """

    def __len__(self) -> int:
        """Batches."""

    def __iter__(self) -> Generator[Images, None, None]: ...

    def scores(self, images: Images, rows: slice, contexts: Sequence[Any]) -> Callable[[], np.ndarray]:
        """Queue the work for some rows on `contexts`; the result waits for it.

        It is the scores before the softmax, float32 (views, rows, classes): a view is one of the images that
        the protocol makes of a record, and the softmax outputs are averaged over them.
        """


def dealt(rows: int, parts: int) -> Iterator[slice]:
    """`rows` in at most `parts` pieces of the same size, the first a row longer where it does not divide."""
    begin = 0
    for number in range(min(rows, parts)):
        end = begin + rows // parts + (number < rows % parts)
        yield slice(begin, end)
        begin = end
