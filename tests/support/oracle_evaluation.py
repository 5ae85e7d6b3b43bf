"""The testing protocols, slowly: one image, one view and one window at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gluon_resnet._mxnet import gluon, mx
from gluon_resnet.card import ModelCard
from tests.support import oracle


def one_crop(net: Any, card: ModelCard, image: np.ndarray) -> np.ndarray:
    """Probabilities of the classes, float64, for an RGB image."""
    return softmax(logits(net, oracle.evaluate(image, card.resize, card.size)))


def ten_crop(net: Any, card: ModelCard, image: np.ndarray) -> np.ndarray:
    square, size = oracle.evaluate(image, card.resize, card.resize), card.size
    middle = (card.resize - size) // 2
    crops = [square[:size, :size], square[:size, -size:], square[-size:, :size], square[-size:, -size:]]
    crops.append(square[middle : middle + size, middle : middle + size])
    return np.mean([softmax(logits(net, view)) for crop in crops for view in (crop, crop[:, ::-1])], axis=0)


def multi_scale(net: Any, card: ModelCard, image: np.ndarray, scales: Sequence[int]) -> np.ndarray:
    views = []
    for scale in scales:
        resized = oracle.resize_short(image, scale)
        views += [softmax(dense_scores(net, card, view)) for view in (resized, resized[:, ::-1])]
    return np.mean(views, axis=0)


def dense_scores(net: Any, card: ModelCard, image: np.ndarray) -> np.ndarray:
    """The last layer in each window of the features' map, averaged over the windows."""
    head = net[1].output
    weight, bias = (parameter.data().asnumpy().astype(np.float64) for parameter in (head.weight, head.bias))
    side = feature_map(net, np.zeros((card.size, card.size, 3), np.uint8)).shape[1]
    features = feature_map(net, image)
    _, rows, columns = features.shape
    scores = []
    for top in range(rows - side + 1):
        for left in range(columns - side + 1):
            window = features[:, top : top + side, left : left + side]
            scores.append(weight @ window.mean(axis=(1, 2)) + bias)
    return np.mean(scores, axis=0)


def feature_map(net: Any, image: np.ndarray) -> np.ndarray:
    """What the global pooling takes: float64 (channels, rows, columns)."""
    x = net[0](batch_of(image))
    layers = [layer for layer in net[1].features if not isinstance(layer, gluon.nn.Flatten)]
    for layer in layers[:-1]:  # without the pooling
        x = layer(x)
    return x[0].asnumpy().astype(np.float64)


def logits(net: Any, image: np.ndarray) -> np.ndarray:
    return net(batch_of(image))[0].asnumpy().astype(np.float64)


def batch_of(image: np.ndarray) -> Any:
    return mx.nd.array(image.transpose(2, 0, 1)[None].astype(np.float32))


def softmax(scores: np.ndarray) -> np.ndarray:
    shifted = np.exp(scores - scores.max())
    return shifted / shifted.sum()
