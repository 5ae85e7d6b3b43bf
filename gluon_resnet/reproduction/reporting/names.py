"""The paper's names for networks, errors and figures."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gluon_resnet.analysis.paper import TABLE_1_DEPTHS
from gluon_resnet.reproduction.experiments import CIFAR10, FASHION_MNIST, IMAGENET
from gluon_resnet.reproduction.study import StudiedNet

_FAMILIES = {"plain": "plain", "resnet": "ResNet", "vgg": "VGG"}


@dataclass(frozen=True)
class Subject:
    """The words that a report uses for a data set."""

    name: str
    section: str  # the paper's section
    tested: str  # the error that its tables and figures print: 'test' or 'validation'
    protocol: str  # the protocol of its tables
    figure: int  # the number of the figure with the curves
    classes: int
    printed: bool = True  # whether the paper has figures for it

    @property
    def small_images(self) -> bool:
        """Whether it is reported as the paper reports on CIFAR-10."""
        return self.figure == 6


SUBJECTS = {
    "cifar10": Subject("CIFAR-10", "§4.2", "test", CIFAR10.protocols[0], 6, CIFAR10.classes),
    "fashion-mnist": Subject(
        "Fashion-MNIST", "§4.2", "test", FASHION_MNIST.protocols[0], 6, FASHION_MNIST.classes, False
    ),
    "imagenet": Subject("ImageNet", "§4.1", "validation", IMAGENET.protocols[0], 4, IMAGENET.classes),
}


def label(net: StudiedNet) -> str:
    """'plain-20', 'ResNet-56, seed 1', 'ResNet-20, converted': its kind, and what distinguishes it."""
    if net.source:
        return f"{kind(net)}, converted"
    return f"{kind(net)}, seed {net.seed}" if net.seed else kind(net)


def kind(net: StudiedNet) -> str:
    """'plain-20', 'ResNet-34 B': with its shortcuts if the paper has several options or another one for it."""
    found = re.fullmatch(r"(plain|resnet|vgg)(\d+)", net.network)
    if not found:
        return net.network
    name = f"{_FAMILIES[found[1]]}-{found[2]}"
    own = {18: None, 34: None}.get(net.depth, "B" if net.depth in TABLE_1_DEPTHS else "A")
    return name if net.shortcut in (None, own) else f"{name} {net.shortcut}"
