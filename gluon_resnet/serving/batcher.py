"""Images of many requests go through the network together."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, NamedTuple, Protocol, TypeVar, Union

import numpy as np

from gluon_resnet.card import ModelCard
from gluon_resnet.data import image_size
from gluon_resnet.errors import ImageError
from gluon_resnet.serving.limits import Limits
from gluon_resnet.serving.metrics import Metrics
from gluon_resnet.serving.refusal import busy

Value = TypeVar("Value")


class Network(Protocol):
    """What is served: a `gluon_resnet.deploy.Predictor`, or a test's."""

    card: ModelCard

    def preprocess(self, image: bytes) -> np.ndarray:
        """float32 (3, size, size); called by several threads at a time. ImageError."""

    def forward(self, inputs: np.ndarray) -> np.ndarray:
        """float32 (n, 3, size, size) to logits, float32 (n, classes); called by one thread at a time."""


class _Waiting(NamedTuple):
    """A decoded image on its way to the network."""

    input: np.ndarray
    logits: asyncio.Future[np.ndarray]  # done before that when its client went away
    since: float


class TooManyPixels(ImageError):
    """The image was refused before it was decoded."""


class Batcher:
    """Decodes images, collects them to batches, runs the network on them. For one event loop.

    A batch begins when it is full, when no other image is being decoded, or `max_delay` seconds after its first
    image was decoded, whichever comes first: a client that is alone does not wait.

    Args:
        threads: how many images are decoded at a time.
    """

    def __init__(
        self,
        network: Network,
        limits: Limits,
        metrics: Metrics,
        batch_size: int = 16,
        max_delay: float = 0.005,
        threads: int = 1,
    ) -> None:
        self._network = network
        self._limits = limits
        self._metrics = metrics
        self._batch_size = batch_size
        self._max_delay = max_delay
        self._decoders = ThreadPoolExecutor(threads, "decode")
        self._runner = ThreadPoolExecutor(1, "network")
        self._taken = 0  # images that were taken and not answered
        self._decoding = 0
        self._waiting: deque[_Waiting] = deque()
        # Set when an image came to wait, or one that was decoded will not. Made by `run`: Python 3.9 ties it to a loop.
        self._changed: asyncio.Event

    def require_room(self, images: int = 1) -> None:
        """Refusal, with 503, when there is none for so many images now."""
        if self._taken + images > self._limits.images:
            raise busy(f"{self._taken} images wait, and {self._limits.images} may")

    async def in_decoder(self, function: Callable[..., Value], *arguments: Any) -> Value:
        """Call a function in a thread of those that decode; if cancelled before it begins, it does not."""
        return await asyncio.get_running_loop().run_in_executor(self._decoders, function, *arguments)

    async def logits(self, images: Sequence[bytes]) -> list[Union[np.ndarray, ImageError]]:
        """The network's outputs for each image, float32 (classes,), or what is wrong with the image.

        When this is cancelled, what was not begun is dropped. Refusal when there is no room.
        """
        self.require_room(len(images))
        self._taken += len(images)
        self._metrics.waiting.set(self._taken)
        try:
            return await asyncio.gather(*map(self._logits, images))
        finally:
            self._taken -= len(images)
            self._metrics.waiting.set(self._taken)

    async def run(self) -> None:
        """Runs batches until it is cancelled."""
        loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        while True:
            batch = await self._next_batch()
            begin = time.perf_counter()
            try:
                inputs = [image.input for image in batch]
                rows = await loop.run_in_executor(self._runner, self._forward, inputs)
                if len(rows) != len(batch):
                    raise RuntimeError(f"the network gave {len(rows)} rows for {len(batch)} images")
            except Exception as error:
                # It is told to those who wait; the next batch may do better.
                for image in batch:
                    if not image.logits.done():
                        image.logits.set_exception(error)
                continue
            self._metrics.network_seconds.observe(time.perf_counter() - begin)
            self._metrics.batch_images.observe(len(batch))
            for image, row in zip(batch, rows):
                self._metrics.queue_seconds.observe(begin - image.since)
                if not image.logits.done():
                    image.logits.set_result(row)

    def warm_up(self) -> None:
        """Run batches of several sizes, so that the first clients do not pay for what MXNet prepares for each."""
        size = self._network.card.size
        for count in {self._batch_size >> shift for shift in range(self._batch_size.bit_length())}:
            self._network.forward(np.zeros((count, 3, size, size), np.float32))

    def close(self) -> None:
        """Wait for what the threads do at this moment, and end them."""
        for pool in (self._decoders, self._runner):
            pool.shutdown(wait=True, cancel_futures=True)

    async def _logits(self, image: bytes) -> Union[np.ndarray, ImageError]:
        self._decoding += 1
        try:
            decoded = await self.in_decoder(self._decode, image)
        except ImageError as error:
            return error
        finally:
            self._decoding -= 1
            self._changed.set()
        waiting = _Waiting(decoded, asyncio.get_running_loop().create_future(), time.perf_counter())
        self._waiting.append(waiting)
        return await waiting.logits

    def _decode(self, image: bytes) -> np.ndarray:
        begin = time.perf_counter()
        width, height = image_size(image)
        if width * height > self._limits.pixels:
            raise TooManyPixels(
                f"the image has {width}x{height} pixels; at most {self._limits.pixels} are taken"
            )
        decoded = self._network.preprocess(image)
        self._metrics.decode_seconds.observe(time.perf_counter() - begin)
        return decoded

    def _forward(self, inputs: Sequence[np.ndarray]) -> np.ndarray:
        return self._network.forward(np.stack(inputs))

    async def _next_batch(self) -> list[_Waiting]:
        """At least one image, whose client is still there."""
        while True:
            while self._waiting and self._waiting[0].logits.done():
                self._waiting.popleft()
            left = self._max_delay
            if self._waiting:
                left -= time.perf_counter() - self._waiting[0].since
                if len(self._waiting) >= self._batch_size or not self._decoding or left <= 0:
                    break
            self._changed.clear()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._changed.wait(), left if self._waiting else None)
        batch: list[_Waiting] = []
        while self._waiting and len(batch) < self._batch_size:
            image = self._waiting.popleft()
            if not image.logits.done():
                batch.append(image)
        return batch
