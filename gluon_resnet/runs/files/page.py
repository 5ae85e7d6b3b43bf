"""Self-contained pages, without other files or network: what their templates share, and how they format figures."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Optional

from gluon_resnet.errors import EnvironmentProblem

_FILE_NAME = re.compile(r"[\w+./*-]+\.(?:jsonl|json|npz|out)(?::[\d-]+)?")


def render(template: Path, **values: Any) -> str:
    """The page made from a template, which extends page.html and takes a `title`; all values are escaped.

    EnvironmentProblem if Jinja2 is missing.
    """
    try:
        import jinja2
        import markupsafe
    except ImportError:
        raise EnvironmentProblem("a report needs Jinja2: pip install 'gluon-resnet[plot]'") from None

    def whole_names(text: str) -> str:
        """The text, in which names of files are elements that a browser need not break at their hyphens."""
        escaped = str(markupsafe.escape(text))
        return markupsafe.Markup(_FILE_NAME.sub(r'<span class="file">\g<0></span>', escaped))

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([template.parent, Path(__file__).parent]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    environment.filters.update(percent=percent, duration=duration, setting=_setting, whole_names=whole_names)
    return environment.get_template(template.name).render(values)


def percent(value: Optional[float], digits: int = 2) -> str:
    """'8.75 %'; '' for None."""
    return "" if value is None else f"{value:.{digits}f} %"


def duration(seconds: float) -> str:
    """'2 h 5 min', '52 min', '8 s'."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def _setting(value: Any) -> str:
    """A value of a JSON file, formatted for people."""
    if isinstance(value, list):
        return ", ".join(map(_setting, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
