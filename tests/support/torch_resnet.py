"""The residual networks of torchvision and akamaster in PyTorch, with the names of their state dicts.

Written here, as torchvision is not among the tests' packages; the oracle of what their weights compute.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

UNITS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


class Unit(nn.Module):
    """A basic unit, or a bottleneck with its stride in the 3x3 convolution."""

    def __init__(
        self, channels_in: int, width: int, stride: int, bottleneck: bool, projection: str = ""
    ) -> None:
        super().__init__()
        channels = 4 * width if bottleneck else width
        if bottleneck:
            shapes = [(channels_in, width, 1, 1), (width, width, 3, stride), (width, channels, 1, 1)]
        else:
            shapes = [(channels_in, width, 3, stride), (width, width, 3, 1)]
        self.depth = len(shapes)
        for number, (before, after, kernel, step) in enumerate(shapes, 1):
            convolution = nn.Conv2d(before, after, kernel, step, kernel // 2, bias=False)
            self.add_module(f"conv{number}", convolution)
            self.add_module(f"bn{number}", nn.BatchNorm2d(after))
        self.projection = projection if stride > 1 or channels_in != channels else ""
        self.stride, self.extra = stride, channels - channels_in
        if self.projection:
            convolution = nn.Conv2d(channels_in, channels, 1, stride, bias=False)
            self.add_module(projection, nn.Sequential(convolution, nn.BatchNorm2d(channels)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x
        for number in range(1, self.depth + 1):
            y = getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(y))
            y = torch.relu(y) if number < self.depth else y
        if self.projection:
            x = getattr(self, self.projection)(x)
        elif self.extra:  # akamaster's option A
            half = self.extra // 2
            x = functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, half, half))
        return torch.relu(x + y)


class TorchResNet(nn.Module):
    """torchvision's resnet18 to resnet152; or, for other depths, akamaster's resnet20 to resnet1202.

    `projection` is what akamaster's nets have as shortcuts: '' for option A, 'shortcut' for option B.
    """

    def __init__(self, depth: int, classes: int, projection: str = "") -> None:
        super().__init__()
        self.imagenet = depth in UNITS
        units = UNITS[depth] if self.imagenet else ((depth - 2) // 6,) * 3
        channels = 64 if self.imagenet else 16
        bottleneck, projection = depth in (50, 101, 152), "downsample" if self.imagenet else projection
        if self.imagenet:
            self.conv1 = nn.Conv2d(3, channels, 7, 2, 3, bias=False)
        else:
            self.conv1 = nn.Conv2d(3, channels, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.stages = len(units)
        for stage, count in enumerate(units):
            width = (64 if self.imagenet else 16) << stage
            layer = nn.Sequential()
            for unit in range(count):
                stride = 2 if stage and not unit else 1
                layer.append(Unit(channels, width, stride, bottleneck, projection))
                channels = 4 * width if bottleneck else width
            self.add_module(f"layer{stage + 1}", layer)
        self.add_module("fc" if self.imagenet else "linear", nn.Linear(channels, classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.bn1(self.conv1(x)))
        x = functional.max_pool2d(x, 3, 2, 1) if self.imagenet else x
        for stage in range(1, self.stages + 1):
            x = getattr(self, f"layer{stage}")(x)
        return (self.fc if self.imagenet else self.linear)(x.mean((2, 3)))


def random_net(depth: int, classes: int = 10, projection: str = "", seed: int = 0) -> TorchResNet:
    """In evaluation mode; weights by He's rule, batch normalization with statistics of noise that went through."""
    generator = torch.Generator().manual_seed(seed)
    net = TorchResNet(depth, classes, projection)
    for module in net.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            fan_in = module.weight[0].numel()
            nn.init.normal_(module.weight, std=(2 / fan_in) ** 0.5, generator=generator)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
            nn.init.normal_(module.bias, std=0.2, generator=generator)
            module.momentum = 0.9
    with torch.no_grad():
        net.train()(torch.randn(4, 3, 65, 65, generator=generator))
    return net.eval()
