"""Prediction in Python with the files that `export` writes."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from itertools import islice
from typing import Any, Optional, Union

import numpy as np

from gluon_resnet._mxnet import gluon, mx
from gluon_resnet.card import ModelCard
from gluon_resnet.data import EvalTransform
from gluon_resnet.deploy.export import INPUT
from gluon_resnet.errors import ImageError, ModelError, UsageError
from gluon_resnet.models.parameters import check_arrays, read_arrays

Path = Union[str, "os.PathLike[str]"]
Image = Union[Path, bytes, np.ndarray]


class Predictor:
    """An exported network, on the CPU; not for several threads at a time.

    An image is a path, the bytes of a JPEG or PNG file, or an RGB array of shape (H, W, 3) and dtype uint8.

    Args:
        prefix: PREFIX of PREFIX-symbol.json, PREFIX-0000.params and PREFIX-model.json.
        batch_size: how many images at most go through the network at once.

    Raises:
        ModelError: a file is damaged, or the three do not belong together.
        OSError: a file cannot be read.
    """

    def __init__(self, prefix: Path, batch_size: int = 16) -> None:
        if batch_size < 1:
            raise UsageError(f"a batch has at least one image, not {batch_size}")
        prefix = os.fspath(prefix)
        card_path = f"{prefix}-model.json"
        self.card = ModelCard.load(card_path)
        self.batch_size = batch_size
        try:
            self._transform = EvalTransform(self.card.resize, self.card.size, self.card.interpolation)
        except UsageError as error:
            raise ModelError(f"{card_path}: {error}", path=card_path) from None
        self._net = load_graph(f"{prefix}-symbol.json", f"{prefix}-0000.params", self.card)

    def preprocess(self, image: Image) -> np.ndarray:
        """The network's input for one image: float32 RGB from 0 to 255, (3, size, size).

        ImageError, with the path where there is one, for an image that cannot be decoded.
        """
        if not isinstance(image, (str, os.PathLike)):
            return self._transform(image)
        path = os.fspath(image)
        with open(path, "rb") as stream:
            payload = stream.read()
        try:
            return self._transform(payload)
        except ImageError as error:
            raise ImageError(f"{path}: {error}", path=path) from None

    def logits(self, images: Sequence[Image]) -> np.ndarray:
        """The network's outputs before the softmax: float32 (number of images, classes)."""
        rows = [np.empty((0, len(self.card.classes)), np.float32)]
        inputs = map(self.preprocess, images)
        while batch := list(islice(inputs, self.batch_size)):
            rows.append(self._net(mx.nd.array(np.stack(batch))).asnumpy())
        return np.concatenate(rows)

    def predict(self, image: Image, k: int = 5) -> list[tuple[str, float]]:
        """The `k` most probable classes of one image as (name, probability), the best first."""
        logits = self.logits([image])[0].astype(np.float64)
        probabilities = np.exp(logits - logits.max())
        probabilities /= probabilities.sum()
        best = np.argsort(-probabilities, kind="stable")[:k]
        return [(self.card.classes[label], float(probabilities[label])) for label in best]


def load_graph(
    graph_path: str, parameters_path: str, card: ModelCard, contexts: Optional[Sequence[Any]] = None
) -> Any:
    """The network of these files, checked: MXNet itself would leave missing parameters 0, for one.

    It is on `contexts` (default: the CPU). ModelError, with the path, where the files do not belong together.
    """
    with open(graph_path, "rb") as stream:
        text = stream.read()
    try:
        json.loads(text)  # says better than MXNet what is wrong
        graph = mx.sym.load_json(text.decode())
        arguments, states = graph.list_arguments(), graph.list_auxiliary_states()
        if INPUT not in arguments or len(graph.list_outputs()) != 1:
            raise _error(graph_path, f"expected a graph with the input {INPUT!r} and one output")
        shapes, outputs, state_shapes = graph.infer_shape_partial(**{INPUT: (1, 3, card.size, card.size)})
    except (ValueError, RecursionError) as error:
        raise _error(graph_path, f"this is not JSON: {error}") from None
    except mx.base.MXNetError as error:
        reason = _reason(error)
        raise _error(graph_path, f"not a graph for {card.size}x{card.size} images: {reason}") from None
    if outputs != [(1, len(card.classes))]:
        raise _error(graph_path, f"expected an output of shape {(1, len(card.classes))}, found {outputs}")
    expected = {f"arg:{name}": shape for name, shape in zip(arguments, shapes) if name != INPUT}
    expected.update({f"aux:{name}": shape for name, shape in zip(states, state_shapes)})
    check_arrays(parameters_path, read_arrays(parameters_path), expected)
    net = gluon.SymbolBlock(graph, mx.sym.var(INPUT, dtype="float32"))
    net.collect_params().load(parameters_path, ctx=contexts)
    net.hybridize(static_alloc=True)
    return net


def _reason(error: Exception) -> str:
    """CAUSE in a message with lines like "MXNetError: Check failed: a == b (1 vs. 2) : CAUSE"."""
    lines = [line for line in str(error).splitlines() if "Error: " in line or "Check failed: " in line]
    line = lines[-1].split("Check failed: ")[-1] if lines else str(error)
    return line.partition(": ")[2] or line


def _error(path: str, message: str) -> ModelError:
    return ModelError(f"{path}: {message}", path=path)
