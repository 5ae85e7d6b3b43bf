"""The building blocks: basic and bottleneck units, plain or with one of the paper's shortcuts."""

from __future__ import annotations

from typing import Any, NamedTuple, Optional

from gluon_resnet._mxnet import gluon, mx

# §4.1: identity, padded with zeros where dimensions increase; projections there; projections everywhere.
SHORTCUTS = ("A", "B", "C")


class Kind(NamedTuple):
    """The convolutions of a unit in order (He et al. 2015, Fig. 5), each followed by batch normalization."""

    kernels: tuple[int, ...]
    narrowing: tuple[int, ...]  # the unit's output channels, divided by this, are the convolution's


BASIC = Kind(kernels=(3, 3), narrowing=(1, 1))
BOTTLENECK = Kind(kernels=(1, 3, 1), narrowing=(4, 4, 1))

# Which convolution of a unit carries its stride. 'v1', the first, is the paper's: "Downsampling is performed
# by conv3_1, conv4_1, and conv5_1 with a stride of 2" (Table 1). 'v1b' is torchvision's.
VARIANTS = {
    "v1": {BASIC: 0, BOTTLENECK: 0},
    "v1b": {BASIC: 0, BOTTLENECK: 1},
}


def he_initializer() -> Any:
    """Normal of variance 2 / fan-in: ReLU layers keep the scale (§3.4; arXiv:1502.01852, Eq. 10)."""
    return mx.init.MSRAPrelu(factor_type="in", slope=0)


def convolution(
    in_channels: int, channels: int, kernel: int, stride: int = 1, gamma: str = "ones"
) -> list[Any]:
    """A convolution that keeps ceil(size / stride), without bias, and its batch normalization (§3.4).

    `gamma` initializes the scale of the normalization.
    """
    return [
        gluon.nn.Conv2D(
            channels,
            kernel,
            stride,
            padding=kernel // 2,
            use_bias=False,  # batch normalization has one
            in_channels=in_channels,
            weight_initializer=he_initializer(),
        ),
        gluon.nn.BatchNorm(momentum=0.9, epsilon=1e-5, in_channels=channels, gamma_initializer=gamma),
    ]


class Unit(gluon.HybridBlock):
    """ReLU(F(x) + shortcut(x)), He et al. 2015, Eq. 1 and 2; a plain unit is ReLU(F(x)).

    Input (N, in_channels, H, W), output (N, channels, ceil(H / stride), ceil(W / stride)).

    Args:
        kind: BASIC or BOTTLENECK: the convolutions of F.
        in_channels, channels: of the input and the output.
        stride: 1 or 2, carried by convolution number `strided` of F.
        strided: an entry of VARIANTS.
        shortcut: one of SHORTCUTS, or None for a plain unit.
        zero_gamma: F ends with a scale of 0, so that the unit begins as its shortcut (Goyal et al. 2017, §5.1).
    """

    def __init__(
        self,
        kind: Kind,
        in_channels: int,
        channels: int,
        stride: int,
        strided: int,
        shortcut: Optional[str],
        zero_gamma: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        projects = shortcut == "C" or (shortcut == "B" and (stride > 1 or in_channels != channels))
        with self.name_scope():
            self.body = gluon.nn.HybridSequential(prefix="")
            width_in = in_channels
            for index, (kernel, narrowing) in enumerate(zip(kind.kernels, kind.narrowing)):
                if index:
                    self.body.add(gluon.nn.Activation("relu"))
                width = channels // narrowing
                last = index == len(kind.kernels) - 1
                gamma = "zeros" if zero_gamma and last else "ones"
                self.body.add(*convolution(width_in, width, kernel, stride if index == strided else 1, gamma))
                width_in = width
            if shortcut is None:
                self.shortcut = None
            elif projects:
                self.shortcut = gluon.nn.HybridSequential(prefix="shortcut_")
                with self.shortcut.name_scope():
                    self.shortcut.add(*convolution(in_channels, channels, 1, stride))
            else:
                self.shortcut = Identity(stride, channels - in_channels, prefix="shortcut_")

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        y = self.body(x)
        if self.shortcut is not None:
            y = F.elemwise_add(y, self.shortcut(x))
        return F.Activation(y, act_type="relu")


class Identity(gluon.HybridBlock):
    """Shortcut option A (§3.3, §4.1): every `stride`-th pixel, and `extra` channels of zeros; no parameters.

    The paper does not say where the zeros stand. Half before and half after, as in the CIFAR nets of
    TensorFlow's models and akamaster/pytorch_resnet_cifar10, whose weights can be used as they are.
    """

    def __init__(self, stride: int, extra: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._stride = stride
        self._extra = extra

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        if self._stride > 1:
            # Pooling over single pixels subsamples twice as fast as a strided slice and its gradient.
            x = F.Pooling(x, kernel=(1, 1), stride=(self._stride, self._stride), pool_type="avg")
        if self._extra:
            # MXNet pads all axes but the first two: an extra axis makes the channels the third.
            before = self._extra // 2
            width = (0, 0, 0, 0, before, self._extra - before, 0, 0, 0, 0)
            x = F.expand_dims(x, axis=1)
            x = F.squeeze(F.pad(x, mode="constant", constant_value=0, pad_width=width), axis=1)
        return x
