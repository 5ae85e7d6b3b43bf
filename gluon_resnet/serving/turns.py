"""Fair queues: clients take turns, and so do the requests of each, however much one of them has sent."""

from __future__ import annotations

import asyncio
import functools
from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import Any, Callable, Generic, NamedTuple, Optional, TypeVar

from gluon_resnet.serving.workers import Done, Workers

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
        if item in items:  # deque.remove would write out what it does not find, however large
            items.remove(item)
            self._count -= 1
        if not items:
            requests.pop(owner.request, None)
        if not requests:
            self._clients.pop(owner.client, None)


class Threads:
    """Calls functions in threads of its own, by turns. For one event loop.

    Args:
        count: how many are called at a time.
    """

    def __init__(self, count: int, name: str) -> None:
        self._workers = Workers(count, name)
        self._free = count
        self._closed = False
        self._waiting: Turns[Call] = Turns()

    async def call(self, owner: Owner, function: Callable[..., Value], *arguments: Any) -> Value:
        """What the function returns; if this is cancelled before its turn, it is not called."""
        result: asyncio.Future[Value] = asyncio.get_running_loop().create_future()

        call = self.begin(owner, function, arguments, functools.partial(_settle, result))
        try:
            return await result
        finally:
            self.withdraw(owner, call)  # now, not in its turn: it may hold the body of a request
            # An error's traceback knows this frame, and what the frame knows would know the error: such a circle
            # holds on to bodies until the collector comes.
            del call, arguments, result

    def begin(
        self, owner: Owner, function: Callable[..., Any], arguments: tuple[Any, ...], done: Done
    ) -> Call:
        """`done` is called with what comes of it."""
        call = Call(function, arguments, done)
        self._waiting.push(owner, call)
        self._next()
        return call

    def withdraw(self, owner: Owner, call: Call) -> None:
        """Do not call what was not called yet."""
        if not call.begun:
            self._waiting.remove(owner, call)

    def close(self) -> None:
        """Wait for what the threads do at this moment, and end them; what waits is not called."""
        self._closed = True
        self._workers.close()

    def _next(self) -> None:
        while self._free and self._waiting and not self._closed:
            call = self._waiting.pop()
            call.begun = True
            self._free -= 1
            self._workers.submit(call.function, call.arguments, functools.partial(self._end, call.done))
            del call.arguments

    def _end(self, done: Done, value: Any, error: Optional[Exception]) -> None:
        self._free += 1
        self._next()
        done(value, error)


class Call:
    """What waits for its turn. Compared by identity."""

    def __init__(self, function: Callable[..., Any], arguments: tuple[Any, ...], done: Done) -> None:
        self.function = function
        self.arguments = arguments
        self.done = done
        self.begun = False


def _settle(result: asyncio.Future[Any], value: Any, error: Optional[Exception]) -> None:
    if result.done():
        pass  # nobody waits any more
    elif error is not None:
        result.set_exception(error)
    else:
        result.set_result(value)
