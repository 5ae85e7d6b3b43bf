"""The names of the networks, and the network that each stands for."""

from __future__ import annotations

import re
from functools import partial
from typing import Any, Callable, NamedTuple, Optional

from gluon_resnet.errors import UsageError
from gluon_resnet.models.inception import BN_INCEPTION, GOOGLENET, InceptionNet
from gluon_resnet.models.nearest import nearest
from gluon_resnet.models.prelu_net import PRELU_NETS, PReluNet
from gluon_resnet.models.resnet import Architecture, ResNet
from gluon_resnet.models.units import BASIC, BOTTLENECK, SHORTCUTS, VARIANTS
from gluon_resnet.models.vgg import VGG, Vgg

# Table 1: the kind of unit, and the number of units in conv2_x to conv5_x.
_IMAGENET = {
    18: (BASIC, (2, 2, 2, 2)),
    34: (BASIC, (3, 4, 6, 3)),
    50: (BOTTLENECK, (3, 4, 6, 3)),
    101: (BOTTLENECK, (3, 4, 23, 3)),
    152: (BOTTLENECK, (3, 8, 36, 3)),
}
_IMAGENET_CHANNELS = {BASIC: (64, 128, 256, 512), BOTTLENECK: (256, 512, 1024, 2048)}

# §4.2 and Table 6. Any depth 6n+2 exists; depths that are also ImageNet nets (50, 152) mean those.
_CIFAR = (20, 32, 44, 56, 110, 1202)


class Network(NamedTuple):
    """The network that a name stands for."""

    build: Callable[..., Any]  # a function of classes and prefix
    shortcut: Optional[str]  # with the default filled in; None if it has none
    size: Optional[int] = None  # of the images, if its layers require it; None: any
    own_size: int = 224  # of the images that it was designed for


# The paper's rivals (Tables 3 to 5). The fully connected layers of VGG and PReLU-nets take one size.
_RIVALS = {
    **{f"vgg{depth}": Network(partial(Vgg, layers, False), None, 224) for depth, layers in VGG.items()},
    **{f"vgg{depth}_bn": Network(partial(Vgg, layers, True), None, 224) for depth, layers in VGG.items()},
    "googlenet": Network(partial(InceptionNet, GOOGLENET, False), None),
    "bn_inception": Network(partial(InceptionNet, BN_INCEPTION, True), None),
    **{f"prelu_net_{x}": Network(partial(PReluNet, *net), None, 224) for x, net in PRELU_NETS.items()},
}


_OF_OTHERS = {"inception-bn": "bn_inception"}  # MXNet's example/image-classification


def model_names() -> list[str]:
    """The paper's residual and plain networks, and its rivals; `get_model` also knows every CIFAR depth 6n+2."""
    ours = [f"{family}{depth}" for family in ("resnet", "plain") for depth in (*_IMAGENET, *_CIFAR)]
    return [*ours, *_RIVALS]


def get_model(
    name: str,
    classes: int = 1000,
    shortcut: Optional[str] = None,
    variant: Optional[str] = None,
    zero_gamma: bool = False,
) -> Any:
    """The network `name`, an uninitialized Classifier; its input must be normalized (see `with_normalization`).

    Plain ``net.initialize()`` uses He initialization, even for the rivals: VGG's own does not converge at 19 layers.
    `gluon_resnet.model_zoo.get_model` also loads published weights.

    Args:
        name: 'resnet' or 'plain' followed by a depth: 18, 34, 50, 101, 152 (Table 1), or 6n+2 (§4.2); or one of the
            rivals in `model_names`, which have neither shortcuts nor variants. A variant may follow: 'resnet50_v1b'.
            GluonCV's 'cifar_resnet20_v1' is 'resnet20_gluoncv_v1'.
        classes: the number of outputs.
        shortcut: 'A', 'B' or 'C' (§4.1); None for the paper's choice, 'B' for ImageNet and 'A' for CIFAR nets, and
            'B' for GluonCV's variants.
        variant: 'v1', the default, as in the paper; 'v1b', with the stride of a bottleneck in its 3x3 convolution;
            'v2', with pre-activated units (He et al. 2016); or 'gluoncv_v1' and 'gluoncv_v2', GluonCV's cifar_resnet
            nets, which differ from v1 and v2 in the stem and in the shortcuts' input (only residual CIFAR nets).
        zero_gamma: whether residual units start as their shortcuts (Goyal et al. 2017, §5.1).

    Raises:
        UsageError: there is no such network, shortcut or variant, or they cannot be combined.
    """
    name, variant = choose_variant(name, variant)
    network = describe(name, shortcut, variant or "v1", zero_gamma)
    if not 1 <= classes < 2**31:
        raise UsageError(f"classes: expected from 1 to {2**31 - 1}, found {classes}")
    return network.build(classes=classes, prefix=f"{name}_")


