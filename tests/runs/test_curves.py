"""Runs read from their files, and their curves as images."""

from __future__ import annotations

import os
import re
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import cv2
import matplotlib
import numpy as np
import pytest

from gluon_resnet.errors import DataError, EnvironmentProblem, UsageError
from gluon_resnet.runs.files.curves import curves_svg, draw_curves, draw_panels, panels_svg
from gluon_resnet.runs.files.run import Run, read_run
from tests.support.paths import ROOT
from tests.support.recorded_runs import BATCHES, epoch_record, write_run

OLD = ROOT / "results" / "cifar10" / "resnet20" / "log.jsonl"
FALLING = [70.0 - epoch for epoch in range(30)]
COLORS = ("#1f77b4", "#ff7f0e", "#2ca02c")  # matplotlib's first three


def test_a_run_is_read_from_its_prefix_or_its_log(tmp_path):
    prefix = write_run(tmp_path / "a", [50.0, 30.0, 30.0, 35.0], planned=9, data_wait=0.25)
    run, same = read_run(prefix), read_run(f"{prefix}-log.jsonl")
    assert run == same
    assert (run.name, len(run.epochs), run.planned, run.iterations) == ("a", 4, 9, 4 * BATCHES)
    assert (run.best.epoch, run.seconds, run.images_per_second) == (2, 40.0, 1000.0)
    assert run.split == {"loading": 0.25, "compute": 0.75}
    assert run.settings["network"] == "resnet20"
    assert run.validation_curve == [(400, 50.0), (800, 30.0), (1200, 30.0), (1600, 35.0)]


def test_the_log_of_an_older_version_is_a_run():
    run = read_run(str(OLD))
    assert (run.name, run.best.epoch, run.best.val_top1_error) == ("resnet20", 20, 15.42)
    assert (run.card, run.split, run.settings) == (None, None, {})
    assert [(iteration, round(lr, 6)) for iteration, lr in run.drops] == [(5460, 0.01), (7020, 0.001)]
    assert [error for _, error in run.train_curve] == [record.train_top1_error for record in run.epochs]


def test_means_are_over_the_time():
    epochs = [
        replace(epoch_record(1), seconds=30.0, images_per_second=100.0),
        replace(epoch_record(2), seconds=10.0, images_per_second=500.0, data_wait=0.5, communication=0.125),
    ]
    run = Run("a", epochs)
    assert (run.seconds, run.images_per_second) == (40.0, 200.0)
    assert run.split == {"loading": 0.5, "communication": 0.125, "compute": 0.375}
    nothing = Run("b", [])
    assert (nothing.best, nothing.images_per_second, nothing.iterations, nothing.drops) == (None, None, 0, [])


def test_without_validation_the_best_epoch_has_the_lowest_training_error():
    epochs = [
        epoch_record(epoch, error, val_top1_error=None) for epoch, error in ((1, 40.0), (2, 30.0), (3, 35.0))
    ]
    assert Run("a", epochs).best.epoch == 2


def test_the_training_curve_is_of_smoothed_steps(tmp_path):
    run = read_run(write_run(tmp_path / "a", [70.0 - epoch for epoch in range(100)]))
    assert len(run.steps) == 2000
    assert len(run.train_curve) == 250
    assert run.train_curve[-1][0] == 40_000
    assert run.train_curve[0] == (160, np.mean([r.top1_error for r in run.steps[:8]]))
    assert run.drops == [(8000, 0.01)]


