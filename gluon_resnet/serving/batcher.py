"""Sends the images of many requests through the network together."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Sequence
from typing import Any, Callable, NamedTuple, Optional, Protocol, TypeVar, Union

import numpy as np

from gluon_resnet.card import ModelCard
from gluon_resnet.data import image_size
from gluon_resnet.errors import ImageError
from gluon_resnet.serving.admission import Admission
from gluon_resnet.serving.limits import Limits
from gluon_resnet.serving.metrics import Metrics
from gluon_resnet.serving.refusal import Refusal
from gluon_resnet.serving.turns import Call, Owner, Threads, Turns
from gluon_resnet.serving.workers import Workers

Value = TypeVar("Value")

# A small body's images are measured in the event loop, and tiny images are decoded in the network's thread: either
# takes less time than handing them to another thread.
SMALL = 1 << 16  # bytes
TINY = 1 << 12  # pixels
LARGE = 4_000_000  # pixels; smaller images take a twentieth of a second, and half a second at the very worst


class Network(Protocol):
    """The network that is served: a `gluon_resnet.deploy.Predictor`, or a test's substitute."""

    card: ModelCard

    def preprocess(self, image: bytes) -> np.ndarray:
        """The network's input, float32 (3, size, size); called by several threads at a time. Raises ImageError."""

    def forward(self, inputs: np.ndarray) -> np.ndarray:
        """The logits, float32 (n, classes), of inputs (n, 3, size, size); called by one thread at a time."""


class Measured(NamedTuple):
    """An encoded image and its size."""

    content: bytes
    size: Union[int, ImageError]  # in pixels, or why it is not decoded


class _Image:
    """An image on its way to the network; compared by identity."""

    def __init__(self, owner: Owner, result: asyncio.Future[Union[np.ndarray, ImageError]]) -> None:
        self.owner = owner
        self.result = result
        self.decoding: Optional[tuple[Threads, Call]] = None
        self.is_decoded = False
        self.input: Union[np.ndarray, bytes, None] = None  # set while it waits for the network
        self.since = 0.0


class TooManyPixels(ImageError):
    """The image was refused before it was decoded."""


