"""Training and validation error over time, drawn as in the paper's Figures 4 and 6."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

from gluon_resnet.errors import EnvironmentProblem
from gluon_resnet.files import temporary_name

_LONG = 10_000  # iterations from which on they are the axis, in units of 1e4 as in the paper


def draw_curves(
    path: str,
    iterations: Sequence[int],
    train_error: Sequence[float],
    validation_error: Sequence[Optional[float]],
    title: str = "",
) -> None:
    """Write a PNG of the errors (per cent) after each epoch; thin and dashed: training, bold: validation.

    Args:
        path: the file, written whole.
        iterations: updates done after epoch 1, 2, ...; the axis shows epochs where they are few.
        train_error, validation_error: as many; None where there was no validation.

    Raises EnvironmentProblem when matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator
    except ImportError:
        raise EnvironmentProblem("curves need matplotlib: install gluon-resnet[plot]") from None

    figure = Figure(figsize=(6, 4.5), dpi=120)
    FigureCanvasAgg(figure)  # no pyplot: no global state, no display
    axes = figure.add_subplot()
    if iterations and iterations[-1] >= _LONG:
        steps = [iteration / 1e4 for iteration in iterations]
        axes.set_xlabel("iter. (1e4)")
    else:
        steps = [float(epoch) for epoch in range(1, len(iterations) + 1)]
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    marker = "o" if len(steps) == 1 else None  # a single point has no line
    axes.plot(steps, train_error, "--", linewidth=0.8, color="C0", marker=marker, label="training")
    if any(error is not None for error in validation_error):
        values = [float("nan") if error is None else error for error in validation_error]
        axes.plot(steps, values, "-", linewidth=2.2, color="C0", marker=marker, label="validation")
    axes.set_ylabel("error (%)")
    axes.set_ylim(bottom=0)
    axes.set_title(title)
    axes.grid(True, linewidth=0.4, alpha=0.6)
    axes.legend()
    figure.tight_layout()
    with temporary_name(path) as temporary:
        figure.savefig(temporary, format="png")
