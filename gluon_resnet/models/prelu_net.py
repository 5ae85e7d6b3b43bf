"""PReLU-nets A, B and C (He et al. 2015b, arXiv:1502.01852): rivals in Tables 3, 4 and 5 of the paper."""

from __future__ import annotations

from typing import Any

from gluon_resnet._mxnet import gluon
from gluon_resnet.models.classifier import Classifier, biased_convolution, dense
from gluon_resnet.models.units import he_initializer

# Its Table 3: the number of 3x3 convolutions at each of the map sizes 56, 28 and 14, and their channels. Before
# them is a 7x7 convolution of 96 channels, stride 2; between them, 2x2 max pooling.
PRELU_NETS = {
    "a": (5, (256, 512, 512)),
    "b": (6, (256, 512, 512)),
    "c": (6, (384, 768, 896)),
}
_PYRAMID = (7, 3, 2, 1)  # bins along a side: "spp, {7, 3, 2, 1}"
_SLOPE = 0.25  # of PReLU initially (§2.1)


class PReluNet(Classifier):
    """A PReLU-net for inputs (N, 3, 224, 224), since the pyramid's windows are those for maps of 14x14.

    Slopes are per channel and not decayed (§2.1), convolutions and the first two fully connected layers are
    initialized for them (Eq. 15), and those two have dropout of 50 % (§3).

    Args:
        repeats, channels: an entry of PRELU_NETS.
        classes: the number of outputs.
    """

    def __init__(self, repeats: int, channels: tuple[int, ...], classes: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        with self.name_scope():
            self.features = gluon.nn.HybridSequential(prefix="")
            self.features.add(biased_convolution(3, 96, 7, 2, _SLOPE), _prelu(96))
            width = 96
            for stage in channels:
                self.features.add(gluon.nn.MaxPool2D(2, 2))
                for _ in range(repeats):
                    self.features.add(biased_convolution(width, stage, 3, 1, _SLOPE), _prelu(stage))
                    width = stage
            self.features.add(SpatialPyramid(14, _PYRAMID))
            width *= sum(bins**2 for bins in _PYRAMID)
            for inputs in (width, 4096):
                layer = gluon.nn.Dense(4096, in_units=inputs, weight_initializer=he_initializer(_SLOPE))
                self.features.add(layer, _prelu(4096), gluon.nn.Dropout(0.5))
            self.output = dense(4096, classes)


class SpatialPyramid(gluon.HybridBlock):
    """Spatial pyramid pooling of maps of `size` (He et al. 2014, arXiv:1406.4729, §2.2 and 2.3).

    The input is (N, C, size, size), the output (N, C * sum of squares of `pyramid`): for each level of n x n bins, max
    pooling with windows of ceil(size / n) and strides of floor(size / n).
    """

    def __init__(self, size: int, pyramid: tuple[int, ...], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._levels = [(-(-size // bins), size // bins) for bins in pyramid]

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        levels = [
            F.Pooling(x, kernel=(window, window), stride=(step, step), pool_type="max")
            for window, step in self._levels
        ]
        return F.concat(*[F.flatten(level) for level in levels], dim=1)


def _prelu(channels: int) -> Any:
    layer = gluon.nn.PReLU(in_channels=channels)
    layer.alpha.wd_mult = 0.0
    return layer
