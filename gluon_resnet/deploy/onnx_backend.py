"""An exported network in onnxruntime, which needs neither MXNet nor the package onnx."""

from __future__ import annotations

from typing import Optional

import numpy as np

from gluon_resnet.deploy.backend import INPUT, LOGITS, in_parts
from gluon_resnet.deploy.onnx_check import check_model
from gluon_resnet.errors import EnvironmentProblem, ModelError
from gluon_resnet.files import read_regular
from gluon_resnet.terminal import printable

try:
    import onnxruntime
except ImportError:
    raise EnvironmentProblem(
        "the backend onnx needs onnxruntime, which is not installed: pip install 'gluon-resnet[onnx]'"
    ) from None


_MOST_BYTES = (1 << 31) - 1  # protobuf's limit
_MOST_LETTERS = 300  # of a message of onnxruntime


class OnnxBackend:
    """PREFIX.onnx; see `Backend`. One session runs batches of any size."""

    def __init__(self, prefix: str, size: int, classes: Optional[int], batch_size: int, threads: int) -> None:
        self._path, self._batch_size = f"{prefix}.onnx", batch_size
        content = read_regular(self._path, _MOST_BYTES)
        try:
            check_model(content, size)
        except ModelError as error:
            raise self._error(str(error)) from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 4  # whatever it would print also comes as an exception
        try:
            self._session = onnxruntime.InferenceSession(
                content,  # the bytes that were checked
                options,
                providers=["CPUExecutionProvider"],
            )
        except Exception as error:  # onnxruntime's exceptions have no base class in common
            raise self._says(error) from None
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
            raise self._error(f"the network has no output {output!r}")
        return in_parts(inputs, self._batch_size, lambda part: self._run(part, output))

    def _run(self, part: np.ndarray, output: str) -> np.ndarray:
        try:
            return self._session.run([output], {INPUT: part})[0]
        except Exception as error:
            raise self._says(error) from None

    def _says(self, error: Exception) -> ModelError:
        return self._error(f"onnxruntime says: {printable(' '.join(str(error).split()), _MOST_LETTERS)}")

    def _error(self, message: str) -> ModelError:
        return ModelError(f"{self._path}: {message}", path=self._path)
