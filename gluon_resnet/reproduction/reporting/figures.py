"""The figures of a study, as files in its folder and as elements of its page."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Callable, Optional, Union

from gluon_resnet.analysis.response_figure import draw_responses, responses_svg
from gluon_resnet.errors import EnvironmentProblem
from gluon_resnet.reproduction.reporting.names import SUBJECTS, label
from gluon_resnet.reproduction.reporting.observations import figure_7
from gluon_resnet.reproduction.reporting.page import Block, Paragraph, Picture
from gluon_resnet.reproduction.study import StudiedNet, Study
from gluon_resnet.runs.files.curves import Panel, draw_panels, panels_svg
from gluon_resnet.runs.files.run import Run


def curves(study: Study) -> Block:
    """Figure 6 or 4: errors by iteration, with plain networks left, residual ones right, and any others beside them."""
    subject, panels = SUBJECTS[study.data_set], _panels(study)
    name = f"figure{subject.figure}.svg"
    if not any(net.run and net.run.iterations for net in study.nets):
        return Paragraph("Not yet: no network has been trained for long enough to be drawn.")
    says = f"Training and {subject.tested} errors by iteration: {', '.join(title for title, _ in panels)}"
    return _picture(
        study,
        name,
        says,
        lambda path: draw_panels(path, panels, subject.tested),
        lambda: panels_svg(panels, subject.tested),
    )


def responses(study: Study) -> Block:
    """Figure 7: standard deviations of the responses of 3x3 layers."""
    nets = figure_7(study.shown)
    if not nets:
        return Paragraph("Not yet: no network's responses have been measured.")
    named = [replace(net.responses, network=label(net)) for net in nets if net.responses]
    return _picture(
        study,
        "figure7.svg",
        "Standard deviations of layer responses, by layer and by size",
        lambda path: draw_responses(path, named),
        lambda: [responses_svg(named)],
    )


def example(study: Study) -> Block:
    """The picture of a test image, embedded in the page."""
    path = Path(study.folder, study.example or "")
    if not path.is_file():
        return Paragraph("Not yet.")
    return Picture(path.name, "A test image, and the most probable classes", content=path.read_bytes())


def _picture(
    study: Study, name: str, says: str, draw: Callable[[str], None], elements: Callable[[], Sequence[str]]
) -> Union[Picture, Paragraph]:
    """The figure, written and drawn; without matplotlib a sentence on what to install."""
    try:
        draw(os.path.join(study.folder, name))
        return Picture(name, says, tuple(elements()))
    except EnvironmentProblem as problem:
        return Paragraph(str(problem))


def _panels(study: Study) -> list[Panel]:
    """The panels; a depth has the same color in each."""
    # As in the paper's Figures 4 and 6: residual networks with no more parameters than the plain ones.
    families = {
        "plain": [net for net in study.first_seeds if net.plain],
        "ResNet": [net for net in study.first_seeds if net.shortcut == "A"],
    }
    depths = sorted({net.depth for nets in families.values() for net in nets})
    panels: list[Panel] = []
    for name, nets in families.items():
        of_depth = {net.depth: net for net in nets}
        panels.append((name, [_run(of_depth[depth]) if depth in of_depth else None for depth in depths]))
    drawn = [net for nets in families.values() for net in nets]
    others = [net for net in study.first_seeds if net not in drawn and net.run]
    return [*panels, ("others", [_run(net) for net in others])] if others else panels


def _run(net: StudiedNet) -> Optional[Run]:
    """The run under the paper's name for the network; None if not begun."""
    return replace(net.run, name=label(net)) if net.run else None
