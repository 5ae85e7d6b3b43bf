"""Which requests have a place in the queue: where there is none, the greediest client gives way."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Optional

from gluon_resnet.serving.metrics import Metrics
from gluon_resnet.serving.refusal import Refusal, busy


class Admission:
    """Counts the images that were taken and not answered. For one event loop.

    A client that has fewer images here than another one is not refused for want of room: the other's latest request
    is, though it was taken. So nobody fills the queue against others; two of the same address share its place.

    Args:
        most: how many images there may be.
    """

    def __init__(self, most: int, metrics: Metrics) -> None:
        self._most = most
        self._metrics = metrics
        self._taken = 0
        self._requests: list[_Request] = []  # the latest is the last

    def require_room(self, client: str, images: int = 1) -> None:
        """Refusal, with 503, when there is none for so many images of this client now."""
        if self._taken + images > self._most and self._greediest(client, images) is None:
            raise self._full(images)

    @contextlib.contextmanager
    def taken(self, client: str, images: int) -> Iterator[None]:
        """While the current task works on so many images of a client. Refusal, also later, when it must give way."""
        while self._taken + images > self._most:
            greediest = self._greediest(client, images)
            if greediest is None:
                raise self._full(images)
            self._leave(greediest)
            greediest.task.cancel()
        task = asyncio.current_task()
        assert task is not None
        request = _Request(client, images, task)
        self._requests.append(request)
        self._count(images)
        try:
            yield
        except asyncio.CancelledError:
            if request in self._requests:
                raise
            raise busy("the queue is full, and most of what waits is from your address") from None
        finally:
            if request in self._requests:
                self._leave(request)
            del task, request  # the task knows the error that ends it, whose traceback knows this frame

    def _full(self, images: int) -> Refusal:
        others = f": there is no room for {images} more" if images > 1 else ""
        return busy(f"{self._taken} images wait, and {self._most} may{others}")

    def _greediest(self, client: str, images: int) -> Optional[_Request]:
        """The latest request of the client that has most images, and more than this client would have."""
        counts: Counter[str] = Counter()
        for request in self._requests:
            counts[request.client] += request.images
        most = max(counts.values(), default=0)
        if most <= counts[client] + images:
            return None
        return next(request for request in reversed(self._requests) if counts[request.client] == most)

    def _leave(self, request: _Request) -> None:
        self._requests.remove(request)
        self._count(-request.images)

    def _count(self, images: int) -> None:
        self._taken += images
        self._metrics.waiting.set(self._taken)


class _Request:
    """Compared by identity."""

    def __init__(self, client: str, images: int, task: asyncio.Task[object]) -> None:
        self.client = client
        self.images = images
        self.task = task
