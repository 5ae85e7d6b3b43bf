"""An exported network in onnxruntime, where neither MXNet nor the package onnx is needed."""

from __future__ import annotations

from typing import Optional

import numpy as np

from gluon_resnet.deploy.backend import INPUT, LOGITS, in_parts
from gluon_resnet.errors import EnvironmentProblem, ModelError

try:
    import onnxruntime
except ImportError:
    raise EnvironmentProblem(
        "the backend onnx needs onnxruntime, which is not installed: pip install 'gluon-resnet[onnx]'"
    ) from None


class OnnxBackend:
    """PREFIX.onnx; see `Backend`. One session runs batches of any size."""

    def __init__(self, prefix: str, size: int, classes: Optional[int], batch_size: int, threads: int) -> None:
        self._path, self._batch_size = f"{prefix}.onnx", batch_size
        open(self._path, "rb").close()  # says better than onnxruntime why a file cannot be read
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 4  # what else it would print comes as an exception, too
        try:
            self._session = onnxruntime.InferenceSession(
                self._path, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's exceptions have no base class of their own
            raise self._error(f"onnxruntime says: {' '.join(str(error).split())}") from None
        inputs = {value.name: value.shape for value in self._session.get_inputs()}
        self._outputs = {value.name: value.shape for value in self._session.get_outputs()}
        free, *fixed = inputs.get(INPUT, (1,))
        if len(inputs) != 1 or fixed != [3, size, size] or isinstance(free, int):
            expected = f"expected one input, {INPUT!r} of shape (N, 3, {size}, {size}) with N free"
            raise self._error(f"{expected}, found {inputs}")
        logits = self._outputs.get(LOGITS, ())
        if len(logits) != 2 or not isinstance(logits[1], int) or classes not in (None, logits[1]):
            expected = f"expected the output {LOGITS!r} of shape (N, {classes or 'classes'})"
            raise self._error(f"{expected}, found {self._outputs}")
        self.classes = logits[1]

    def run(self, inputs: np.ndarray, output: str) -> np.ndarray:
        """See `Backend.run`."""
        if output not in self._outputs:
            raise self._error(f"it has no output {output!r}")
        return in_parts(inputs, self._batch_size, lambda part: self._session.run([output], {INPUT: part})[0])

    def _error(self, message: str) -> ModelError:
        return ModelError(f"{self._path}: {message}", path=self._path)
