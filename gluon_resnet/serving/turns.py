"""Fair queues: clients take turns, and so do each client's requests, however much one of them has sent."""

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
    request: int  # clients behind a proxy differ in nothing else


class Turns(Generic[Item]):
    """A queue whose next item belongs to the client, and to its request, whose last turn was the longest ago."""

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
        """Append an item to those of the same owner."""
        requests = self._clients.setdefault(owner.client, OrderedDict())
        requests.setdefault(owner.request, deque()).append(item)
        self._count += 1

    def pop(self) -> Item:
        """Remove and return the next item; KeyError if there is none."""
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
        """Remove an item, if it is still in the queue."""
        requests = self._clients.get(owner.client, OrderedDict())
        items: deque[Item] = requests.get(owner.request, deque())
        if item in items:  # deque.remove would format an item that it does not find, however large
            items.remove(item)
            self._count -= 1
        if not items:
            requests.pop(owner.request, None)
        if not requests:
            self._clients.pop(owner.client, None)


class Threads:
    """Calls functions in its own threads, in turns. For use in one event loop.

    Args:
        count: the number of threads.
    """

    def __init__(self, count: int, name: str) -> None:
        self._workers = Workers(count, name)
        self._free = count
        self._closed = False
        self._waiting: Turns[Call] = Turns()

    async def call(self, owner: Owner, function: Callable[..., Value], *arguments: Any) -> Value:
        """The function's result; if this is cancelled before its turn, the function is not called."""
        result: asyncio.Future[Value] = asyncio.get_running_loop().create_future()

        call = self.begin(owner, function, arguments, functools.partial(_settle, result))
        try:
            return await result
        finally:
            self.withdraw(owner, call)  # now, not at its turn: it may hold the body of a request
            # An error's traceback refers to this frame, and the frame's variables would refer to the error: such a
            # cycle would hold on to bodies until the garbage collector runs.
            del call, arguments, result

    def begin(
        self, owner: Owner, function: Callable[..., Any], arguments: tuple[Any, ...], done: Done
    ) -> Call:
        """Queue a call of `function`; `done` is then called with its result or its error."""
        call = Call(function, arguments, done)
        self._waiting.push(owner, call)
        self._next()
        return call

    def withdraw(self, owner: Owner, call: Call) -> None:
        """Cancel a call that has not begun."""
        if not call.begun:
            self._waiting.remove(owner, call)

    def close(self) -> None:
        """Wait for the threads to finish their current calls, and end them; waiting calls are dropped."""
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
    """A call that waits for its turn; compared by identity."""

    def __init__(self, function: Callable[..., Any], arguments: tuple[Any, ...], done: Done) -> None:
        self.function = function
        self.arguments = arguments
        self.done = done
        self.begun = False


def _settle(result: asyncio.Future[Any], value: Any, error: Optional[Exception]) -> None:
    if result.done():
        pass  # nobody is waiting any more
    elif error is not None:
        result.set_exception(error)
    else:
        result.set_result(value)
