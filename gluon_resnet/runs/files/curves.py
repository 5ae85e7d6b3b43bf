"""Training and validation error over the iterations, drawn as in the paper's Figures 4 and 6."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Optional

from gluon_resnet.analysis.figures import legend_below, legend_label, new_figure, svg_element, write_figure
from gluon_resnet.runs.files.run import Points, Run

_LONG = 10_000  # the iterations from which the axis has units of 1e4, as in the paper
_LOW = 20.0  # the end of the axis of errors in the paper's Figure 6, in per cent
_CROPPED = 20  # the validations from which the axis leaves out the first fall of the error, as in the paper


_SAYS = "Training and test errors by iteration"

# A title and its runs in the order of their colors; None reserves the color of a run that only another panel has.
Panel = tuple[str, Sequence[Optional[Run]]]


def draw_curves(path: str, runs: Sequence[Run], title: str = "") -> None:
    """Write the top-1 errors of `runs` as PNG or SVG, one color per run; thin: training, bold: validation.

    The training error is dashed if all runs use a CIFAR recipe (the paper's Figure 6), otherwise solid (Figure 4).
    Dotted lines mark drops of the learning rate. The file is written whole.

    Raises the errors of `write_figure`.
    """
    write_figure(path, lambda: _figure(runs, title), f"{_SAYS}: {', '.join(run.name for run in runs)}")


def curves_svg(run: Run) -> str:
    """The same for one run, as an <svg> element for a page with a light or a dark background."""
    return svg_element(lambda: _figure([run], ""), f"{_SAYS}: {run.name}")


def draw_panels(path: str, panels: Sequence[Panel], bold: str = "validation") -> None:
    """Write several drawings side by side, as in the paper's Figures 4 and 6, with the same axis of iterations.

    Their axes of errors are the same, too, except that the axis of a panel all of whose curves are below 20 % in the
    second half ends there, as in the paper's Figure 6.

    Args:
        path: the path of the PNG or SVG file.
        panels: the panels from left to right.
        bold: what the bold line shows the error of, for the legends.

    Raises the errors of `write_figure`.
    """
    titles = ", ".join(title for title, _ in panels)
    write_figure(path, lambda: _panels(panels, panels, bold), f"{_SAYS} of networks: {titles}")


def panels_svg(panels: Sequence[Panel], bold: str = "validation") -> list[str]:
    """The same as <svg> elements, one per panel: side by side on a wide page, stacked on a narrow one."""
    return [
        svg_element(partial(_panels, [panel], panels, bold), f"{_SAYS} of networks: {panel[0]}")
        for panel in panels
    ]


def _figure(runs: Sequence[Run], title: str) -> Any:
    figure = new_figure(6, 4.5)
    axes = figure.add_subplot()
    alone = len(runs) == 1
    _draw(axes, runs, "validation", alone, _end(runs))
    axes.set_ylim(bottom=0, top=_top(runs))
    axes.set_title(title)
    _legend(figure, axes, runs, "validation", alone)
    return figure


def _panels(shown: Sequence[Panel], panels: Sequence[Panel], bold: str) -> Any:
    """A figure of the panels `shown`, with axes that have room for the runs of all `panels`."""
    runs = [run for _, column in panels for run in column if run]
    errors = [error for run in runs for curve in _curves(run) for _, error in curve]
    top, end = _top(runs) or 1.05 * max(errors, default=100.0), _end(runs)
    figure = new_figure(4.4 * len(shown), 4.2)
    for part, (title, column) in zip(figure.subfigures(1, len(shown), squeeze=False)[0], shown):
        axes, drawn = part.add_subplot(), [run for run in column if run]
        _draw(axes, column, bold, False, end)
        axes.set_ylim(0, _LOW if _all_low(drawn) else top)
        axes.set_title(title)
        _legend(part, axes, drawn, bold, False)
    return figure


def _end(runs: Sequence[Run]) -> int:
    """The end of the axis of iterations, with room for all `runs`; 0 if none has begun."""
    return max((run.iterations for run in runs), default=0)


def _draw(axes: Any, runs: Sequence[Optional[Run]], bold: str, alone: bool, end: int) -> None:
    """Draw the curves of `runs`; if `alone`, a single run without a name but with its learning rates."""
    unit = 1e4 if end >= _LONG else 1
    dash = "--" if _dashed([run for run in runs if run]) else "-"

    for number, run in enumerate(runs):
        if run is None:
            continue
        color = f"C{number % 10}"
        tested = bold if run.validation_curve else None
        labels = ("training", tested) if alone else (None, legend_label(run.name))
        styles = (dash, 0.8, labels[0]), ("-", 2.2, labels[1])
        for points, (style, width, label) in zip(_curves(run), styles):
            x, y = [iteration / unit for iteration, _ in points], [error for _, error in points]
            marker = "o" if len(points) == 1 else None  # a single point has no line
            axes.plot(x, y, style, linewidth=width, color=color, marker=marker, label=label)
        for iteration, lr in run.drops:
            axes.axvline(iteration / unit, color=color, linestyle=":", linewidth=0.7, alpha=0.7)
            if alone:
                side, anchor = (-2, "right") if iteration > 0.8 * end else (2, "left")
                place = {"xytext": (side, -2), "textcoords": "offset points", "va": "top", "ha": anchor}
                top = (iteration / unit, 1)
                axes.annotate(
                    f"lr {lr:g}", top, xycoords=("data", "axes fraction"), fontsize="x-small", **place
                )

    axes.set_xlabel("iter. (1e4)" if unit > 1 else "iterations")
    axes.set_ylabel("error (%)")
    axes.set_xlim(0, 1.03 * end / unit or None)
    axes.grid(True, linewidth=0.4, alpha=0.6)


def _legend(figure: Any, axes: Any, runs: Sequence[Run], bold: str, alone: bool) -> None:
    if any(run.iterations for run in runs):
        thin = "dashed" if _dashed(runs) else "thin"
        caption = None if alone else f"{thin}: training, bold: {bold}"
        legend_below(figure, len(axes.get_legend_handles_labels()[0]), caption)


def _dashed(runs: Sequence[Run]) -> bool:
    """Whether training errors are dashed, as in Figure 6."""
    return bool(runs) and all(str(run.settings.get("recipe", "")).startswith("cifar") for run in runs)


def _curves(run: Run) -> tuple[Points, Points]:
    return run.train_curve, run.validation_curve


def _top(runs: Sequence[Run]) -> Any:
    """The end of the axis of errors: for long runs the highest error after their first tenth; None for no limit.

    If all errors are low in the second half, it is the paper's.
    """
    if _all_low(runs):
        return _LOW
    if not runs or min(len(run.validation_curve) for run in runs) < _CROPPED:
        return None

    return 1.05 * max(error for run in runs for error in _errors_after(run, 0.1))


def _all_low(runs: Sequence[Run]) -> bool:
    """Whether every error in the second half of the runs is below the end of the paper's axis."""
    later = [error for run in runs for error in _errors_after(run, 0.5)]
    return bool(later) and max(later) < _LOW


def _errors_after(run: Run, part: float) -> list[float]:
    """The errors of both curves after this part of the iterations."""
    return [
        error for curve in _curves(run) for iteration, error in curve if iteration > part * run.iterations
    ]
