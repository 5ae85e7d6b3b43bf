"""The paper's observations on layer responses (He et al. 2015, §4.2, Figure 7), checked on ours."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from gluon_resnet.reproduction.reporting.names import label
from gluon_resnet.reproduction.study import StudiedNet


@dataclass(frozen=True)
class Observation:
    """A comparison of two networks."""

    sentence: str
    holds: bool  # whether it is as in the paper


def figure_7(nets: Sequence[StudiedNet]) -> list[StudiedNet]:
    """The networks whose responses of 3x3 layers are known, by depth, the plain one first."""
    return sorted((net for net in nets if stds(net)), key=lambda net: (net.depth, not net.plain))


def stds(net: StudiedNet) -> tuple[float, ...]:
    """The standard deviations of its 3x3 layers, in order; empty if not measured."""
    return net.responses.stds if net.responses else ()


def smaller_than_plain(nets: Sequence[StudiedNet]) -> list[Observation]:
    """Whether ResNets generally have smaller responses than plain nets of the same depth that were trained here."""
    found, trained = [], [net for net in figure_7(nets) if not net.source]
    for plain in (net for net in trained if net.plain):
        for residual in trained:
            if residual.plain or residual.depth != plain.depth:
                continue
            sentence, holds = _compared(residual, plain)
            if len(stds(residual)) == len(stds(plain)):
                fewer = sum(ours < theirs for ours, theirs in zip(stds(residual), stds(plain)))
                sentence += f", and smaller in {fewer} of {len(stds(plain))} layers"
            found.append(Observation(f"{sentence}.", holds))
    return found


def smaller_with_depth(nets: Sequence[StudiedNet]) -> list[Observation]:
    """Whether deeper ResNets have smaller responses: each compared with the next deeper one trained alike.

    That is one with shortcuts of the same option, from the same project.
    """
    found, groups = [], defaultdict[tuple[str, str], list[StudiedNet]](list)
    for net in figure_7(nets):
        if net.shortcut:
            groups[net.source.project if net.source else "", net.shortcut].append(net)
    for _, group in sorted(groups.items()):
        for shallow, deep in zip(group, group[1:]):
            sentence, holds = _compared(deep, shallow)
            found.append(Observation(f"{sentence}.", holds))
    return found


def _compared(first: StudiedNet, second: StudiedNet) -> tuple[str, bool]:
    ours, theirs = fmean(stds(first)), fmean(stds(second))
    how = "smaller" if ours < theirs else "not smaller"
    return (
        f"{label(first)}'s are {how} than {label(second)}'s: {ours:.3f} and {theirs:.3f} on average",
        ours < theirs,
    )
