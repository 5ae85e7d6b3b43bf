"""Figures as files and as elements of pages: what all matplotlib drawings have in common."""

from __future__ import annotations

import io
from typing import Any, Callable

from gluon_resnet.errors import EnvironmentProblem, UsageError
from gluon_resnet.files import temporary_name

_NAME = 50  # the letters of a name that fit in a legend
# For text and axes on a light or dark page: a gray with a contrast of 4.5 to both white and black.
_ANY_PAGE = dict.fromkeys(
    ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), "#767676"
)
# Text stays text, and the same figure gives the same bytes.
_TEXT = {"svg.fonttype": "none", "svg.hashsalt": "gluon-resnet"}
_UNDATED = dict.fromkeys(("Date", "Creator", "Format", "Type"))


def write_figure(path: str, draw: Callable[[], Any]) -> None:
    """Write the figure that `draw` returns, from `new_figure`, as PNG or SVG according to the ending of `path`.

    Raises:
        UsageError: the path has another ending.
        EnvironmentProblem: matplotlib is not installed.
    """
    require_figure(path)
    kind = "svg" if path.lower().endswith(".svg") else "png"
    with _style(_TEXT), temporary_name(path) as temporary:
        draw().savefig(temporary, format=kind, dpi=120, metadata=_UNDATED if kind == "svg" else None)


def svg_element(draw: Callable[[], Any]) -> str:
    """The same as an <svg> element for a page with a light or a dark background."""
    stream = io.StringIO()
    with _style({**_ANY_PAGE, **_TEXT, "legend.facecolor": "none"}):
        draw().savefig(stream, format="svg", transparent=True, metadata=_UNDATED)
    text = stream.getvalue()
    return text[text.index("<svg") :]


def require_figure(path: str) -> None:
    """Raise early what `write_figure` would raise for another ending or without matplotlib."""
    if not path.lower().endswith((".png", ".svg")):
        raise UsageError(f"{path}: a figure is a .png or .svg file")
    _style({})


def new_figure(width: float, height: float) -> Any:
    """An empty figure with sizes in inches, without pyplot: no global state, no display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def legend_label(name: str) -> str:
    """A name for a legend: matplotlib hides names that begin with _, and reads formulas between $."""
    short = name if len(name) <= _NAME else "..." + name[3 - _NAME :]
    return " " + short.replace("$", r"\$")


def _style(settings: dict[str, str]) -> Any:
    """A context with matplotlib's own defaults, whatever the user's are, plus `settings`."""
    try:
        import matplotlib.style
    except ImportError:
        raise EnvironmentProblem("figures need matplotlib: pip install 'gluon-resnet[plot]'") from None
    return matplotlib.style.context(["default", settings])
