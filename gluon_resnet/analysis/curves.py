"""Training and validation error over the iterations, drawn as in the paper's Figures 4 and 6."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from gluon_resnet.analysis.run import Points, Run
from gluon_resnet.errors import EnvironmentProblem
from gluon_resnet.files import temporary_name

_LONG = 10_000  # iterations from which on the axis has units of 1e4, as in the paper
_NAME = 50  # letters of a run's name that have room
_CROPPED = 20  # validations from which on the axis leaves out the first fall of the error, as in the paper
# Of text and axes where the page may be light or dark: a gray with a contrast of 4.5 to white and to black.
_ANY_PAGE = {
    **dict.fromkeys(
        ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), "#767676"
    ),
    "legend.facecolor": "none",
    "svg.fonttype": "none",  # text stays text
}


def draw_curves(path: str, runs: Sequence[Run], title: str = "") -> None:
    """Write a PNG of the top-1 errors of `runs`, one colour each; thin: training, bold: validation.

    The training error is dashed where all runs are of a CIFAR recipe (the paper's Figure 6), else solid (Figure 4).
    A dotted line marks where the learning rate fell. The file is written whole.

    Raises EnvironmentProblem when matplotlib is not installed.
    """
    with _style({}), temporary_name(path) as temporary:
        _figure(runs, title).savefig(temporary, format="png", dpi=120)


def curves_svg(run: Run) -> str:
    """The same of one run, as an <svg> element for a page with a light or a dark background."""
    stream = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with _style(_ANY_PAGE):
        _figure([run], "").savefig(stream, format="svg", transparent=True, metadata=nothing)
    text = stream.getvalue()
    return text[text.index("<svg") :]


def _style(settings: dict[str, str]) -> Any:
    """A context with matplotlib's own defaults, whatever the user's are, and `settings`."""
    try:
        import matplotlib.style
    except ImportError:
        raise EnvironmentProblem("curves need matplotlib: install gluon-resnet[plot]") from None
    return matplotlib.style.context(["default", settings])


def _figure(runs: Sequence[Run], title: str) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4.5))
    FigureCanvasAgg(figure)  # no pyplot: no global state, no display
    axes = figure.add_subplot()
    _draw(axes, runs)
    axes.set_title(title)
    figure.subplots_adjust(0.12, 0.12, 0.97, 0.92)  # tight_layout() would draw all of it once more
    return figure


def _draw(axes: Any, runs: Sequence[Run]) -> None:
    longest = max((run.iterations for run in runs), default=0)
    unit = 1e4 if longest >= _LONG else 1
    cifar = all(str(run.settings.get("recipe", "")).startswith("cifar") for run in runs)
    dash = "--" if cifar and runs else "-"

    for number, run in enumerate(runs):
        alone, colour = len(runs) == 1, f"C{number % 10}"
        validation = "validation" if run.validation_curve else None
        labels = ("training", validation) if alone else (None, _label(run.name))
        curves = (run.train_curve, dash, 0.8, labels[0]), (run.validation_curve, "-", 2.2, labels[1])
        for points, style, width, label in curves:
            x, y = [iteration / unit for iteration, _ in points], [error for _, error in points]
            marker = "o" if len(points) == 1 else None  # a single point has no line
            axes.plot(x, y, style, linewidth=width, color=colour, marker=marker, label=label)
        for iteration, lr in run.drops:
            axes.axvline(iteration / unit, color=colour, linestyle=":", linewidth=0.7, alpha=0.7)
            if alone:
                place = {"xytext": (2, -2), "textcoords": "offset points", "va": "top", "fontsize": "x-small"}
                top = (iteration / unit, 1)
                axes.annotate(f"lr {lr:g}", top, xycoords=("data", "axes fraction"), **place)

    axes.set_xlabel("iter. (1e4)" if unit > 1 else "iterations")
    axes.set_ylabel("error (%)")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0, top=_top(runs))
    axes.grid(True, linewidth=0.4, alpha=0.6)
    if any(run.iterations for run in runs):
        thin = "thin" if dash == "-" else "dashed"
        caption = f"{thin}: training, bold: validation" if len(runs) > 1 else None
        size = "small" if len(runs) > 1 else None
        # In the corner where no run begins; matplotlib takes seconds to find the best one for many points.
        axes.legend(loc="lower left", title=caption, title_fontsize=size, fontsize=size)


def _label(name: str) -> str:
    """A run's name in a legend: matplotlib hides one with _ in front, and sees formulas in $."""
    short = name if len(name) <= _NAME else "..." + name[3 - _NAME :]
    return " " + short.replace("$", r"\$")


def _top(runs: Sequence[Run]) -> Any:
    """The end of the axis of errors: for long runs the highest error after their first tenth; None: any."""
    if not runs or min(len(run.validation_curve) for run in runs) < _CROPPED:
        return None

    def later(points: Points, run: Run) -> list[float]:
        return [error for iteration, error in points if iteration > run.iterations / 10]

    errors = [
        e for run in runs for curve in (run.train_curve, run.validation_curve) for e in later(curve, run)
    ]
    return 1.05 * max(errors)
