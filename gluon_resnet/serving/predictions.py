"""The content of answers, as values for JSON: the most probable classes, and errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Union

import numpy as np

from gluon_resnet.card import ModelCard
from gluon_resnet.deploy.predictor import log_softmax, most_probable
from gluon_resnet.errors import ImageError
from gluon_resnet.serving.refusal import Refusal

DEFAULT_TOP_K = 5
_MOST_DIGITS = 20  # including leading zeros


def parse_top_k(text: str) -> int:
    """The K of ?top_k=K, read as int() reads ASCII digits; Refusal unless it is a positive number."""
    if len(text) > _MOST_DIGITS:
        raise _no_top_k(f"{len(text)} characters")
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise _no_top_k(repr(text))
    return int(text)


def _no_top_k(found: str) -> Refusal:
    expected = f"a number of at least 1, with at most {_MOST_DIGITS} digits"
    return Refusal(400, "malformed", f"top_k: expected {expected}, found {found}")


def answer(card: ModelCard, results: Sequence[Union[np.ndarray, ImageError]], top_k: int) -> dict[str, Any]:
    """{"predictions": [...], "model": NAME}; Refusal with 422 if no image could be decoded."""
    predictions: list[dict[str, Any]] = [
        {"error": str(result)} if isinstance(result, ImageError) else {"classes": _best(card, result, top_k)}
        for result in results
    ]
    content = {"predictions": predictions, "model": card.network}
    if all(isinstance(result, ImageError) for result in results):
        message = str(results[0]) if len(results) == 1 else f"none of the {len(results)} images can be read"
        raise Refusal(422, None, message, content=content)
    return content


def _best(card: ModelCard, logits: np.ndarray, top_k: int) -> list[dict[str, Any]]:
    return [
        {"label": label, "name": card.classes[label], "probability": probability}
        for label, probability in most_probable(log_softmax(logits), min(top_k, len(logits)))
    ]
