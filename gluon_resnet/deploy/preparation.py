"""Threads that work through a stream of items ahead of its consumer: in order, in batches, in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Executor, Future
from enum import Enum
from typing import Callable, TypeVar, Union

Item = TypeVar("Item")
Made = TypeVar("Made")


class Pause(Enum):
    """Placed among the items: the next one may take long to come, and what came so far is wanted now."""

    HERE = 0


def prepared(
    items: Iterable[Union[Item, Pause]], make: Callable[[Item], Made], batch_size: int, pool: Executor
) -> Generator[list[tuple[Item, Future[Made]]], None, None]:
    """Batches of the items in order, each with the future for what `make` makes of it in a thread of `pool`.

    While one batch is used the next is prepared. All batches are full, except the last one and the last one before a
    Pause. An exception in `make` becomes the future's; one in `items` ends the stream.
    """
    ahead: deque[tuple[Item, Future[Made]]] = deque()
    try:
        for item in items:
            if item is not Pause.HERE:
                ahead.append((item, pool.submit(make, item)))
            while len(ahead) >= (1 if item is Pause.HERE else 2 * batch_size):
                yield [ahead.popleft() for _ in range(min(batch_size, len(ahead)))]
        while ahead:
            yield [ahead.popleft() for _ in range(min(batch_size, len(ahead)))]
    finally:
        for _, future in ahead:
            future.cancel()
