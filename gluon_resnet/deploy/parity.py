"""Whether an ONNX file computes what its MXNet network does: their outputs compared on noise and on real images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from gluon_resnet._mxnet import mx
from gluon_resnet.card import ModelCard
from gluon_resnet.data import EvalTransform, Loader
from gluon_resnet.deploy.backend import INPUT, LOGITS
from gluon_resnet.errors import EnvironmentProblem, ModelError

TOLERANCE = (
    1e-3  # of the largest output: float32 in another order of sums stays far below, a wrong operator does not
)
_NOISE, _MOST_IMAGES, _BATCH = 4, 64, 8


class Parity(NamedTuple):
    """The comparison on some images."""

    images: str  # what they are
    total: int
    largest: float  # magnitude of MXNet's outputs
    difference: float  # the largest
    same_class: int  # images whose greatest output is the same

    def __str__(self) -> str:
        return (
            f"{self.images}: outputs up to {self.largest:.4g} differ by at most {self.difference:.2g}; "
            f"the same class for {self.same_class} of {self.total}"
        )

    @property
    def holds(self) -> bool:
        """Whether the difference is within TOLERANCE; a NaN is not."""
        return self.difference <= TOLERANCE * max(self.largest, 1e-6)


def compare(path: str, net: Any, card: ModelCard, records: Sequence[str] = ()) -> list[Parity]:
    """The comparison on noise, and on the first images of `records`, prepared as the card says.

    Args:
        path: the ONNX file.
        net: the same network as a Gluon block on the CPU.
        card: its card.
        records: the paths of record files.

    Raises:
        EnvironmentProblem: onnxruntime is not installed.
        ModelError: onnxruntime does not take the file.
        DataError: a record cannot be decoded.
    """
    try:
        import onnxruntime
    except ImportError:
        raise EnvironmentProblem(
            "comparing needs onnxruntime, which is not installed: pip install 'gluon-resnet[onnx]'"
        ) from None
    try:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions have no base class in common
        raise ModelError(f"onnxruntime says: {' '.join(str(error).split())[:300]}") from None
    noise = np.random.default_rng(0).uniform(0, 255, (_NOISE, 3, card.size, card.size)).astype("float32")
    result = [_compared(f"{_NOISE} images of noise", [noise], session, net)]
    if records:
        transform = EvalTransform(card.resize, card.size, card.interpolation)
        loader = Loader(list(records), _BATCH, transform, last_batch="keep")
        batches = (np.array(batch.data) for batch, _ in zip(loader, range(_MOST_IMAGES // _BATCH)))
        result.append(_compared(f"images of {', '.join(records)}", batches, session, net))
    return result


def _compared(images: str, batches: Iterable[np.ndarray], session: Any, net: Any) -> Parity:
    total, largest, difference, same = 0, 0.0, 0.0, 0
    for batch in batches:
        (found,) = session.run([LOGITS], {INPUT: batch})
        expected = net(mx.nd.array(batch)).asnumpy()
        total, same = total + len(batch), same + int((found.argmax(1) == expected.argmax(1)).sum())
        largest = max(largest, float(np.abs(expected).max()))
        difference = float(np.maximum(difference, np.abs(found - expected).max()))  # NaN stays
    return Parity(images, total, largest, difference, same)
