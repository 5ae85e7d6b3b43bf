"""What every network of the registry is: features, and a last layer on them."""

from __future__ import annotations

from typing import Any

from gluon_resnet._mxnet import gluon
from gluon_resnet.models.units import he_initializer


class Classifier(gluon.HybridBlock):
    """Input (N, 3, H, W), normalized; output (N, classes), before the softmax.

    A subclass fills `features`, a HybridSequential that ends with what the Dense layer `output` takes, inside its
    name scope: then the names of parameters depend on nothing else that the process has built.
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
    """A convolution that keeps ceil(size / stride), with a bias: of the nets without batch normalization.

    He initialization for an activation with `slope` below 0.
    """
    return gluon.nn.Conv2D(
        channels,
        kernel,
        stride,
        padding=kernel // 2,
        in_channels=in_channels,
        weight_initializer=he_initializer(slope),
    )
