"""For tests of batching: a network that waits at its doors, and a batcher around it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any, Callable

import numpy as np

from gluon_resnet.serving.batcher import Batcher
from gluon_resnet.serving.limits import Limits
from gluon_resnet.serving.metrics import Metrics
from gluon_resnet.serving.turns import Owner
from tests.support.served import FakeNetwork


class GatedNetwork(FakeNetwork):
    """Waits at its doors until they are opened."""

    def __init__(self) -> None:
        super().__init__()
        self.decoder, self.door = threading.Event(), threading.Event()
        self.arrived = threading.Semaphore(0)  # once for each decoding and each batch that began

    def preprocess(self, image: bytes) -> np.ndarray:
        self.arrived.release()
        assert self.decoder.wait(600)
        return super().preprocess(image)

    def forward(self, inputs: np.ndarray) -> np.ndarray:
        self.arrived.release()
        assert self.door.wait(600)
        return super().forward(inputs)

    async def arrivals(self, count: int) -> None:
        for _ in range(count):
            assert await asyncio.get_running_loop().run_in_executor(None, self.arrived.acquire, True, 60)


@contextlib.asynccontextmanager
async def running(network: FakeNetwork, images: int = 100, **options: Any) -> AsyncIterator[Batcher]:
    batcher = Batcher(network, Limits(images=images), Metrics(), **options)
    try:
        yield batcher
    finally:
        if isinstance(network, GatedNetwork):  # where a test has failed: its threads are joined
            network.decoder.set()
            network.door.set()
        batcher.close()


async def ask(batcher: Batcher, owner: Owner, images: Sequence[bytes]) -> list[Any]:
    return await batcher.logits(owner, batcher.measured(images))


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 600))


def labels(rows: list[Any]) -> list[int]:
    return [int(row.argmax()) for row in rows]
