"""GluonCV's CIFAR networks in Gluon, with the names that its files have: what their weights compute.

Written here, as GluonCV is not among the tests' packages (gluoncv/model_zoo/cifarresnet.py).
"""

from __future__ import annotations

from typing import Any, Optional

from gluon_resnet._mxnet import gluon

nn = gluon.nn


def convolution(channels: int, kernel: int, stride: int = 1) -> Any:
    return nn.Conv2D(channels, kernel, stride, kernel // 2, use_bias=False)


def sequence(*layers: Any) -> Any:
    block = nn.HybridSequential(prefix="")
    block.add(*layers)
    return block


class Unit1(gluon.HybridBlock):
    """Of cifar_resnet*_v1."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__(prefix="")  # its layers are counted through the stage
        self.body = sequence(
            *(convolution(channels, 3, stride), nn.BatchNorm(), nn.Activation("relu")),
            *(convolution(channels, 3), nn.BatchNorm()),
        )
        self.downsample: Optional[Any] = None
        if stride > 1:
            self.downsample = sequence(convolution(channels, 1, stride), nn.BatchNorm())

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return F.relu(self.body(x) + (self.downsample(x) if self.downsample else x))


class Unit2(gluon.HybridBlock):
    """Of cifar_resnet*_v2."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__(prefix="")
        self.bn1, self.conv1 = nn.BatchNorm(), convolution(channels, 3, stride)
        self.bn2, self.conv2 = nn.BatchNorm(), convolution(channels, 3)
        self.downsample = convolution(channels, 1, stride) if stride > 1 else None

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        y = self.conv1(F.relu(self.bn1(x)))
        y = self.conv2(F.relu(self.bn2(y)))
        return y + (self.downsample(x) if self.downsample else x)


class CifarNet(gluon.HybridBlock):
    """cifar_resnet{depth}_v{version}, not initialized."""

    def __init__(self, depth: int, version: int, classes: int = 10) -> None:
        super().__init__(prefix=f"cifarresnetv{version}0_")
        with self.name_scope():
            if version == 1:
                self.features = sequence(convolution(16, 3), nn.BatchNorm())
            else:
                self.features = sequence(nn.BatchNorm(scale=False, center=False), convolution(16, 3))
            for number, channels in enumerate((16, 32, 64), 1):
                stage = nn.HybridSequential(prefix=f"stage{number}_")
                with stage.name_scope():
                    for index in range(depth // 6):
                        stride = 2 if number > 1 and index == 0 else 1
                        stage.add(Unit1(channels, stride) if version == 1 else Unit2(channels, stride))
                self.features.add(stage)
            if version == 2:
                self.features.add(nn.BatchNorm(), nn.Activation("relu"))
            self.features.add(nn.GlobalAvgPool2D())
            self.output = nn.Dense(classes)

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return self.output(self.features(x))
