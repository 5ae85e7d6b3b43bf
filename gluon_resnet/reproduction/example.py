"""A picture of a network's answer to a test image: the image, and its most probable classes as bars."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from gluon_resnet.analysis.figures import new_figure, write_figure
from gluon_resnet.data import RecordFile
from gluon_resnet.deploy import Predictor

EXAMPLE = "example.png"


def make_example(folder: str, model: str, records: str) -> None:
    """Write EXAMPLE into `folder`, for the record in the middle of the file, whatever the network's answer is.

    Args:
        folder: the folder of the study.
        model: the prefix of the exported network.
        records: the path of a record file.
    """
    file = RecordFile(records)
    record = file[len(file) // 2]
    predictor = Predictor(model)
    card = predictor.card
    pixels = predictor.preprocess(record.payload).astype(np.uint8).transpose(1, 2, 0)
    answers, label = predictor.predict(record.payload, k=5), card.classes[int(record.header.label[0])]
    title = (
        f"{card.network} on record {file.key(len(file) // 2)} of {os.path.basename(records)}: "
        f"{'right' if answers[0][0] == label else 'wrong'}"
    )
    draw_example(os.path.join(folder, EXAMPLE), pixels, label, answers, title)


def draw_example(
    path: str, image: np.ndarray, label: str, answers: Sequence[tuple[str, float]], title: str
) -> None:
    """Write the picture as PNG or SVG.

    Args:
        path: the path of the file; its ending gives the format.
        image: uint8 RGB, (height, width, 3); each pixel is shown as a square.
        label: the name of its class.
        answers: names and probabilities, 0 to 1, the most probable first.
        title: the title above the bars.

    EnvironmentProblem if matplotlib is not installed.
    """

    def draw() -> Any:
        figure = new_figure(7.2, 2.9)
        picture, bars = figure.subplots(1, 2, width_ratios=(1, 1.7))
        picture.imshow(image, interpolation="nearest")
        picture.set_axis_off()
        picture.set_title(label.replace("$", r"\$"))
        names = [name.replace("$", r"\$") for name, _ in answers]
        shares = [100 * probability for _, probability in answers]
        colors = ["C2" if name == label else "C7" for name, _ in answers]
        drawn = bars.barh(range(len(names)), shares, color=colors)
        bars.bar_label(drawn, [f"{share:.1f} %" for share in shares], padding=4)
        bars.set_yticks(range(len(names)), names)
        bars.invert_yaxis()
        bars.set_xlim(0, 118)  # room for the numbers
        bars.set_xticks([])
        bars.spines[["top", "right", "bottom"]].set_visible(False)
        bars.set_title(title.replace("$", r"\$"), fontsize="medium")
        return figure

    write_figure(path, draw, f"{title}, with its most probable classes")
