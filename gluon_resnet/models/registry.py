"""The names of the networks and what each stands for."""

from __future__ import annotations

import re
from typing import Optional

from gluon_resnet.errors import UsageError
from gluon_resnet.models.resnet import Architecture, ResNet
from gluon_resnet.models.units import BASIC, BOTTLENECK, SHORTCUTS, VARIANTS

# Table 1: the unit and how many of them conv2_x to conv5_x have.
_IMAGENET = {
    18: (BASIC, (2, 2, 2, 2)),
    34: (BASIC, (3, 4, 6, 3)),
    50: (BOTTLENECK, (3, 4, 6, 3)),
    101: (BOTTLENECK, (3, 4, 23, 3)),
    152: (BOTTLENECK, (3, 8, 36, 3)),
}
_IMAGENET_CHANNELS = {BASIC: (64, 128, 256, 512), BOTTLENECK: (256, 512, 1024, 2048)}

# §4.2 and Table 6. Any depth 6n+2 exists; those that are an ImageNet net as well (50, 152) mean that one.
_CIFAR = (20, 32, 44, 56, 110, 1202)


def model_names() -> list[str]:
    """The networks of the paper, each residual and plain; `get_model` knows every CIFAR depth 6n+2."""
    return [f"{family}{depth}" for family in ("resnet", "plain") for depth in (*_IMAGENET, *_CIFAR)]


def get_model(
    name: str,
    classes: int = 1000,
    shortcut: Optional[str] = None,
    variant: str = "v1",
    zero_gamma: bool = False,
) -> ResNet:
    """The network `name`, not initialized; its input is normalized (see `with_normalization`).

    Args:
        name: 'resnet' or 'plain' and a depth: 18, 34, 50, 101, 152 (Table 1), or 6n+2 (§4.2).
        classes: number of outputs.
        shortcut: 'A', 'B' or 'C' (§4.1); None: the paper's, 'B' for ImageNet and 'A' for CIFAR nets.
        variant: 'v1' as in the paper, or 'v1b': the stride of a bottleneck is in its 3x3 convolution.
        zero_gamma: the last scale of each residual unit begins at 0 (Goyal et al. 2017, §5.1).

    Raises:
        UsageError: there is no such network, shortcut or variant, or they do not go together.
    """
    architecture, shortcut = describe(name, shortcut, variant)
    if classes < 1:
        raise UsageError(f"a network has at least one class, not {classes}")
    if zero_gamma and shortcut is None:
        raise UsageError(
            f"{name} has no shortcuts: with zero_gamma it would put out the same for every image"
        )
    strided = VARIANTS[variant][architecture.kind]
    return ResNet(architecture, classes, shortcut, strided, zero_gamma, prefix=f"{name}_")


def split_variant(name: str) -> tuple[str, Optional[str]]:
    """A name as GluonCV writes it: 'resnet50_v1b' is ('resnet50', 'v1b'), 'resnet50' is ('resnet50', None)."""
    network, _, variant = name.rpartition("_")
    return (network, variant) if network and variant in VARIANTS else (name, None)


def describe(name: str, shortcut: Optional[str], variant: str) -> tuple[Architecture, Optional[str]]:
    """What `get_model` builds, with the default shortcut put in; the same arguments, the same errors."""
    match = re.fullmatch(r"(resnet|plain)([1-9][0-9]{0,3})", name)
    family, depth = (match[1], int(match[2])) if match else ("", 0)
    if depth in _IMAGENET:
        kind, units = _IMAGENET[depth]
        architecture = Architecture(kind, 64, True, units, _IMAGENET_CHANNELS[kind])
    elif depth >= 8 and depth % 6 == 2:
        architecture = Architecture(BASIC, 16, False, (depth // 6,) * 3, (16, 32, 64))
    else:
        raise UsageError(
            f"there is no network {name!r}: choose one of {', '.join(model_names())}, "
            "or another CIFAR net of depth 6n+2 (resnet8, resnet14, ...)"
        )
    if variant not in VARIANTS:
        raise UsageError(f"there is no variant {variant!r}: choose one of {', '.join(VARIANTS)}")
    if family == "plain":
        if shortcut is not None:
            raise UsageError(f"{name} is a plain network without shortcuts: leave shortcut {shortcut!r} out")
        return architecture, None
    if shortcut is None:
        shortcut = "B" if architecture.pooled_stem else "A"
    if shortcut not in SHORTCUTS:
        raise UsageError(f"there is no shortcut option {shortcut!r}: choose one of {', '.join(SHORTCUTS)}")
    return architecture, shortcut
