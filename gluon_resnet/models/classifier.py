"""The form of every network in the registry: features, and a last layer on top of them."""

from __future__ import annotations

from typing import Any

from gluon_resnet._mxnet import gluon
from gluon_resnet.models.units import he_initializer


class Classifier(gluon.HybridBlock):
    """A network with normalized inputs (N, 3, H, W) and outputs (N, classes), before the softmax.

    A subclass fills `features`, a HybridSequential that ends with the input of the Dense layer `output`, inside its
    name scope, so that the names of parameters do not depend on anything else that the process has built.
    """

    features: Any
    output: Any

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return self.output(self.features(x))


def dense(inputs: int, outputs: int) -> Any:
    """A fully connected layer with He initialization."""
    return gluon.nn.Dense(outputs, in_units=inputs, weight_initializer=he_initializer())


def biased_convolution(
    in_channels: int, channels: int, kernel: int, stride: int = 1, slope: float = 0
) -> Any:
    """A convolution that keeps ceil(size / stride), with a bias, for nets without batch normalization.

    It has He initialization for an activation whose slope below 0 is `slope`.
    """
    return gluon.nn.Conv2D(
        channels,
        kernel,
        stride,
        padding=kernel // 2,
        in_channels=in_channels,
        weight_initializer=he_initializer(slope),
    )
