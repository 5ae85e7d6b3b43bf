"""The building blocks: basic and bottleneck units, plain or with one of the paper's shortcuts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Optional

from gluon_resnet._mxnet import gluon, mx

# §4.1: identity, padded with zeros where dimensions increase; projections there; projections everywhere.
SHORTCUTS = ("A", "B", "C")


class Kind(NamedTuple):
    """The convolutions of a unit in order (He et al. 2015, Fig. 5), each with its batch normalization."""

    kernels: tuple[int, ...]
    narrowing: tuple[int, ...]  # the unit's output channels divided by the convolution's


BASIC = Kind(kernels=(3, 3), narrowing=(1, 1))
BOTTLENECK = Kind(kernels=(1, 3, 1), narrowing=(4, 4, 1))


@dataclass(frozen=True)
class Variant:
    """How units, and the stem before them, differ between publications."""

    strided: Mapping[Kind, int]  # the index of the convolution that has the unit's stride
    preactivated: bool  # normalization and ReLU come before each convolution, and nothing after the sum
    stem_relu: bool = True  # otherwise normalization ends the stem
    raw_shortcut: bool = (
        False  # preactivated units: the shortcut takes x itself, and the stem is a single convolution
    )
    shortcut: Optional[str] = None  # the option when none is given; None: the paper's
    cifar_only: bool = False  # not available for ImageNet nets and plain nets


# v1 is the paper's: "Downsampling is performed by conv3_1, conv4_1, and conv5_1 with a stride of 2" (Table 1).
# v1b is torchvision's. v2 is He et al. 2016 (arXiv:1603.05027, Fig. 4e). Its bottleneck has the stride in the
# 3x3 convolution, as in GluonCV and fb.resnet.torch; KaimingHe/resnet-1k-layers has it in the first 1x1.
# gluoncv_v1 and gluoncv_v2 are GluonCV's cifar_resnet*_v1 and _v2 (gluoncv/model_zoo/cifarresnet.py); its ImageNet
# nets are those above.
VARIANTS = {
    "v1": Variant({BASIC: 0, BOTTLENECK: 0}, preactivated=False),
    "v1b": Variant({BASIC: 0, BOTTLENECK: 1}, preactivated=False),
    "v2": Variant({BASIC: 0, BOTTLENECK: 1}, preactivated=True),
    "gluoncv_v1": Variant({BASIC: 0}, preactivated=False, stem_relu=False, shortcut="B", cifar_only=True),
    "gluoncv_v2": Variant({BASIC: 0}, preactivated=True, raw_shortcut=True, shortcut="B", cifar_only=True),
}


def he_initializer(slope: float = 0) -> Any:
    """A normal distribution of variance 2 / fan-in: ReLU layers keep the scale (§3.4; arXiv:1502.01852, Eq. 10).

    `slope` is that of PReLU below 0 (Eq. 15 there).
    """
    return mx.init.MSRAPrelu(factor_type="in", slope=slope)


def convolution(in_channels: int, channels: int, kernel: int, stride: int = 1, weight: Any = None) -> Any:
    """A convolution that keeps ceil(size / stride), without a bias, since batch normalization has one.

    `weight` initializes it (default: He initialization).
    """
    return gluon.nn.Conv2D(
        channels,
        kernel,
        stride,
        padding=kernel // 2,
        use_bias=False,
        in_channels=in_channels,
        weight_initializer=weight or he_initializer(),
    )


def normalization(channels: int, gamma: str = "ones") -> Any:
    """Batch normalization (§3.4); `gamma` initializes its scale."""
    return gluon.nn.BatchNorm(momentum=0.9, epsilon=1e-5, in_channels=channels, gamma_initializer=gamma)


class Unit(gluon.HybridBlock):
    """ReLU(F(x) + shortcut(x)), He et al. 2015, Eq. 1 and 2; a plain unit is ReLU(F(x)).

    Input (N, in_channels, H, W), output (N, channels, ceil(H / stride), ceil(W / stride)).

    Args:
        kind: the convolutions of F: BASIC or BOTTLENECK.
        in_channels, channels: the numbers of channels of the input and the output.
        stride: the stride of the unit, 1 or 2.
        variant: an entry of VARIANTS that is not preactivated.
        shortcut: one of SHORTCUTS, or None for a plain unit.
        zero_gamma: whether F ends with a scale of 0, so that the unit starts as its shortcut (Goyal et al. 2017, §5.1).
    """

    def __init__(
        self,
        kind: Kind,
        in_channels: int,
        channels: int,
        stride: int,
        variant: Variant,
        shortcut: Optional[str],
        zero_gamma: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        with self.name_scope():
            self.body = gluon.nn.HybridSequential(prefix="")
            for index, (width_in, width, kernel, step) in enumerate(
                _convolutions(kind, in_channels, channels, stride, variant)
            ):
                if index:
                    self.body.add(gluon.nn.Activation("relu"))
                last = index == len(kind.kernels) - 1
                self.body.add(convolution(width_in, width, kernel, step))
                self.body.add(normalization(width, "zeros" if zero_gamma and last else "ones"))
            if shortcut is None:
                self.shortcut = None
            elif _projects(shortcut, in_channels, channels, stride):
                self.shortcut = gluon.nn.HybridSequential(prefix="shortcut_")
                with self.shortcut.name_scope():
                    self.shortcut.add(convolution(in_channels, channels, 1, stride), normalization(channels))
            else:
                self.shortcut = Identity(stride, channels - in_channels, prefix="shortcut_")

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        y = self.body(x)
        if self.shortcut is not None:
            y = F.elemwise_add(y, self.shortcut(x))
        return F.Activation(y, act_type="relu")


class PreactivatedUnit(gluon.HybridBlock):
    """F(x) + shortcut(x), each convolution of F after normalization and ReLU (He et al. 2016, Fig. 4e).

    A shortcut that changes its input takes it after the first normalization and ReLU, without its own
    normalization ("these projection shortcuts are also with pre-activation", appendix; KaimingHe/resnet-1k-layers and
    GluonCV's resnet*_v2), or takes x itself if the variant says so (fb.resnet.torch and GluonCV's cifar_resnet*_v2).

    Args:
        kind, in_channels, channels, stride, shortcut: the arguments of Unit, except that there are no plain units.
        variant: a preactivated entry of VARIANTS.
        activated: whether x has already been normalized and rectified, so that F begins with its first convolution.
        behind_convolution: whether x is the output of a convolution.
        zero_gamma: whether the unit starts as its shortcut. The last scale cannot achieve this here, since a ReLU whose
            output is 0 everywhere has no gradient; instead, the weights of the last convolution are 0.
    """

    def __init__(
        self,
        kind: Kind,
        in_channels: int,
        channels: int,
        stride: int,
        variant: Variant,
        shortcut: str,
        zero_gamma: bool = False,
        activated: bool = False,
        behind_convolution: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._behind_convolution = behind_convolution
        changes = stride > 1 or in_channels != channels or shortcut == "C"
        self._activated_shortcut = changes and not variant.raw_shortcut
        with self.name_scope():
            self.activation = gluon.nn.HybridSequential(prefix="")
            if not activated:
                self.activation.add(normalization(in_channels), gluon.nn.Activation("relu"))
            self.body = gluon.nn.HybridSequential(prefix="")
            for index, (width_in, width, kernel, step) in enumerate(
                _convolutions(kind, in_channels, channels, stride, variant)
            ):
                if index:
                    self.body.add(normalization(width_in), gluon.nn.Activation("relu"))
                last = index == len(kind.kernels) - 1
                weight = mx.init.Zero() if zero_gamma and last else None
                self.body.add(convolution(width_in, width, kernel, step, weight))
            if _projects(shortcut, in_channels, channels, stride):
                self.shortcut = gluon.nn.HybridSequential(prefix="shortcut_")
                with self.shortcut.name_scope():
                    self.shortcut.add(convolution(in_channels, channels, 1, stride))
            else:
                self.shortcut = Identity(stride, channels - in_channels, prefix="shortcut_")

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        if self._behind_convolution:
            # Otherwise MXNet's oneDNN fusion, which Module and the C predict API do by default, moves the normalization
            # into the convolution, and the shortcut gets its result instead of x. An identity would be dropped.
            x = x * 1
        y = self.activation(x)
        return F.elemwise_add(self.body(y), self.shortcut(y if self._activated_shortcut else x))


def _convolutions(
    kind: Kind, in_channels: int, channels: int, stride: int, variant: Variant
) -> list[tuple[int, int, int, int]]:
    """The input channels, channels, kernel and stride of each convolution of F."""
    widths = [channels // narrowing for narrowing in kind.narrowing]
    strides = [stride if index == variant.strided[kind] else 1 for index in range(len(widths))]
    return list(zip([in_channels, *widths], widths, kind.kernels, strides))


def _projects(shortcut: str, in_channels: int, channels: int, stride: int) -> bool:
    return shortcut == "C" or (shortcut == "B" and (stride > 1 or in_channels != channels))


class Identity(gluon.HybridBlock):
    """Shortcut option A (§3.3, §4.1): every `stride`-th pixel, and `extra` channels of zeros, without parameters.

    The paper does not say where the zeros go. Here half are before and half after, as in the CIFAR nets of
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
            # MXNet pads all axes except the first two: an extra axis makes the channels the third.
            before = self._extra // 2
            width = (0, 0, 0, 0, before, self._extra - before, 0, 0, 0, 0)
            x = F.expand_dims(x, axis=1)
            x = F.squeeze(F.pad(x, mode="constant", constant_value=0, pad_width=width), axis=1)
        return x
