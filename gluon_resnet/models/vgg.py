"""VGG-16 and VGG-19 (Simonyan and Zisserman 2014, arXiv:1409.1556): rivals in Tables 3 and 4 of the paper."""

from __future__ import annotations

from typing import Any

from gluon_resnet._mxnet import gluon
from gluon_resnet.models.classifier import Classifier, biased_convolution, dense
from gluon_resnet.models.units import normalization

# Its Table 1, columns D and E: the number of 3x3 convolutions before each of the five poolings.
VGG = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
_CHANNELS = (64, 128, 256, 512, 512)


class Vgg(Classifier):
    """A VGG net for inputs (N, 3, 224, 224), since the fully connected layers fix the size.

    It is the one in MXNet's model zoo, except that every shape is known before the first batch, and initialization is
    He's: its authors' 19 layers started with the weights of a trained net of 11 (§3.1).

    Args:
        layers: an entry of VGG.
        normalized: whether batch normalization, which the authors did not have, follows each convolution.
        classes: the number of outputs.
    """

    def __init__(self, layers: tuple[int, ...], normalized: bool, classes: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        with self.name_scope():
            self.features = gluon.nn.HybridSequential(prefix="")
            width = 3
            for repeats, channels in zip(layers, _CHANNELS):
                for _ in range(repeats):
                    self.features.add(biased_convolution(width, channels, 3))
                    if normalized:
                        self.features.add(normalization(channels))
                    self.features.add(gluon.nn.Activation("relu"))
                    width = channels
                self.features.add(gluon.nn.MaxPool2D(2, 2))
            for inputs in (7 * 7 * width, 4096):
                self.features.add(dense(inputs, 4096), gluon.nn.Activation("relu"), gluon.nn.Dropout(0.5))
            self.output = dense(4096, classes)