def split_variant(name: str) -> tuple[str, Optional[str]]:
    """The network and the variant of a name as it is here, in GluonCV or in MXNet's examples.

    'resnet50_v1b' is ('resnet50', 'v1b'), 'resnet50' ('resnet50', None), and 'cifar_resnet20_v1' of GluonCV
    ('resnet20', 'gluoncv_v1').
    """
    cifar = re.fullmatch(r"cifar_(resnet[0-9]+)_(v[12])", name)
    if cifar:
        return cifar[1], f"gluoncv_{cifar[2]}"
    if name.lower().startswith("cifar"):  # GluonCV's, misspelled: its v1 is not ours
        return name, None
    # The longest first: resnet20_gluoncv_v1 also ends with _v1.
    for variant in sorted(VARIANTS, key=len, reverse=True):
        network = name.removesuffix(f"_{variant}")
        if network not in ("", name):
            return network, variant
    return _OF_OTHERS.get(name, name), None


def choose_variant(name: str, variant: Optional[str]) -> tuple[str, Optional[str]]:
    """The network and variant from two options, of which the first may name both; UsageError if they differ."""
    network, named = split_variant(name)
    if named is not None and variant not in (None, named):
        raise UsageError(f"--network {name} and --variant {variant} name different variants")
    return network, named or variant


def describe(
    name: str, shortcut: Optional[str] = None, variant: str = "v1", zero_gamma: bool = False
) -> Network:
    """The network that `get_model` builds, with the same arguments and errors."""
    if variant not in VARIANTS:
        raise UsageError(f"there is no variant {variant!r}: choose one of {', '.join(VARIANTS)}")
    if shortcut is not None and shortcut not in SHORTCUTS:
        raise UsageError(f"there is no shortcut option {shortcut!r}: choose one of {', '.join(SHORTCUTS)}")
    if name in _RIVALS:
        network = _RIVALS[name]
        if variant != "v1":
            raise UsageError(f"{name} is not a residual network: omit variant {variant!r}")
    else:
        network = _table(name, shortcut, variant, zero_gamma)
    if network.shortcut is None and shortcut is not None:
        raise UsageError(f"{name} is a network without shortcuts: omit shortcut {shortcut!r}")
    if network.shortcut is None and zero_gamma:
        raise UsageError(
            f"{name} has no shortcuts: its units cannot start as them, so omit zero_gamma (--last-gamma)"
        )
    return network


def _table(name: str, shortcut: Optional[str], variant: str, zero_gamma: bool) -> Network:
    """A residual or plain network."""
    match = re.fullmatch(r"(resnet|plain)([1-9][0-9]{0,3})", name)
    family, depth = (match[1], int(match[2])) if match else ("", 0)
    if depth in _IMAGENET:
        kind, units = _IMAGENET[depth]
        architecture = Architecture(kind, 64, True, units, _IMAGENET_CHANNELS[kind])
    elif depth >= 8 and depth % 6 == 2:
        architecture = Architecture(BASIC, 16, False, (depth // 6,) * 3, (16, 32, 64))
    else:
        raise UsageError(f"there is no network {name[:60]!r}: {_way_out(name, bool(match))}")
    if VARIANTS[variant].cifar_only and (family == "plain" or architecture.pooled_stem):
        raise UsageError(
            f"variant {variant!r} is only for residual CIFAR nets (resnet20, ...): omit it for {name}"
        )
    if family == "plain":
        if VARIANTS[variant].preactivated:
            raise UsageError(
                f"{name} has no shortcuts, and without them pre-activation changes nothing: "
                f"omit variant {variant!r}"
            )
        own = None
    else:
        own = shortcut or VARIANTS[variant].shortcut or ("B" if architecture.pooled_stem else "A")
    build = partial(ResNet, architecture, shortcut=own, variant=VARIANTS[variant], zero_gamma=zero_gamma)
    return Network(build, own, own_size=224 if architecture.pooled_stem else 32)


def _way_out(name: str, possible: bool) -> str:
    """What to write instead of a name that no network has; `possible` says that only its depth is wrong."""
    if name in ("resnet", "plain"):
        return f"add its depth, {name}50, or --num-layers 50"
    names = model_names()
    variants = [
        f"{network}_{variant}" for network in names if network.startswith("resnet") for variant in VARIANTS
    ]
    likely = [] if possible else nearest(name, [*names, *variants])
    if likely:
        return f"did you mean {' or '.join(likely)}?"
    return f"choose one of {', '.join(names)}, or another CIFAR net of depth 6n+2 (resnet8, resnet14, ...)"
