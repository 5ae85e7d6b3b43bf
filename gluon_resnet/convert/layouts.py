"""Identifies whose weights a file has by the names of all its tensors."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Optional

from gluon_resnet.convert import names
from gluon_resnet.convert.names import Layer, Names, our_layers
from gluon_resnet.convert.weights_file import TORCH_ENDINGS
from gluon_resnet.errors import ModelError, UsageError
from gluon_resnet.models.registry import describe, get_model
from gluon_resnet.terminal import printable

_TORCH_FILES = (*TORCH_ENDINGS, ".safetensors")
_GLUON_FILES = (".params", ".safetensors")
_SHOWN = 3  # the number of names shown in an error


@dataclass(frozen=True)
class Layout:
    """The networks of a project that share one naming scheme."""

    source: str
    title: str
    variant: str
    imagenet: bool  # whether its nets are those of Table 1 rather than §4.2
    names: Names
    endings: tuple[str, ...] = ()  # of the files that it can be written to; () if none
    shortcuts: tuple[str, ...] = ("B",)


LAYOUTS = (
    Layout("torchvision", "torchvision", "v1b", True, names.TORCHVISION, _TORCH_FILES),
    Layout(
        "akamaster",
        "akamaster/pytorch_resnet_cifar10",
        "v1",
        False,
        names.AKAMASTER,
        _TORCH_FILES,
        ("A", "B"),
    ),
    Layout("gluoncv", "GluonCV's resnet*_v1", "v1", True, names.GLUONCV_V1, _GLUON_FILES),
    Layout("gluoncv", "GluonCV's resnet*_v1b", "v1b", True, names.GLUONCV_V1B, _GLUON_FILES),
    Layout("gluoncv", "GluonCV's resnet*_v2", "v2", True, names.GLUONCV_V2, _GLUON_FILES),
    Layout("gluoncv", "GluonCV's resnet*_v1, exported", "v1", True, names.GLUONCV_V1_EXPORTED),
    Layout("gluoncv", "GluonCV's resnet*_v1b, exported", "v1b", True, names.GLUONCV_V1B_EXPORTED),
    Layout("gluoncv", "GluonCV's resnet*_v2, exported", "v2", True, names.GLUONCV_V2_EXPORTED),
    Layout(
        "gluoncv", "GluonCV's cifar_resnet*_v1", "gluoncv_v1", False, names.GLUONCV_CIFAR_V1, _GLUON_FILES
    ),
    Layout(
        "gluoncv", "GluonCV's cifar_resnet*_v2", "gluoncv_v2", False, names.GLUONCV_CIFAR_V2, _GLUON_FILES
    ),
    Layout(
        "gluoncv",
        "GluonCV's cifar_resnet*_v1, exported",
        "gluoncv_v1",
        False,
        names.GLUONCV_CIFAR_V1_EXPORTED,
    ),
    Layout(
        "gluoncv",
        "GluonCV's cifar_resnet*_v2, exported",
        "gluoncv_v2",
        False,
        names.GLUONCV_CIFAR_V2_EXPORTED,
    ),
)
SOURCES = tuple(dict.fromkeys(layout.source for layout in LAYOUTS))


class Match(NamedTuple):
    layout: Layout
    shortcut: str
    layers: list[Layer]  # those of our network


def find(
    path: str,
    found: Collection[str],
    network: str,
    shortcut: Optional[str] = None,
    source: Optional[str] = None,
) -> Match:
    """The layout in which `network` has exactly the tensors named `found`.

    Args:
        path: the path of the file, for errors.
        shortcut: the required shortcut option; None for any.
        source: one of SOURCES; None for any.

    Raises:
        UsageError: no project has this network.
        ModelError: names are missing or left over.
    """
    candidates = _candidates(network, source)
    layouts = [layout for layout in candidates if shortcut in (None, *layout.shortcuts)]
    if not layouts:
        raise UsageError(f"no {network} of {_titles(candidates)} has shortcuts of option {shortcut}")
    distances = []
    networks: dict[tuple[str, str], list[Layer]] = {}  # each built only once
    for layout in layouts:
        for option in layout.shortcuts if shortcut is None else (shortcut,):
            built = (option, layout.variant)
            layers = networks.get(built) or our_layers(get_model(network, 1, *built))
            networks[built] = layers
            expected = dict.fromkeys(n for _, t in layout.names.tensors(layers) for n in t.values())
            missing = [name for name in expected if name not in found]
            left = [name for name in found if name not in expected]
            if not missing and not left:
                return Match(layout, option, layers)
            distances.append((len(missing) + len(left), missing, left, layout.title))
    _, missing, left, title = min(distances, key=lambda distance: distance[0])
    if len(left) == len(found):
        raise ModelError(
            f"{path}: no {network} of {_titles(layouts)} has tensors like {_list(left)}", path=path
        )
    parts = [f"{title} has {_list(missing)}, which the file lacks"] if missing else []
    parts += [f"the file has {_list(left)}, which {title} lacks"] if left else []
    raise ModelError(f"{path}: these are not the weights of {network}: {'; '.join(parts)}", path=path)


def to_write(source: str, network: str, variant: str, shortcut: Optional[str], path: str) -> Match:
    """How `source` names the tensors of our network; UsageError if it has none that computes the same."""
    layouts = [layout for layout in _candidates(network, source) if layout.endings]
    shortcut = describe(network, shortcut, variant).shortcut
    assert shortcut is not None  # it is a residual network
    layers = our_layers(get_model(network, 1, shortcut, variant))
    if all(shortcut not in layout.shortcuts for layout in layouts):
        raise UsageError(f"{source} has no {network} with shortcuts of option {shortcut}")
    layouts = [layout for layout in layouts if same_function(layers, layout.variant, variant)]
    if not layouts:
        raise UsageError(
            f"{source} has no {network} of variant {variant}: its nets compute a different function"
        )
    # If two variants are the same function, as with basic units, the name decides.
    layout = min(layouts, key=lambda layout: layout.variant != variant)
    if os.path.splitext(path)[1] not in layout.endings:
        raise UsageError(f"{path}: weights of {layout.title} are written as {' or '.join(layout.endings)}")
    return Match(layout, shortcut, layers)


def same_function(layers: Sequence[Layer], variant: str, other: str) -> bool:
    """Whether two variants of a network with these layers compute the same function from the same weights."""
    # The first two differ in where a bottleneck, with its three convolutions, has its stride.
    basic = all(layer.place != "body.6" for layer in layers)
    return variant == other or (basic and {variant, other} == {"v1", "v1b"})


def _candidates(network: str, source: Optional[str]) -> list[Layout]:
    """The layouts that have this network; UsageError if there are none."""
    if not re.fullmatch(r"resnet\d+", network):
        raise UsageError(f"{network}: other projects' weights are known only for residual networks")
    imagenet = network in ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
    layouts = [layout for layout in LAYOUTS if layout.imagenet == imagenet]
    layouts = [layout for layout in layouts if source in (None, layout.source)]
    if not layouts:
        family = "CIFAR (resnet20, ...)" if imagenet else "ImageNet (resnet18, ...)"
        raise UsageError(f"{source} has no {network}: its nets are for {family}")
    return layouts


def _titles(layouts: Sequence[Layout]) -> str:
    """The titles of the layouts that can be written: exported ones have the same nets."""
    return _list([layout.title for layout in layouts if layout.endings])


def _list(items: Sequence[str]) -> str:
    shown = ", ".join(printable(item, 60) for item in items[:_SHOWN])
    return shown + (f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else "")
