"""Figures as files and as elements of pages: what all matplotlib drawings have in common."""

from __future__ import annotations

import io
from html import escape
from typing import Any, Callable, Optional

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


def write_figure(path: str, draw: Callable[[], Any], says: str) -> None:
    """Write the figure that `draw` returns, from `new_figure`, as PNG or SVG according to the ending of `path`.

    `says` describes it to those who do not see it.

    Raises:
        UsageError: the path has another ending.
        EnvironmentProblem: matplotlib is not installed.
    """
    require_figure(path)
    with _style(_TEXT), temporary_name(path) as temporary:
        if path.lower().endswith(".svg"):
            with open(temporary, "w", encoding="utf-8") as stream:
                stream.write(_svg(draw(), says))
        else:
            draw().savefig(temporary, format="png", dpi=120, metadata={"Description": says})


def svg_element(draw: Callable[[], Any], says: str) -> str:
    """The same as an <svg> element for a page with a light or a dark background."""
    with _style({**_ANY_PAGE, **_TEXT, "legend.facecolor": "none"}):
        text = _svg(draw(), says, transparent=True)
    return text[text.index("<svg") :]


def _svg(figure: Any, says: str, **options: Any) -> str:
    """The figure as one image for screen readers, which would otherwise read out the numbers of its axes."""
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata=_UNDATED, **options)
    before, rest = stream.getvalue().split("<svg", 1)
    attributes, rest = rest.split(">", 1)
    return f'{before}<svg role="img"{attributes}>\n <title>{escape(says)}</title>{rest}'


def require_figure(path: str) -> None:
    """Raise early what `write_figure` would raise for another ending or without matplotlib."""
    if not path.lower().endswith((".png", ".svg")):
        raise UsageError(f"{path}: a figure is a .png or .svg file")
    _style({})


def new_figure(width: float, height: float) -> Any:
    """An empty figure with sizes in inches, without pyplot: no global state, no display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def legend_below(figure: Any, labels: int, title: Optional[str] = None) -> None:
    """Give `figure`, or a subfigure, a legend of its `labels` labelled lines, below its axes and off the lines."""
    figure.legend(
        loc="outside lower center",
        ncols=min(4, labels),
        frameon=False,
        fontsize="small",
        title=title,
        title_fontsize="small",
    )


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
