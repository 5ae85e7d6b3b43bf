"""The standard deviations of layer responses, drawn as in the paper's Figure 7."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Optional

from gluon_resnet.analysis.figures import legend_below, legend_label, new_figure, svg_element, write_figure
from gluon_resnet.analysis.responses import Responses

_SAYS = "Standard deviations of layer responses, by layer and by size"


def draw_responses(path: str, responses: Sequence[Responses]) -> None:
    """Write the figure as PNG or SVG: above, the 3x3 layers in their order; below, in descending order of their std.

    Each network has a color, and plain ones are dashed.

    Raises the errors of `write_figure`.
    """
    write_figure(path, lambda: _figure(responses), _SAYS)


def responses_svg(responses: Sequence[Responses]) -> str:
    """The same as an <svg> element for a page with a light or a dark background."""
    return svg_element(lambda: _figure(responses), _SAYS)


def _figure(responses: Sequence[Responses]) -> Any:
    figure = new_figure(9, 6)
    original, ranked = figure.subplots(2, 1)
    names = [legend_label(name) for name in _names(responses)]
    _draw(original, [(r, r.stds) for r in responses], names, "layer index (original)")
    _draw(
        ranked, [(r, r.ranked) for r in responses], [None] * len(names), "layer index (sorted by magnitude)"
    )
    if responses:
        legend_below(figure, len(responses))
    return figure


def _draw(
    axes: Any,
    lines: Sequence[tuple[Responses, tuple[float, ...]]],
    labels: Sequence[Optional[str]],
    title: str,
) -> None:
    from matplotlib.ticker import MaxNLocator

    for number, ((network, stds), label) in enumerate(zip(lines, labels)):
        plain = network.network.startswith("plain")
        axes.plot(
            range(1, len(stds) + 1),
            stds,
            "--" if plain else "-",
            color=f"C{number % 10}",
            label=label,
            marker="." if len(stds) == 1 else None,  # a single point has no line
        )
    axes.set_xlabel(title)
    axes.set_ylabel("std")
    axes.set_xlim(0, max((len(stds) for _, stds in lines), default=0) + 1)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(True, linewidth=0.4, alpha=0.6)


def _names(responses: Sequence[Responses]) -> list[str]:
    """The names for the legend: each network's, with its file of parameters if another one is the same."""
    networks = [r.network for r in responses]
    return [r.network if networks.count(r.network) == 1 else r.parameters for r in responses]
