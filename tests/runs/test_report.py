"""The page about a run: what stands on it, that it is alone, and that nothing in it is taken for HTML."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from gluon_resnet.errors import EnvironmentProblem
from gluon_resnet.runs.files.page import duration
from gluon_resnet.runs.files.report import write_report
from gluon_resnet.runs.files.run import read_run
from gluon_resnet.runs.files.run_card import RunCard, WorstClass, worst_classes
from tests.support.html_page import Page
from tests.support.recorded_runs import write_run


def page_of(folder, *arguments, **options) -> Page:
    write_report(str(folder / "a-report.html"), read_run(write_run(folder / "a", *arguments, **options)))
    return Page((folder / "a-report.html").read_text(encoding="utf-8"))


def test_a_report_says_all_about_a_run(tmp_path):
    page = page_of(
        tmp_path,
        [50.0, 30.0, 35.0],
        planned=9,
        data_wait=0.25,
        communication=0.125,
        gradient_norm=1.25,
        loss_scale=1024.0,
        skipped_steps=2,
    )
    text = " ".join(page.text.split())
    assert (
        "Best validation error: 30.00 % in epoch 2. 3 of 9 epochs, 1,200 iterations, 30 s of training" in text
    )
    assert "at 1,000 images/s" in text
    assert "loading 25.0 %" in text
    assert "communication 12.5 %" in text
    assert "compute 62.5 %" in text
    assert page.row("2") == [
        *("800", "0.1", "1.0000", "20.00 %", "1.1000", "30.00 %", "6.00 % (5)"),
        *("1.25", "1024", "2", "1,000", "25.0 %", "12.5 %"),
    ]
    assert [row[0] for row, kind in zip(page.rows, page.classes) if kind == "best"] == ["2"]
    assert page.row("<b>cat") == ["100", "40", "40.00 %", "dog (30), deer (10)"]
    assert page.row("processor") == ["<fast> & cheap"]
    assert page.row("rgb_mean") == ["1, 2, 3"]
    assert page.row("validation data") == ["val.rec (50 images)"]
    assert not [row for row in page.rows if row and row[0] == "freeze"]  # None: not chosen
    assert any(row[1:] == ["iteration 0", "begun"] for row in page.rows)
    assert any(
        row[2:] == ["6 updates skipped, whose gradients were out of float16's range"] for row in page.rows
    )
    assert "python tools/train.py --network resnet20" in text
    assert "svg" in page.tags


def test_a_report_needs_no_other_file_and_no_network(tmp_path):
    page = page_of(tmp_path, [50.0 - epoch for epoch in range(40)])
    page.require_alone()
    assert "img" not in page.tags
    content = (tmp_path / "a-report.html").read_text(encoding="utf-8")
    assert "@import" not in content
    assert len(content) < 200_000


@pytest.mark.parametrize(
    "text", ["</pre><script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{ 7 * 7 }}"]
)
def test_texts_are_not_taken_for_html_or_templates(tmp_path, text):
    prefix = write_run(tmp_path / "a", [50.0], settings={text: text, "list": [text]}, data=text)
    content = json.loads((tmp_path / "a-run.json").read_text())
    content.update(command=text, environment={text: text})
    content["events"].append({"time": text, "iteration": 1, "text": text})
    content["worst_classes"] = [{"name": text, "images": 2, "wrong": 1, "taken_for": [[text, 1]]}]
    (tmp_path / "a-run.json").write_text(json.dumps(content))
    write_report(str(tmp_path / "page.html"), read_run(prefix))
    page = Page((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert not {"script", "img"} & set(page.tags)
    assert page.text.count(text) == 11
    assert "49" not in page.row("list")[0]


def test_an_old_or_a_young_run_has_a_report(tmp_path):
    page = page_of(tmp_path, [50.0], steps=False, val_loss=None, val_top1_error=None, val_topk_error=None)
    assert "Best training error: 40.00 % in epoch 1." in " ".join(page.text.split())
    assert page.row("1") == ["400", "0.1", "1.0000", "40.00 %", "1,000"]
    (tmp_path / "a-run.json").unlink()
    write_report(str(tmp_path / "old.html"), read_run(str(tmp_path / "a")))
    assert "Configuration" not in Page((tmp_path / "old.html").read_text()).text
    (tmp_path / "a-log.jsonl").write_text("")
    write_report(str(tmp_path / "young.html"), read_run(str(tmp_path / "a")))
    assert "None is over yet." in Page((tmp_path / "young.html").read_text()).text


def test_without_libraries_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.style", None)
    assert "figures need matplotlib: pip install 'gluon-resnet[plot]'" in page_of(tmp_path, [50.0]).text
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(EnvironmentProblem, match=r"gluon-resnet\[plot\]"):
        write_report(str(tmp_path / "b.html"), read_run(str(tmp_path / "a")))


def test_the_worst_classes_are_those_with_the_highest_error():
    confusion = np.array([[8, 1, 1, 0], [0, 0, 0, 0], [3, 0, 1, 2], [0, 0, 0, 9]])
    names = ("a", "b", "c", "d")
    assert worst_classes(confusion, names) == (
        WorstClass("c", 6, 5, (("a", 3), ("d", 2))),
        WorstClass("a", 10, 2, (("b", 1), ("c", 1))),
    )
    assert worst_classes(np.zeros((4, 4), np.int64), names) == ()
    confusion = np.ones((30, 30), np.int64)
    worst = worst_classes(confusion, [str(n) for n in range(30)])
    assert [row.name for row in worst] == [str(n) for n in range(10)]
    assert worst[2].taken_for == (("0", 1), ("1", 1), ("3", 1))


def test_a_run_card_comes_back_as_it_was_saved(tmp_path):
    path = str(tmp_path / "run.json")
    card = RunCard(
        "train.py --x 'ä \"'",
        3,
        {"lr": 0.1, "none": None, "list": [1, 2]},
        {"training data": "a"},
        {"host": "b"},
        worst_classes=(WorstClass("cat", 3, 2, (("dog", 2),)),),
    )
    card = card.happened(7, "stopped").happened(7, "gone on with")
    card.save(path)
    assert RunCard.load(path) == card
    assert [(event.iteration, event.text) for event in card.events] == [(7, "stopped"), (7, "gone on with")]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (90, "2 min"),
        (3570, "1 h 0 min"),
        (7500, "2 h 5 min"),
        (400000, "111 h 7 min"),
    ],
)
def test_a_duration_is_to_read(seconds, text):
    assert duration(seconds) == text
