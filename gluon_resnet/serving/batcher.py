"""Images of many requests go through the network together."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Callable, NamedTuple, Protocol, TypeVar, Union

import numpy as np

from gluon_resnet.card import ModelCard
from gluon_resnet.data import image_size
from gluon_resnet.errors import ImageError
from gluon_resnet.serving.admission import Admission
from gluon_resnet.serving.limits import Limits
from gluon_resnet.serving.metrics import Metrics
from gluon_resnet.serving.refusal import Refusal
from gluon_resnet.serving.turns import Owner, Threads, Turns

Value = TypeVar("Value")

LARGE = 4_000_000  # pixels; fewer take a twentieth of a second, and half a second at the very worst


class Network(Protocol):
    """What is served: a `gluon_resnet.deploy.Predictor`, or a test's."""

    card: ModelCard

    def preprocess(self, image: bytes) -> np.ndarray:
        """float32 (3, size, size); called by several threads at a time. ImageError."""

    def forward(self, inputs: np.ndarray) -> np.ndarray:
        """float32 (n, 3, size, size) to logits, float32 (n, classes); called by one thread at a time."""


class Measured(NamedTuple):
    """An encoded image."""

    content: bytes
    size: Union[int, ImageError]  # its pixels, or why it is not decoded


@dataclass(eq=False)
class _Waiting:
    """A decoded image on its way to the network."""

    input: np.ndarray
    logits: asyncio.Future[np.ndarray]
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
        self._decoders = Threads(threads, "decode")
        self._large_decoders = Threads(max(1, threads // 2), "large")
        self._runner = ThreadPoolExecutor(1, "network")
        self._admission = Admission(limits.images, metrics)
        self._decoding = 0
        self._waiting: Turns[_Waiting] = Turns()
        # Set when an image came to wait, or one that was decoded will not. Made by `run`: Python 3.9 ties it to a loop.
        self._changed: asyncio.Event

    def require_room(self, client: str, images: int = 1) -> None:
        """Refusal, with 503, when there is none for so many images of a client now."""
        self._admission.require_room(client, images)

    async def in_decoder(self, owner: Owner, function: Callable[..., Value], *arguments: Any) -> Value:
        """Call a function in a thread of those that decode; if cancelled before it begins, it does not."""
        return await self._decoders.call(owner, function, *arguments)

    def measured(self, images: Sequence[bytes]) -> list[Measured]:
        """The images with their sizes, by their headers; for any thread. Refusal when all have too many pixels."""
        sizes = list(map(self._size, images))
        pixels = sum(size for size in sizes if isinstance(size, int))
        if pixels > self._limits.request_pixels:
            most = self._limits.request_pixels
            message = f"the {len(images)} images have {pixels} pixels together; at most {most} are taken"
            raise Refusal(413, "pixels", message)
        return list(map(Measured, images, sizes))

    async def logits(self, owner: Owner, images: Sequence[Measured]) -> list[Union[np.ndarray, ImageError]]:
        """The network's outputs for each image, float32 (classes,), or what is wrong with the image.

        When this is cancelled, what was not begun is dropped. Refusal when there is no room.
        """
        with self._admission.taken(owner.client, len(images)):
            self._decoding += len(images)
            left = len(images)  # of those that are not decoded

            def decoded() -> None:
                nonlocal left
                left -= 1
                self._decoding -= 1
                self._changed.set()

            tasks = [asyncio.create_task(self._logits(owner, image, decoded)) for image in images]
            try:
                return await asyncio.gather(*tasks)
            finally:
                unfinished = [task for task in tasks if task.cancel()]  # the others of one that failed
                if unfinished:
                    await asyncio.wait(unfinished)
                self._decoding -= left
                self._changed.set()
                del tasks, unfinished  # as in Threads.call

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
        self._decoders.close()
        self._large_decoders.close()
        self._runner.shutdown(wait=True, cancel_futures=True)

    async def _logits(
        self, owner: Owner, image: Measured, decoded: Callable[[], None]
    ) -> Union[np.ndarray, ImageError]:
        try:
            if isinstance(image.size, ImageError):
                return image.size
            threads = self._large_decoders if image.size > LARGE else self._decoders
            pixels = await threads.call(owner, self._decode, image.content)
        except ImageError as error:
            return _without_frames(error)
        finally:
            decoded()
        loop = asyncio.get_running_loop()
        waiting = _Waiting(pixels, loop.create_future(), time.perf_counter())
        self._waiting.push(owner, waiting)
        try:
            return await waiting.logits
        finally:
            self._waiting.remove(owner, waiting)  # where it was cancelled

    def _size(self, image: bytes) -> Union[int, ImageError]:
        try:
            width, height = image_size(image)
        except ImageError as error:
            return _without_frames(error)
        if width * height > self._limits.pixels:
            most = self._limits.pixels
            return TooManyPixels(f"the image has {width}x{height} pixels; at most {most} are taken")
        return width * height

    def _decode(self, image: bytes) -> np.ndarray:
        begin = time.perf_counter()
        decoded = self._network.preprocess(image)
        self._metrics.decode_seconds.observe(time.perf_counter() - begin)
        return decoded

    def _forward(self, inputs: Sequence[np.ndarray]) -> np.ndarray:
        return self._network.forward(np.stack(inputs))

    async def _next_batch(self) -> list[_Waiting]:
        """At least one image, whose client is still there."""
        while True:
            left = self._max_delay
            if self._waiting:
                left -= time.perf_counter() - min(image.since for image in self._waiting)
                if len(self._waiting) >= self._batch_size or not self._decoding or left <= 0:
                    batch = [self._waiting.pop() for _ in range(min(len(self._waiting), self._batch_size))]
                    batch = [image for image in batch if not image.logits.done()]
                    if batch:
                        return batch
                    continue
            self._changed.clear()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._changed.wait(), left if self._waiting else None)


def _without_frames(error: ImageError) -> ImageError:
    """An error that is kept, not raised: its traceback would keep the images of its frames with it, in a circle."""
    return error.with_traceback(None)
