"""Fair queues: clients take turns, and so do the requests of each, however much one of them has sent."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections import OrderedDict, deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Generic, NamedTuple, TypeVar

Item = TypeVar("Item")
Value = TypeVar("Value")


class Owner(NamedTuple):
    """Whose turn it is."""

    client: str  # an address: see clients.client_of
    request: int  # clients behind one proxy differ in nothing else


class Turns(Generic[Item]):
    """A queue: the next item is the first of the request, of the client, whose last turn is the longest ago."""

    def __init__(self) -> None:
        self._clients: OrderedDict[str, OrderedDict[int, deque[Item]]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Item]:
        for requests in self._clients.values():
            for items in requests.values():
                yield from items

    def push(self, owner: Owner, item: Item) -> None:
        """To the end of the items of the same owner."""
        requests = self._clients.setdefault(owner.client, OrderedDict())
        requests.setdefault(owner.request, deque()).append(item)
        self._count += 1

    def pop(self) -> Item:
        """The next item; KeyError where there is none."""
        client, requests = self._clients.popitem(last=False)
        request, items = requests.popitem(last=False)
        item = items.popleft()
        self._count -= 1
        if items:
            requests[request] = items
        if requests:
            self._clients[client] = requests
        return item

    def remove(self, owner: Owner, item: Item) -> None:
        """Nothing where it is not there any more."""
        requests = self._clients.get(owner.client, OrderedDict())
        items: deque[Item] = requests.get(owner.request, deque())
        with contextlib.suppress(ValueError):
            items.remove(item)
            self._count -= 1
        if not items:
            requests.pop(owner.request, None)
        if not requests:
            self._clients.pop(owner.client, None)


class Threads:
    """Calls functions in a pool of threads, by turns. For one event loop.

    Args:
        count: how many are called at a time.
    """

    def __init__(self, count: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(count, name)
        self._free = count
        self._closed = False
        self._waiting: Turns[_Call] = Turns()

    async def call(self, owner: Owner, function: Callable[..., Value], *arguments: Any) -> Value:
        """What the function returns; if this is cancelled before its turn, it is not called."""
        call = _Call(asyncio.get_running_loop().create_future(), function, arguments)
        self._waiting.push(owner, call)
        self._begin()
        try:
            value: Value = await call.result
            return value
        except asyncio.CancelledError:
            self._waiting.remove(owner, call)  # now, not in its turn: it may hold the body of a request
            raise
        finally:
            # An error's traceback knows this frame, and what the frame knows would know the error: such a circle
            # holds on to bodies until the collector comes.
            del call, arguments

    def close(self) -> None:
        """Wait for what the threads do at this moment, and end them; what waits is not called."""
        self._closed = True
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _begin(self) -> None:
        loop = asyncio.get_running_loop()
        while self._free and self._waiting and not self._closed:
            call = self._waiting.pop()
            self._free -= 1
            running = loop.run_in_executor(self._pool, call.function, *call.arguments)
            running.add_done_callback(functools.partial(self._end, call.result))

    def _end(self, result: asyncio.Future[Any], running: asyncio.Future[Any]) -> None:
        self._free += 1
        error = None if running.cancelled() else running.exception()
        if result.done():
            pass  # nobody waits any more
        elif running.cancelled():
            result.cancel()
        elif error is not None:
            result.set_exception(error)
        else:
            result.set_result(running.result())
        self._begin()


class _Call(NamedTuple):
    result: asyncio.Future[Any]
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
