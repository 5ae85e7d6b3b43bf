"""What tools/predict.py prints about an image, byte for byte as the C++ program does."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, Optional

import numpy as np

from gluon_resnet.errors import DataError
from gluon_resnet.terminal import printable


def text_of_classes(name: str, classes: Sequence[str], best: Sequence[tuple[int, float]]) -> str:
    """The name, and a line for each (label, probability)."""
    return "\n".join(
        [
            printable(name),
            *(f"{100 * probability:7.2f} %  {printable(classes[label])}" for label, probability in best),
        ]
    )


def text_of_logits(name: str, logits: np.ndarray) -> str:
    """The name, and all outputs on one line."""
    return f"{printable(name)}\n" + "".join(f"  {value:.9g}" for value in logits.tolist())


def json_of_classes(
    name: str, labels: Optional[np.ndarray], classes: Sequence[str], best: Sequence[tuple[int, float]]
) -> str:
    """One object, on one line."""
    named = [
        {"label": label, "name": classes[label], "probability": _number(probability)}
        for label, probability in best
    ]
    return _json(name, labels, classes=named)


def json_of_logits(name: str, labels: Optional[np.ndarray], logits: np.ndarray) -> str:
    """One object, on one line."""
    return _json(name, labels, logits=[_number(value) for value in logits.tolist()])


def json_of_error(name: str, labels: Optional[np.ndarray], reason: str) -> str:
    """One object, on one line."""
    return _json(name, labels, error=_utf8(reason))


def reason(error: BaseException, name: str) -> str:
    """What is wrong with an image, without its path if the name contains that."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    path = error.path if isinstance(error, DataError) else None
    return str(error).removeprefix(f"{path}: ") if path and name.startswith(path) else str(error)


def _json(name: str, labels: Optional[np.ndarray], **values: Any) -> str:
    content: dict[str, Any] = {"image": _utf8(name)}
    if labels is not None and labels.size:
        numbers = [int(value) if value.is_integer() else _number(value) for value in labels.tolist()]
        content["label"] = numbers[0] if len(numbers) == 1 else numbers
    return printable(json.dumps({**content, **values}, ensure_ascii=False), None)


def _number(value: float) -> Optional[float]:
    """JSON has no NaN and no infinity."""
    return value if math.isfinite(value) else None


def _utf8(name: str) -> str:
    """The name for JSON, which must be UTF-8, as a file's name need not be."""
    return name.encode(errors="surrogateescape").decode(errors="replace")
