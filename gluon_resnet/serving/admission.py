"""Decides which requests have a place in the queue: when it is full, the greediest client gives way."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Optional

from gluon_resnet.serving.metrics import Metrics
from gluon_resnet.serving.refusal import Refusal, busy


class Admission:
    """Counts the images that have been accepted but not answered. For use in one event loop.

    A client with fewer images in the queue than another is not refused for lack of room; instead the other client's
    latest request is, although it had been accepted. So nobody can fill the queue at the expense of others; clients
    with the same address share one place.

    Args:
        most: the largest number of images.
        metrics: the metrics that show the number of waiting images.
    """

    def __init__(self, most: int, metrics: Metrics) -> None:
        self._most = most
        self._metrics = metrics
        self._taken = 0
        self._requests: list[_Request] = []  # oldest first

    def require_room(self, client: str, images: int = 1) -> None:
        """Raise a Refusal with 503 if there is no room now for `images` images of this client."""
        if self._taken + images > self._most and self._greediest(client, images) is None:
            raise self._full(images)

    @contextlib.contextmanager
    def taken(self, client: str, images: int) -> Iterator[None]:
        """Hold room while the current task works on a client's images; Refusal, even later, if it must give way."""
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
            raise busy("the queue is full, and most of the waiting images are from your address") from None
        finally:
            if request in self._requests:
                self._leave(request)
            del task, request  # the task knows the error that ends it, whose traceback knows this frame

    def _full(self, images: int) -> Refusal:
        others = f": there is no room for {images} more" if images > 1 else ""
        return busy(f"{self._taken} images are waiting, of at most {self._most}{others}")

    def _greediest(self, client: str, images: int) -> Optional[_Request]:
        """The latest request of the client with the most images, if it has more than this client would have."""
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
    """A request that has room; compared by identity."""

    def __init__(self, client: str, images: int, task: asyncio.Task[object]) -> None:
        self.client = client
        self.images = images
        self.task = task
