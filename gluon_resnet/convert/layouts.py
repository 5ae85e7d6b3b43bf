"""Whose weights a file has: told by the names of its tensors, all of them."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Optional

from gluon_resnet.convert import names
from gluon_resnet.convert.names import Names
from gluon_resnet.convert.weights_file import TORCH_ENDINGS
from gluon_resnet.errors import ModelError, UsageError
from gluon_resnet.models.registry import describe
from gluon_resnet.models.resnet import Architecture
from gluon_resnet.models.units import VARIANTS, Kind

_TORCH_FILES = (*TORCH_ENDINGS, ".safetensors")
_GLUON_FILES = (".params", ".safetensors")
_SHOWN = 3  # names in an error


@dataclass(frozen=True)
class Layout:
    """The networks that a project has under one way of naming."""

    source: str
    title: str
    variant: str
    imagenet: bool  # its nets are those of Table 1, else those of §4.2
    shortcuts: tuple[str, ...]
    names: Names
    endings: tuple[str, ...] = ()  # of files that are written so; (): none is
    refusal: str = ""  # why its nets cannot be ours

    @property
    def counts_batches(self) -> bool:
        """Whether a normalization may have PyTorch's num_batches_tracked, which nothing here needs."""
        return self.names.words == "torch"


_NO_RELU = "GluonCV's CIFAR nets have no ReLU behind their first normalization: ours compute another function"

LAYOUTS = (
    Layout("torchvision", "torchvision", "v1b", True, ("B",), names.TORCHVISION, _TORCH_FILES),
    Layout(
        "akamaster",
        "akamaster/pytorch_resnet_cifar10",
        "v1",
        False,
        ("A", "B"),
        names.AKAMASTER,
        _TORCH_FILES,
    ),
    Layout("gluoncv", "GluonCV's resnet*_v1", "v1", True, ("B",), names.GLUONCV_V1, _GLUON_FILES),
    Layout("gluoncv", "GluonCV's resnet*_v1b", "v1b", True, ("B",), names.GLUONCV_V1B, _GLUON_FILES),
    Layout("gluoncv", "GluonCV's resnet*_v1, exported", "v1", True, ("B",), names.GLUONCV_V1_EXPORTED),
    Layout("gluoncv", "GluonCV's resnet*_v1b, exported", "v1b", True, ("B",), names.GLUONCV_V1B_EXPORTED),
    Layout(
        "gluoncv", "GluonCV's cifar_resnet*_v1", "v1", False, ("B",), names.GLUONCV_CIFAR_V1, refusal=_NO_RELU
    ),
)
SOURCES = tuple(dict.fromkeys(layout.source for layout in LAYOUTS))


class Match(NamedTuple):
    layout: Layout
    shortcut: str


def ours(architecture: Architecture) -> Names:
    """How our own checkpoints name the tensors of this network."""
    return names.OURS if architecture.pooled_stem else names.OURS_CIFAR


def same_function(kind: Kind, variant: str, other: str) -> bool:
    """Whether two variants of a network with such units compute the same from the same weights."""
    return VARIANTS[variant][kind] == VARIANTS[other][kind]


def candidates(network: str, source: Optional[str]) -> list[Layout]:
    """The layouts that have this network; UsageError where there is none."""
    architecture, _ = describe(network, None, "v1")
    if network.startswith("plain"):
        raise UsageError(f"{network}: nobody else's weights are for plain networks")
    found = [
        layout
        for layout in LAYOUTS
        if layout.imagenet == architecture.pooled_stem and source in (None, layout.source)
    ]
    if not found:
        raise UsageError(f"{source} has no {network}: its nets are {_family(not architecture.pooled_stem)}")
    return found


def find(
    path: str,
    found: Collection[str],
    network: str,
    shortcut: Optional[str] = None,
    source: Optional[str] = None,
) -> Match:
    """Whose weights of `network` have exactly the names `found`.

    Args:
        path: for the error.
        shortcut: only networks with this option; None: any.
        source: one of SOURCES; None: any.

    Raises:
        UsageError: nobody has this network.
        ModelError: names are missing or left over.
    """
    architecture, _ = describe(network, None, "v1")
    layouts = candidates(network, source)
    options = [Match(layout, option) for layout in layouts for option in layout.shortcuts]
    options = [match for match in options if shortcut in (None, match.shortcut)]
    if not options:
        raise UsageError(
            f"no {network} of {_list([layout.title for layout in layouts])} has shortcuts of option {shortcut}"
        )
    distances = []
    for match in options:
        layers = match.layout.names.layers(architecture, match.shortcut)
        expected = dict.fromkeys(name for layer in layers for name in layer.tensors.values())
        missing = [name for name in expected if name not in found]
        left = [name for name in found if name not in expected]
        if not missing and not left:
            if match.layout.refusal:
                raise ModelError(f"{path}: {match.layout.refusal}", path=path)
            return match
        distances.append((len(missing) + len(left), missing, left, match.layout.title))
    _, missing, left, title = min(distances, key=lambda distance: distance[0])
    if len(left) == len(found):
        known = _list(sorted({layout.title for layout in layouts}))
        raise ModelError(f"{path}: no {network} of {known} has tensors like {_list(left)}", path=path)
    parts = [f"{title} has {_list(missing)}, which the file lacks"] if missing else []
    parts += [f"the file has {_list(left)}, which {title} lacks"] if left else []
    raise ModelError(f"{path}: these are not the weights of {network}: {'; '.join(parts)}", path=path)


def to_write(source: str, network: str, variant: str, shortcut: Optional[str], path: str) -> Match:
    """How `source` names the tensors of our network; UsageError where it has none that computes the same."""
    architecture, shortcut = describe(network, shortcut, variant)
    layouts = [layout for layout in candidates(network, source) if layout.endings or layout.refusal]
    if shortcut not in {option for layout in layouts for option in layout.shortcuts}:
        raise UsageError(f"{source} has no {network} with shortcuts of option {shortcut}")
    layouts = [layout for layout in layouts if same_function(architecture.kind, layout.variant, variant)]
    if not layouts:
        raise UsageError(
            f"{source} has no {network} of variant {variant}: its weights would be for another function"
        )
    # Where the variants are the same function, as with basic units, the name decides.
    layout = min(layouts, key=lambda layout: layout.variant != variant)
    if layout.refusal:
        raise UsageError(layout.refusal)
    if os.path.splitext(path)[1] not in layout.endings:
        raise UsageError(f"{path}: {layout.title} is written as {' or '.join(layout.endings)}")
    assert shortcut is not None
    return Match(layout, shortcut)


def _family(imagenet: bool) -> str:
    return "those of Table 1 (resnet18, ...)" if imagenet else "those for CIFAR (resnet20, ...)"


def _list(items: Sequence[str]) -> str:
    shown = ", ".join(item[:60] for item in items[:_SHOWN])
    return shown + (f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else "")
