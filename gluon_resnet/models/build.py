"""Builds the network that a model card describes."""

from __future__ import annotations

from typing import Any, Optional

import numpy as np

from gluon_resnet.card import ModelCard
from gluon_resnet.errors import UsageError
from gluon_resnet.models.normalize import with_normalization
from gluon_resnet.models.registry import Network, describe, get_model


def describe_network(card: ModelCard, zero_gamma: bool = False) -> Network:
    """The network that `build_network` builds; UsageError if it does not exist, or not for this size of images."""
    network = describe(card.network, card.shortcut, card.variant, zero_gamma)
    if network.size not in (None, card.size):
        raise UsageError(f"size: expected the {network.size} pixels of {card.network}, found {card.size}")
    return network


def build_network(card: ModelCard, mean_image: Optional[np.ndarray] = None, zero_gamma: bool = False) -> Any:
    """The uninitialized network of `card`, preceded by its normalization; its input is float32 RGB, 0 to 255, NCHW.

    Args:
        card: the card with the network, its classes, and its mean and standard deviation.
        mean_image: the mean image, (3, size, size), of a network with `per_pixel_mean`; without it each pixel has
            the value `mean` until the parameters are loaded.
        zero_gamma: see `get_model`.

    Raises:
        UsageError: there is no such network, none for images of this size, or the mean image does not belong to it.
    """
    describe_network(card, zero_gamma)
    net = get_model(card.network, len(card.classes), card.shortcut, card.variant, zero_gamma)
    mean: Any = card.mean
    if card.per_pixel_mean:
        shape = (3, card.size, card.size)
        mean = np.broadcast_to(np.reshape(card.mean, (3, 1, 1)), shape) if mean_image is None else mean_image
        if np.shape(mean) != shape:
            raise UsageError(f"mean_image: expected shape {shape}, found {np.shape(mean)}")
    elif mean_image is not None:
        raise UsageError("mean_image: this network has a mean per channel")
    return with_normalization(net, mean, card.std)
