"""The paper's experiments on a data set: the networks, the recipe that trains them, and the tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Optional

from gluon_resnet.analysis.paper import reference
from gluon_resnet.reproduction.nets import PlannedNet


@dataclass(frozen=True)
class Experiment:
    """What all networks of a study have in common."""

    data_set: str  # 'cifar10', 'fashion-mnist' or 'imagenet'
    nets: tuple[str, ...]  # the default choice, in the words of planned_nets
    own_shortcut: str  # for residual networks whose name gives none
    classes: int
    size: int  # of the networks' input, in pixels
    training_images: int
    test_images: int
    recipe: str  # the paper's
    short_recipe: (
        str  # for a schedule with a given number of epochs, where the learning rate falls at fixed times ...
    )
    steps: tuple[float, ...]  # ... which are these parts of it
    protocols: tuple[
        str, ...
    ]  # those that every network is tested by; the first decides which network is the best
    scales: Optional[tuple[int, ...]]  # for multi-scale; None for the paper's
    responses: bool  # whether the paper analyses the layers' responses

    def training(self, epochs: Optional[int]) -> list[str]:
        """The arguments of train.py for `epochs`; None for the paper's schedule."""
        if epochs is None:
            return ["--recipe", self.recipe]
        at = ",".join(f"{part * epochs:g}" for part in self.steps)
        return ["--recipe", self.short_recipe, "--num-epochs", str(epochs), "--lr-step-epochs", at]

    def protocols_of(self, net: PlannedNet) -> list[str]:
        """How the network is tested: as in the paper if the paper has such a network, otherwise by one test."""
        if net.seed or net.converted:
            return [*self.protocols[:1]]
        listed = (
            reference(net.network, net.shortcut, "v1", "multi-scale") if self.data_set == "imagenet" else None
        )
        return [*self.protocols, *(["multi-scale"] if listed else [])]

    def ensembles(self, nets: Sequence[PlannedNet]) -> list[tuple[str, tuple[PlannedNet, ...]]]:
        """Protocols, and the networks tested together: the residual ones, as in the paper, and then all of them."""
        nets = [net for net in nets if not net.seed]
        if self.data_set == "imagenet":
            members = tuple(net for net in nets if "multi-scale" in self.protocols_of(net))
            return [("multi-scale", members)] if len(members) > 1 else []
        groups = dict.fromkeys((tuple(net for net in nets if net.shortcut), tuple(nets)))
        return [(protocol, group) for group in groups if len(group) > 1 for protocol in self.protocols]


# §4.2. Figure 6 and Table 6 have more nets; see --nets. "For testing, we only evaluate the single view of the original
# 32x32 image." Ten crops would be the size of the image; at one scale, multi-scale is the image and its mirror image.
CIFAR10 = Experiment(
    data_set="cifar10",
    nets=("plain20", "plain56", "resnet20", "resnet56"),
    own_shortcut="A",
    classes=10,
    size=32,
    training_images=50_000,
    test_images=10_000,
    recipe="cifar10",
    short_recipe="cifar10",
    steps=(0.5, 0.75),  # "divide it by 10 at 32k and 48k iterations, and terminate training at 64k"
    protocols=("1-crop", "multi-scale"),
    scales=(32,),
    responses=True,
)

# Not in the paper: §4.2's networks and schedule on another data set of small images, which is free and lossless.
FASHION_MNIST = replace(CIFAR10, data_set="fashion-mnist", training_images=60_000)

# §4.1: Figure 4 and Table 2 (option A), Table 3 (A, B, C, and deeper nets of option B), Table 4 (B and C).
IMAGENET = Experiment(
    data_set="imagenet",
    nets=(
        *("plain18", "resnet18-A", "plain34", "resnet34-A"),
        *("resnet34-B", "resnet34-C", "resnet50", "resnet101", "resnet152"),
    ),
    own_shortcut="B",
    classes=1000,
    size=224,
    training_images=1_281_167,
    test_images=50_000,
    recipe="imagenet",
    short_recipe="imagenet-steps",
    steps=(0.25, 0.5, 0.75),  # imagenet-steps has 30, 60 and 90 of 120
    protocols=("10-crop",),
    scales=None,
    responses=False,
)

EXPERIMENTS = {experiment.data_set: experiment for experiment in (CIFAR10, FASHION_MNIST, IMAGENET)}
