"""The interface of a library that runs exported networks, as the predictor uses it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

INPUT = "data"  # the name of a graph's input: float32 RGB from 0 to 255, (N, 3, size, size)
LOGITS, FEATURES = "logits", "features"
BACKENDS = ("mxnet", "onnx")


class Backend(Protocol):
    """An exported network on the CPU, for one thread at a time.

    Attributes:
        classes: the number of outputs.
    """

    classes: int

    def run(self, inputs: np.ndarray, output: str) -> np.ndarray:
        """One of the network's outputs for `inputs`, float32 (n, 3, size, size), C-contiguous, n at least 1.

        Args:
            output: LOGITS for the values before the softmax, float32 (n, classes); FEATURES for the input of the last
                fully connected layer, float32 (n, D).

        Raises:
            ModelError: the network has no such output.
        """


def in_parts(inputs: np.ndarray, most: int, run: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """The result of `run` for `inputs`, computed at most `most` rows at a time."""
    if len(inputs) <= most:
        return run(inputs)
    return np.concatenate([run(inputs[begin : begin + most]) for begin in range(0, len(inputs), most)])