def test_a_run_whose_first_steps_are_not_recorded_has_a_curve_of_epochs(tmp_path):
    run = read_run(write_run(tmp_path / "a", FALLING))
    later = replace(run, steps=run.steps[BATCHES // 20 + 1 :])
    assert later.train_curve == [(r.iteration, r.train_top1_error) for r in run.epochs]
    assert later.drops == [(8000, 0.01)]


def test_a_run_in_its_first_epoch_has_a_curve(tmp_path):
    write_run(tmp_path / "a", [50.0])
    (tmp_path / "a-log.jsonl").write_text("")
    run = read_run(str(tmp_path / "a"))
    assert (run.best, run.iterations, run.train_curve[-1][0]) == (None, BATCHES, BATCHES)
    draw_curves(str(tmp_path / "a.png"), [run])
    assert colored(tmp_path / "a.png") > 100


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"nothing is not a run: expected the log .*nothing-log\.jsonl"):
        read_run(str(tmp_path / "nothing"))
    with pytest.raises(UsageError, match="is not a run"):
        read_run(str(tmp_path))
    prefix = write_run(tmp_path / "a", [50.0, 40.0])
    with pytest.raises(DataError, match=r"a-steps\.jsonl: line 1 is not an epoch's record"):
        read_run(f"{prefix}-steps.jsonl")
    with open(f"{prefix}-steps.jsonl", "r+b") as stream:
        stream.write(b"?")
    with pytest.raises(DataError, match=r"a-steps\.jsonl: line 1 is not a step's record"):
        read_run(prefix)


@pytest.mark.parametrize(
    "content", ["", "[]", "[" * 100_000, "{}", '{"format": "gluon-resnet run card 1"}', "\0"]
)
def test_another_file_is_no_run_card(tmp_path, content):
    prefix = write_run(tmp_path / "a", [50.0])
    (tmp_path / "a-run.json").write_text(content)
    with pytest.raises(DataError, match=r"a-run\.json is not a run card"):
        read_run(prefix)


def colored(path, color=(31, 119, 180)) -> int:
    """How many pixels have the color of the first run, or another."""
    image = cv2.imread(str(path))
    assert image is not None
    assert image.shape == (540, 720, 3)
    return int((np.abs(image[..., ::-1].astype(int) - color).max(axis=2) < 60).sum())


@pytest.mark.parametrize("batches", [100, 5004], ids=["short", "long"])
def test_curves_are_an_image_with_two_lines(tmp_path, batches):
    epochs = [replace(epoch_record(n, e), iteration=n * batches) for n, e in enumerate(FALLING, 1)]
    alone = [replace(record, val_loss=None, val_top1_error=None) for record in epochs]
    draw_curves(str(tmp_path / "none.png"), [Run("a", alone)])
    draw_curves(str(tmp_path / "both.png"), [Run("a", epochs)], title="resnet20")
    thin, both = colored(tmp_path / "none.png"), colored(tmp_path / "both.png")
    assert thin > 100
    assert both > 2 * thin  # the second line is there, and bold
    draw_curves(str(tmp_path / "short.png"), [Run("a", epochs[:1])])
    assert colored(tmp_path / "short.png") > 20
    draw_curves(str(tmp_path / "empty.png"), [Run("a", [])])
    assert sorted(os.listdir(tmp_path)) == ["both.png", "empty.png", "none.png", "short.png"]


def test_the_training_error_of_cifar_runs_is_dashed(tmp_path):
    runs = [
        read_run(write_run(tmp_path / name, FALLING, steps=False, settings={"recipe": name}))
        for name in ("imagenet", "cifar10")
    ]
    for run in runs:
        alone = [replace(record, val_top1_error=None) for record in run.epochs]
        draw_curves(str(tmp_path / f"{run.name}.png"), [replace(run, epochs=alone)])
    assert colored(tmp_path / "cifar10.png") < 0.85 * colored(tmp_path / "imagenet.png")


def test_each_run_has_a_color_whatever_its_name(tmp_path):
    epochs = [epoch_record(n, e) for n, e in enumerate(FALLING, 1)]
    higher = [epoch_record(n, e + 15) for n, e in enumerate(FALLING, 1)]
    names = ("_hidden $x", "$", "a" * 200, "<b>")
    for name in names:
        draw_curves(str(tmp_path / "two.png"), [Run("plain", epochs), Run(name, higher)])
        assert colored(tmp_path / "two.png") > 500
        assert colored(tmp_path / "two.png", (255, 127, 14)) > 500
    draw_curves(str(tmp_path / "many.png"), [Run(str(n), epochs) for n in range(23)])


def test_a_drawing_for_a_page_is_one_element_without_references(tmp_path):
    run = read_run(write_run(tmp_path / "a", FALLING))
    with matplotlib.rc_context({"text.usetex": True, "axes.facecolor": "red"}):  # a user's own settings
        text = curves_svg(run)
    root = ElementTree.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    words = " ".join("".join(element.itertext()) for element in root.iter() if element.tag.endswith("text"))
    assert "iter. (1e4)" in words
    assert "lr 0.01" in words
    for element in root.iter():
        for name, value in element.attrib.items():
            assert not name.endswith("href") or value.startswith("#")
    assert "red" not in text
    assert len(text) < 200_000


def test_curves_without_matplotlib_say_what_to_install(tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(EnvironmentProblem, match=r"gluon-resnet\[plot\]"):
        draw_curves(str(tmp_path / "a.png"), [])
    assert not list(tmp_path.iterdir())


def panels(tmp_path):
    """Two, of three depths; the residual family lacks the middle one."""
    settings = {"recipe": "cifar10"}
    runs = {
        name: replace(
            read_run(write_run(tmp_path / name, [e + more for e in FALLING], settings=settings)), name=name
        )
        for name, more in (
            ("plain-20", 0),
            ("plain-32", 5),
            ("plain-56", 10),
            ("ResNet-20", 0),
            ("ResNet-56", -5),
        )
    }
    return [
        ("plain", [runs["plain-20"], runs["plain-32"], runs["plain-56"]]),
        ("ResNet", [runs["ResNet-20"], None, runs["ResNet-56"]]),
    ]


def words_of(text: str) -> list[str]:
    """The texts of a drawing."""
    elements = ElementTree.fromstring(text).iter()
    return ["".join(e.itertext()).strip() for e in elements if e.tag.endswith("text")]


def test_panels_have_the_same_axes_and_a_color_for_each_depth(tmp_path):
    plain, residual = panels_svg(panels(tmp_path), "test")
    assert {"plain", "plain-20", "plain-32", "plain-56", "dashed: training, bold: test"} <= {*words_of(plain)}
    assert {"ResNet", "ResNet-20", "ResNet-56"} <= {*words_of(residual)}
    assert not {"ResNet-20", "plain-20"} & {*words_of(plain)} & {*words_of(residual)}
    numbers = [
        [word for word in words_of(text) if re.fullmatch(r"[\d.]+", word)] for text in (plain, residual)
    ]
    assert numbers[0] == numbers[1]  # of both axes
    assert all(color in plain for color in COLORS)
    assert [color in residual for color in COLORS] == [True, False, True]


def test_the_axis_of_a_panel_with_low_errors_is_the_papers(tmp_path):
    low = [70.0, 40.0, 30.0, *(18.0 - 0.1 * epoch for epoch in range(17))]
    high, below = (
        replace(read_run(write_run(tmp_path / name, errors, settings={"recipe": "cifar10"})), name=name)
        for name, errors in (("plain-56", FALLING), ("ResNet-56", low))
    )
    plain, residual = panels_svg([("plain", [high]), ("ResNet", [below])], "test")
    assert "60" in words_of(plain)
    numbers = [float(word) for word in words_of(residual) if re.fullmatch(r"\d+\.\d", word)]
    assert max(numbers) == 20.0
    assert "20.0" in words_of(curves_svg(below))
    assert "ResNet" in ElementTree.fromstring(residual)[0].text
    assert ElementTree.fromstring(residual).get("role") == "img"


def test_a_legend_hides_no_line(tmp_path):
    run = read_run(write_run(tmp_path / "a", FALLING))
    root = ElementTree.fromstring(curves_svg(run))
    groups = {element.get("id"): element for element in root.iter() if element.get("id")}
    (frame,) = [element for element in groups["patch_2"] if element.tag.endswith("path")]
    bottom = max(float(y) for y in re.findall(r"[ML] [\d.]+ ([\d.]+)", frame.get("d")))
    lines = re.findall(
        r"M [\d.]+ ([\d.]+)", "".join(path.get("d") for path in groups["legend_1"].iter() if path.get("d"))
    )
    assert lines
    assert min(map(float, lines)) > bottom


def test_panels_are_one_file(tmp_path):
    draw_panels(str(tmp_path / "both.svg"), panels(tmp_path))
    words = words_of((tmp_path / "both.svg").read_text())
    assert {"plain", "ResNet", "plain-56", "ResNet-56", "dashed: training, bold: validation"} <= {*words}
    draw_panels(str(tmp_path / "both.png"), panels(tmp_path))
    image = cv2.imread(str(tmp_path / "both.png"))
    height, width, _ = image.shape
    assert width > 2 * height
    left, right = np.array_split(image[..., ::-1].astype(int), 2, axis=1)
    second = (255, 127, 14)  # which the right panel keeps free
    assert [int((np.abs(part - second).max(axis=2) < 60).sum()) > 200 for part in (left, right)] == [
        True,
        False,
    ]


def test_panels_of_runs_that_have_not_begun(tmp_path):
    nothing = [("plain", []), ("ResNet", [None, Run("ResNet-56", [])])]
    assert len(panels_svg(nothing)) == 2
    draw_panels(str(tmp_path / "empty.svg"), nothing)
    assert "ResNet" in words_of((tmp_path / "empty.svg").read_text())