class Batcher:
    """Decodes images, collects them into batches and runs the network on them. For use in one event loop.

    A batch begins when it is full, when no other image is being decoded, or `max_delay` seconds after its first
    image was decoded, whichever comes first: a single client does not have to wait.

    Args:
        network: the network to run.
        limits: the limits of what clients may ask for.
        metrics: the metrics to update.
        batch_size: the largest number of images in a batch.
        max_delay: the longest time, in seconds, that a decoded image waits for others.
        threads: the number of images decoded at a time.
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
        self._runner = Workers(1, "network")
        self._admission = Admission(limits.images, metrics)
        self._decoding = 0
        self._waiting: Turns[_Image] = Turns()
        self._is_running = False
        self._is_looking = False
        self._alarm: Optional[asyncio.TimerHandle] = None  # rings when an image has waited long enough

    def require_room(self, client: str, images: int = 1) -> None:
        """Raise a Refusal with 503 if there is no room now for `images` images of a client."""
        self._admission.require_room(client, images)

    async def in_decoder(self, owner: Owner, function: Callable[..., Value], *arguments: Any) -> Value:
        """Call a function in one of the decoding threads; if cancelled before its turn, it is not called."""
        return await self._decoders.call(owner, function, *arguments)

    def measured(self, images: Sequence[bytes]) -> list[Measured]:
        """The images with their sizes, read from their headers; for any thread. Refusal for too many pixels in all."""
        sizes = list(map(self._size, images))
        pixels = sum(size for size in sizes if isinstance(size, int))
        if pixels > self._limits.request_pixels:
            most = self._limits.request_pixels
            message = f"the {len(images)} images have {pixels} pixels together; at most {most} are accepted"
            raise Refusal(413, "pixels", message)
        return list(map(Measured, images, sizes))

    async def logits(self, owner: Owner, images: Sequence[Measured]) -> list[Union[np.ndarray, ImageError]]:
        """The network's outputs for each image, float32 (classes,), or the image's error.

        If this is cancelled, work that has not begun is dropped. Raises a Refusal if there is no room.
        """
        loop = asyncio.get_running_loop()
        with self._admission.taken(owner.client, len(images)):
            taken = [_Image(owner, loop.create_future()) for _ in images]
            self._decoding += len(images)
            try:
                for image, (content, size) in zip(taken, images):
                    self._begin(image, content, size)
                return [await image.result for image in taken]
            finally:
                for image in taken:
                    self._drop(image)
                self._look()
                taken.clear()  # as in Threads.call

    def _begin(self, image: _Image, content: bytes, size: Union[int, ImageError]) -> None:
        if isinstance(size, ImageError):
            self._decoded(image, None, size)
        elif size <= TINY and len(content) <= SMALL:
            self._decoded(image, content, None)  # to be decoded by the network's thread
        else:
            threads = self._large_decoders if size > LARGE else self._decoders
            done = functools.partial(self._decoded, image)
            image.decoding = threads, threads.begin(image.owner, self._decode, (content,), done)

    def _decoded(
        self, image: _Image, pixels: Union[np.ndarray, bytes, None], error: Optional[Exception]
    ) -> None:
        if image.is_decoded:
            return  # it has been dropped meanwhile
        image.is_decoded = True
        self._decoding -= 1
        if error is not None:
            _tell(image, error)
        else:
            image.input, image.since = pixels, time.perf_counter()
            self._waiting.push(image.owner, image)
        self._look()

    def _drop(self, image: _Image) -> None:
        """Stop working on an image, if anything is left to do."""
        if not image.is_decoded:
            image.is_decoded = True
            self._decoding -= 1
            if image.decoding is not None:
                threads, call = image.decoding
                threads.withdraw(image.owner, call)
        if image.input is not None:
            image.input = None
            self._waiting.remove(image.owner, image)
        if not image.result.cancel() and not image.result.cancelled():
            image.result.exception()  # nobody asks for the other errors of a request that failed

    def _look(self) -> None:
        """Begin a batch, if it is time, once everything that arrived together has been dealt with."""
        if not self._is_looking:
            self._is_looking = True
            asyncio.get_running_loop().call_soon(self._begin_batch)

    def _begin_batch(self) -> None:
        """Run the network on the waiting images if it is free, unless they should wait for others."""
        self._is_looking = False
        if self._is_running or not self._waiting:
            return
        if len(self._waiting) < self._batch_size and self._decoding:
            since = min(image.since for image in self._waiting)
            left = since + self._max_delay - time.perf_counter()
            if left > 0:
                if self._alarm is None:
                    self._alarm = asyncio.get_running_loop().call_later(left, self._ring)
                return
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        batch = [self._waiting.pop() for _ in range(min(len(self._waiting), self._batch_size))]
        inputs = [image.input for image in batch]
        for image in batch:
            image.input = None
        self._is_running = True
        done = functools.partial(self._ran, batch, time.perf_counter())
        self._runner.submit(self._forward, (inputs,), done)

    def _ring(self) -> None:
        self._alarm = None
        self._begin_batch()

    def _ran(
        self,
        batch: Sequence[_Image],
        begin: float,
        rows: Optional[list[Union[np.ndarray, Exception]]],
        error: Optional[Exception],
    ) -> None:
        self._is_running = False
        for i, image in enumerate(batch):
            self._metrics.queue_seconds.observe(begin - image.since)
            _tell(image, error or rows[i])  # type: ignore[index]
        self._look()

    def warm_up(self) -> None:
        """Run batches of several sizes, so that the first clients do not pay for MXNet's preparations for each size."""
        size = self._network.card.size
        for count in {self._batch_size >> shift for shift in range(self._batch_size.bit_length())}:
            self._network.forward(np.zeros((count, 3, size, size), np.float32))

    def close(self) -> None:
        """Wait for the threads to finish their current work, and end them."""
        self._decoders.close()
        self._large_decoders.close()
        self._runner.close()

    def _size(self, image: bytes) -> Union[int, ImageError]:
        try:
            width, height = image_size(image)
        except ImageError as error:
            return _without_frames(error)
        if width * height > self._limits.pixels:
            most = self._limits.pixels
            return TooManyPixels(f"the image has {width}x{height} pixels; at most {most} are accepted")
        return width * height

    def _decode(self, image: bytes) -> np.ndarray:
        begin = time.perf_counter()
        decoded = self._network.preprocess(image)
        self._metrics.decode_seconds.observe(time.perf_counter() - begin)
        return decoded

    def _forward(self, images: Sequence[Union[np.ndarray, bytes]]) -> list[Union[np.ndarray, Exception]]:
        """A row of logits for each image, or the image's error."""
        inputs = [self._decode_tiny(image) if isinstance(image, bytes) else image for image in images]
        decoded = [image for image in inputs if isinstance(image, np.ndarray)]
        rows: Sequence[np.ndarray] = ()
        if decoded:
            begin = time.perf_counter()
            rows = list(self._network.forward(np.stack(decoded)))
            if len(rows) != len(decoded):
                raise RuntimeError(f"the network returned {len(rows)} rows for {len(decoded)} images")
            self._metrics.network_seconds.observe(time.perf_counter() - begin)
            self._metrics.batch_images.observe(len(decoded))
        row = iter(rows)
        return [next(row) if isinstance(image, np.ndarray) else image for image in inputs]

    def _decode_tiny(self, image: bytes) -> Union[np.ndarray, Exception]:
        try:
            return self._decode(image)
        except Exception as error:  # of this image alone; the rest of the batch goes on
            return error


def _tell(image: _Image, outcome: Union[np.ndarray, Exception]) -> None:
    """Pass the outcome to whoever waits for the image, if anybody still does."""
    if image.result.done():
        return
    if isinstance(outcome, ImageError):
        image.result.set_result(_without_frames(outcome))
    elif isinstance(outcome, Exception):
        image.result.set_exception(outcome)
    else:
        image.result.set_result(outcome)


def _without_frames(error: ImageError) -> ImageError:
    """An error to be kept, not raised: its traceback would keep its frames' images alive, in a reference cycle."""
    return error.with_traceback(None)
