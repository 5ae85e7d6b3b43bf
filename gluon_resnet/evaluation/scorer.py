"""The interface of a protocol to an evaluation: batches of images, and the scores that a network gives them."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import Any, Callable, NamedTuple, Protocol

import numpy as np


class Images(NamedTuple):
    """Some records, in order."""

    labels: np.ndarray  # float, (n,) or (n, labels per record)
    pixels: Any  # in the form that their scorer takes


class Scorer(Protocol):
    """One network under one protocol, over the records of an evaluation.

    An iterator yields every record once, in order; with the same records and batch size, the batches of all
    scorers consist of the same records.
    """

    def __len__(self) -> int:
        """Batches."""

    def __iter__(self) -> Generator[Images, None, None]: ...

    def scores(self, images: Images, rows: slice, contexts: Sequence[Any]) -> Callable[[], np.ndarray]:
        """Queue the work for some rows on `contexts`; calling the result waits for it.

        It returns the scores before the softmax, float32 (views, rows, classes): a view is one of the images that
        the protocol makes from a record, and the softmax outputs are averaged over the views.
        """


def on_devices(pixels: Any, contexts: Sequence[Any]) -> list[Any]:
    """Equal parts of a batch, float32, each on its device."""
    parts = zip(contexts, dealt(len(pixels), len(contexts)))
    return [pixels[part].as_in_context(context).astype("float32") for context, part in parts]


def dealt(rows: int, parts: int) -> Iterator[slice]:
    """`rows` in at most `parts` slices of equal size, the first ones a row longer if needed."""
    begin = 0
    for number in range(min(rows, parts)):
        end = begin + rows // parts + (number < rows % parts)
        yield slice(begin, end)
        begin = end
