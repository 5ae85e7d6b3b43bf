"""Work on a stream of items in threads, ahead of who uses it: in order, in batches, in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Executor, Future
from enum import Enum
from typing import Callable, TypeVar, Union

Item = TypeVar("Item")
Made = TypeVar("Made")


class Pause(Enum):
    """Among the items: their source may take its time over the next one, and what came so far is wanted now."""

    HERE = 0


def prepared(
    items: Iterable[Union[Item, Pause]], make: Callable[[Item], Made], batch_size: int, pool: Executor
) -> Generator[list[tuple[Item, Future[Made]]], None, None]:
    """Batches of the items in their order, each with what `make` has made of it in a thread of `pool`.

    While one batch is used the next is made. The batches are full but for the last one, and the last one before a
    Pause. An exception of `make` is the future's; one of `items` ends it.
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
