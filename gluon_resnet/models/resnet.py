"""The network around the units: stem, stages, global average pooling, and one fully connected layer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Optional

from gluon_resnet._mxnet import gluon
from gluon_resnet.models.classifier import Classifier, dense
from gluon_resnet.models.units import (
    Kind,
    PreactivatedUnit,
    Unit,
    Variant,
    convolution,
    normalization,
)


@dataclass(frozen=True)
class Architecture:
    """The architecture of a network, from a column of Table 1 or from §4.2."""

    kind: Kind
    stem_channels: int
    pooled_stem: (
        bool  # 7x7 convolution, stride 2, and 3x3 max pooling, stride 2; otherwise one 3x3 convolution
    )
    units: tuple[int, ...]  # per stage
    channels: tuple[int, ...]  # of the output of each stage


class ResNet(Classifier):
    """A plain or residual network of He et al. 2015 (Table 1, Fig. 3; §4.2), or with the units of He et al. 2016.

    Inputs are normalized images (N, 3, H, W) of any size, outputs (N, classes), before the softmax. Every stage
    except the first halves the size in its first unit. `features` ends with the pooling; `output` is the last layer.
    Plain ``net.initialize()`` uses He initialization.

    Args:
        architecture: the table's entry.
        classes: the number of outputs.
        shortcut: 'A', 'B' or 'C' (§4.1), or None for the plain network.
        variant: an entry of units.VARIANTS; a plain network cannot be preactivated.
        zero_gamma: whether units start as their shortcuts (see Unit and PreactivatedUnit).
    """

    def __init__(
        self,
        architecture: Architecture,
        classes: int,
        shortcut: Optional[str],
        variant: Variant,
        zero_gamma: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        channels = architecture.stem_channels
        with self.name_scope():
            self.features = gluon.nn.HybridSequential(prefix="")
            kernel, stride = (7, 2) if architecture.pooled_stem else (3, 1)
            self.features.add(convolution(3, channels, kernel, stride))
            if not variant.raw_shortcut:
                self.features.add(normalization(channels))
                if variant.stem_relu:
                    self.features.add(gluon.nn.Activation("relu"))
            if architecture.pooled_stem:
                self.features.add(gluon.nn.MaxPool2D(3, 2, padding=1))
            for number, (units, width) in enumerate(zip(architecture.units, architecture.channels), 1):
                stage = gluon.nn.HybridSequential(prefix=f"stage{number}_")
                with stage.name_scope():
                    for index in range(units):
                        stride = 2 if number > 1 and index == 0 else 1
                        make: Any = Unit
                        if variant.preactivated:
                            # "We adopt the first activation right after conv1 and before splitting into two
                            # paths" (He et al. 2016, appendix). GluonCV's ImageNet nets have one in the first
                            # unit as well, after the pooling; its weights fit.
                            first = number == 1 and index == 0 and not architecture.pooled_stem
                            raw = variant.raw_shortcut
                            make = partial(
                                PreactivatedUnit,
                                activated=first and not raw,
                                behind_convolution=first and raw,
                            )
                        stage.add(
                            make(
                                architecture.kind,
                                channels,
                                width,
                                stride,
                                variant,
                                shortcut,
                                zero_gamma,
                                prefix=f"unit{index + 1}_",
                            )
                        )
                        channels = width
                self.features.add(stage)
            if variant.preactivated:
                self.features.add(normalization(channels), gluon.nn.Activation("relu"))
            if architecture.pooled_stem:
                # Without Flatten, a graph fused by oneDNN fails in its second pass after maps of 1x1 (ResNet-18 on
                # 32x32 pixels): "We can't generate TBlob for MKLDNN data".
                self.features.add(gluon.nn.GlobalAvgPool2D(), gluon.nn.Flatten())
            else:
                self.features.add(_SmallPool())
            self.output = dense(channels, classes)


class _SmallPool(gluon.nn.GlobalAvgPool2D):
    """Its base with another operator, for fewer blocks of 16 channels than rows (CIFAR nets: 64 channels, 8 rows).

    There, oneDNN 2.4 gives the gradient of MXNet's Pooling a layout for which it only has slow reference code, in
    all units of the last stage: 177 of the 517 ms of a ResNet-20 step (batch 128, one thread; DNNL_VERBOSE=1).
    """

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return F.contrib.AdaptiveAvgPooling2D(x, output_size=1)
