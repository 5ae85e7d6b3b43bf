"""Prediction in Python with the files that `export` writes."""

from __future__ import annotations

import os
import threading
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Any, Callable, Optional, TypeVar, Union

import numpy as np

from gluon_resnet.card import ModelCard
from gluon_resnet.data import EvalTransform
from gluon_resnet.data.ten_crops import ten_crops
from gluon_resnet.deploy.backend import BACKENDS, FEATURES, LOGITS, Backend
from gluon_resnet.deploy.preparation import Pause, prepared
from gluon_resnet.deploy.without_card import PartialCard
from gluon_resnet.environment.processor import usable_processors
from gluon_resnet.errors import DataError, ImageError, ModelError, UsageError
from gluon_resnet.files import Path, regular_only

Image = Union[Path, bytes, np.ndarray]

Item = TypeVar("Item")

_MOST_BYTES = 1 << 29  # in an image file, as in a record

CROPS = {"1-crop": 1, "10-crop": 10}  # how many crops a protocol makes of an image


class Predictor:
    """An exported network on the CPU.

    An image is a path, the bytes of a JPEG or PNG file, or an RGB array of shape (H, W, 3) and dtype uint8. Methods
    for images take any iterable, even a generator of millions: threads read and decode them while the network works on
    earlier ones, at most two batches ahead. An unusable image ends the call, with ImageError if it cannot be decoded,
    OSError if a file cannot be read, and UsageError for an array of another shape or dtype.

    Any number of threads may call `preprocess` at a time, and the other methods as well, but the network then serves
    them one after the other.

    Args:
        prefix: the PREFIX of PREFIX-model.json and PREFIX-symbol.json with PREFIX-0000.params, or of PREFIX.onnx.
        backend: 'mxnet', or 'onnx', which needs only onnxruntime.
        batch_size: the largest number of images that go through the network at once.
        threads: the number of decoding threads, and of onnxruntime's; by default one for each processor that this
            process may use. MXNet uses OMP_NUM_THREADS as it was on import, or else the same number.
        card: the model card to use instead of PREFIX-model.json.

    Attributes:
        card: the model's classes and preprocessing.
        batch_size, threads: as above.

    Raises:
        ModelError: a file is damaged, or the files do not belong together.
        UsageError: an argument is out of range.
        EnvironmentProblem: the backend's library is missing.
        OSError: a file cannot be read.
    """

    def __init__(
        self,
        prefix: Path,
        *,
        backend: str = "mxnet",
        batch_size: int = 16,
        threads: Optional[int] = None,
        card: Union[ModelCard, PartialCard, None] = None,
    ) -> None:
        if batch_size < 1:
            raise UsageError(f"batch_size: expected at least 1, found {batch_size}")
        if threads is not None and threads < 1:
            raise UsageError(f"threads: expected at least 1, found {threads}")
        prefix = os.fspath(prefix)
        self.batch_size, self.threads = batch_size, threads or usable_processors()
        path = f"{prefix}-model.json"
        known = card
        if known is None:
            known = ModelCard.load(path)
            if backend in BACKENDS:
                known.require_format(backend, path)
        try:
            self._transforms = {"1-crop": EvalTransform(known.resize, known.size, known.interpolation)}
            if known.resize is not None and known.resize > known.size:
                self._transforms["10-crop"] = EvalTransform(known.resize, known.resize, known.interpolation)
        except UsageError as error:
            if card is not None:
                raise
            raise ModelError(f"{path}: {error}", path=path) from None
        outputs = None if known.classes is None else len(known.classes)
        self._name = f"{prefix!r}, backend={backend!r}"
        self._network = _open_backend(backend, prefix, known.size, outputs, batch_size, self.threads)
        if isinstance(known, PartialCard):
            known = known.of_graph(self._network.classes, prefix)
        self.card = known
        self._shape = (3, known.size, known.size)
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(self.threads, "gluon_resnet-decode")

    def __repr__(self) -> str:
        return f"Predictor({self._name}, {len(self.card.classes)} classes, {self.card.size} pixels)"

    def preprocess(self, image: Image, crops: str = "1-crop") -> np.ndarray:
        """The network's input for an image: float32 RGB from 0 to 255, (3, size, size), or ten of these for ten crops.

        Raises:
            ImageError: the image cannot be decoded; with its path, if it has one.
            OSError: the file cannot be read.
            UsageError: the array has another shape or dtype, or this network has no such crops.
        """
        transform = self._transform(crops)
        if not isinstance(image, (str, os.PathLike)):
            pixels = transform(image)
        else:
            path = os.fspath(image)
            try:
                with open(path, "rb", opener=regular_only) as stream:
                    payload = stream.read(_MOST_BYTES + 1)
            except DataError as error:
                raise ImageError(str(error), path=path) from None
            if len(payload) > _MOST_BYTES:
                raise ImageError(f"{path}: expected at most {_MOST_BYTES} bytes", path=path)
            try:
                pixels = transform(payload)
            except ImageError as error:
                raise ImageError(f"{path}: {error}", path=path) from None
        return pixels if crops == "1-crop" else np.stack(list(ten_crops(pixels, self.card.size)))

    def forward(self, inputs: np.ndarray) -> np.ndarray:
        """The outputs before the softmax, float32 (n, classes), for inputs as from `preprocess`, (n, 3, size, size).

        UsageError for an array of another shape or dtype.
        """
        return self._run(inputs, LOGITS)

    def logits(self, images: Iterable[Image]) -> np.ndarray:
        """The outputs before the softmax: float32 (number of images, classes)."""
        return self._rows(images, self.forward)

    def features(self, images: Iterable[Image]) -> np.ndarray:
        """The inputs of the last fully connected layer: float32 (number of images, D).

        ModelError for a network that does not end with such a layer.
        """
        return self._rows(images, lambda inputs: self._run(inputs, FEATURES))

    def probabilities(self, images: Iterable[Image], crops: str = "1-crop") -> np.ndarray:
        """The softmax of the outputs: float64 (number of images, classes).

        Args:
            crops: '10-crop' to average the probabilities of the four corners, the centre, and their mirror images, as
                tools/evaluate.py does; UsageError if the card has no `resize` greater than `size`.
        """
        return np.exp(self._rows(images, self.scores, crops))

    def predict(self, image: Image, k: int = 5) -> list[tuple[str, float]]:
        """The `k` most probable classes of one image as (name, probability), the best first."""
        return self._named(self.scores(self.preprocess(image)[None])[0], k)

    def top(self, images: Iterable[Image], k: int = 5) -> list[list[tuple[str, float]]]:
        """The same as `predict`, for many images."""
        return [self._named(row, k) for row in self._rows(images, self.scores)]

    def scores(self, inputs: np.ndarray) -> np.ndarray:
        """The logarithms of the probabilities: float64 (n, classes).

        Logarithms keep the order of classes whose probability is too small for float64.

        Args:
            inputs: float32 (n, 3, size, size) from `preprocess`, or (n, 10, 3, size, size) for ten crops.
        """
        if inputs.ndim != 5:
            return log_softmax(self.forward(inputs))
        views = self.forward(inputs.reshape(-1, *inputs.shape[2:]))
        logarithms = log_softmax(views.reshape(*inputs.shape[:2], views.shape[1]))
        most = logarithms.max(axis=1)
        return most + np.log(np.exp(logarithms - most[:, None]).mean(axis=1))

    def batches(
        self, items: Iterable[Union[Item, Pause]], read: Callable[[Item], Image], crops: str = "1-crop"
    ) -> Generator[list[tuple[Item, Future[np.ndarray]]], None, None]:
        """The items in order, in batches for the network, each with a future for the result of `preprocess`.

        `read` returns the image of an item; it is called in a thread, and its exceptions become the future's. A Pause
        (see preparation.py) among the items ends a batch.
        """
        views = CROPS[crops] if self._transform(crops) else 1
        return prepared(
            items,
            lambda item: self.preprocess(read(item), crops),
            max(1, self.batch_size // views),
            self._pool,
        )

    def _rows(
        self, images: Iterable[Image], run: Callable[[np.ndarray], np.ndarray], crops: str = "1-crop"
    ) -> np.ndarray:
        rows = []
        if isinstance(images, (str, bytes, os.PathLike)):  # iterating over it would give letters
            raise UsageError(f"expected a list of images, found one: {images!r:.80}")
        with closing(self.batches(images, _itself, crops)) as batches:
            for batch in batches:
                rows.append(run(np.stack([future.result() for _, future in batch])))
        if rows:
            return np.concatenate(rows)
        views = () if crops == "1-crop" else (CROPS[crops],)
        return run(np.empty((0, *views, *self._shape), np.float32))

    def _run(self, inputs: np.ndarray, output: str) -> np.ndarray:
        if inputs.ndim != 4 or inputs.shape[1:] != self._shape or inputs.dtype != np.float32:
            expected = "expected float32 inputs of shape (n, {}, {}, {})".format(*self._shape)
            raise UsageError(f"{expected}, found {inputs.dtype} {inputs.shape}")
        if not len(inputs):  # the network knows the number of columns
            return self._run(np.zeros((1, *self._shape), np.float32), output)[:0]
        with self._lock:
            return self._network.run(np.ascontiguousarray(inputs), output)

    def _transform(self, crops: str) -> EvalTransform:
        if crops not in CROPS:
            raise UsageError(f"crops: expected one of {', '.join(CROPS)}, found {crops!r}")
        if crops not in self._transforms:
            raise UsageError(
                f"ten crops need images larger than the network's input of {self.card.size} pixels, but its card "
                f"has resize {self.card.resize}: choose 1-crop"
            )
        return self._transforms[crops]

    def _named(self, scores: np.ndarray, k: int) -> list[tuple[str, float]]:
        return [(self.card.classes[label], probability) for label, probability in most_probable(scores, k)]


def most_probable(scores: np.ndarray, k: int) -> list[tuple[int, float]]:
    """The `k` most probable classes of one image, the best first, as (label, probability), from log probabilities."""
    best = np.argsort(-scores, kind="stable")[:k]
    return [(int(label), float(np.exp(scores[label]))) for label in best]


def _open_backend(
    name: str, prefix: str, size: int, classes: Optional[int], batch_size: int, threads: int
) -> Backend:
    """The exported network of `prefix`, for images of `size` pixels; only the library of its backend is imported.

    Args:
        name: one of BACKENDS.
        classes: the expected number of outputs; None for any.
        batch_size: the largest number of images at once.
        threads: the number of onnxruntime's threads; MXNet reads OMP_NUM_THREADS when it is loaded.

    Raises:
        UsageError: there is no such backend.
        ModelError: a file is damaged, or not for `size` and `classes`.
        EnvironmentProblem: the library is missing.
        OSError: a file cannot be read.
    """
    if name == "mxnet":
        from gluon_resnet.deploy.mxnet_backend import MXNetBackend

        return MXNetBackend(prefix, size, classes, batch_size)
    if name == "onnx":
        from gluon_resnet.deploy.onnx_backend import OnnxBackend

        return OnnxBackend(prefix, size, classes, batch_size, threads)
    raise UsageError(f"backend: expected one of {', '.join(BACKENDS)}, found {name!r}")


def _itself(image: Any) -> Any:
    return image


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """The logarithm of the softmax over the last axis, in float64; NaN if a logit is not finite."""
    with np.errstate(invalid="ignore"):  # infinity minus infinity
        shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True, initial=-np.inf)
        return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
