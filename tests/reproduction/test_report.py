"""The report of a study: what stands on it at any time, where its figures are from, and that texts stay texts."""

from __future__ import annotations

import json
import re
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import pytest

from gluon_resnet.analysis.paper import TABLE_3, TABLE_6
from gluon_resnet.errors import EnvironmentProblem
from gluon_resnet.reproduction.reporting.observations import smaller_than_plain, smaller_with_depth
from gluon_resnet.reproduction.reporting.page import (
    Code,
    Commands,
    Items,
    Paragraph,
    Section,
    Strong,
    Table,
    html,
    markdown,
    sourced,
)
from gluon_resnet.reproduction.reporting.page import Page as ReportPage
from gluon_resnet.reproduction.reporting.report import write_report
from tests.support import studies
from tests.support.html_page import Page
from tests.support.studies import cells, written

LAST = {"plain20": 20.25, "plain56": 27.5, "resnet20": 19.0, "resnet56": 17.75}


@pytest.fixture
def whole(tmp_path):
    """A study with everything: four networks over, their evaluations and responses, ensembles, an example."""
    for key, error in LAST.items():
        curve = [error + 20 - 10 * epoch for epoch in range(3)]
        studies.train(tmp_path, key, curve, [value + 1.125 for value in curve])
    nets = []
    for (network, shortcut), wrong, std in zip(studies.NETS, (2025, 2750, 1900, 1775), (1.2, 1.5, 0.9, 0.6)):
        tests = [studies.evaluation(tmp_path, [network], wrong)]
        depth = int(network[-2:])
        nets.append(studies.net(tmp_path, network, shortcut, evaluations=tests, stds=[std] * (depth - 1)))
    mirrored = studies.evaluation(tmp_path, ["resnet56"], 1750, "multi-scale", scales=(32,))
    nets[3] = replace(nets[3], evaluations=(*nets[3].evaluations, mirrored))
    (tmp_path / "example.png").write_bytes(b"\x89PNG of some kind")
    return studies.study(
        tmp_path,
        nets,
        ensembles=(studies.evaluation(tmp_path, ["resnet20", "resnet56"], 1650),),
        deviations=("Trained for 3 epochs instead of 64,000 iterations of 128 images.",),
        example="example.png",
    )


def row(page: Page, *first: str) -> list[str]:
    """Of the only row of the page's tables that begins so; its spaces are ordinary ones."""
    rows = [[cell.replace("\xa0", " ") for cell in row] for row in page.rows]
    (found,) = [row for row in rows if row[: len(first)] == list(first)]
    return found[len(first) :]


def test_a_whole_study_is_told_in_both_files(whole, tmp_path):
    page, text = written(whole, tmp_path)
    words = " ".join(page.text.replace("\xa0", " ").split())
    for told in (
        "The degradation of plain networks with depth is shown. Residual networks show no degradation",
        "plain-56 ends with a test error of 27.50 %, 7.25 points above plain-20's 20.25 %",
        "All 4 networks are trained.",
        "Trained for 3 epochs instead of 64,000 iterations of 128 images.",
        "each is the whole image, or its mirror image",
        "same depth: yes.",
        "ResNet-56's are smaller than plain-56's: 0.600 and 1.500 on average, and smaller in 55 of 55 layers.",
        "The deeper ResNet has smaller responses: yes.",
        "begun",
    ):
        assert told in words, told
        assert told.replace(": yes.", ": **yes**.") in text, told
    assert row(page, "ResNet-56", "17.75 %") == [
        *("17.01 to 18.51", "6.97 %", "18.88 %", "3", "56", "0.86M (0.85M)"),
        "resnet56-1-crop.json, resnet56-log.jsonl:3",
    ]
    assert row(page, "ResNet-110") == ["not run", "", "6.43 % (6.61±0.16)", "", "", "110", "(1.7M)", ""]
    assert row(page, "ResNet-20 + ResNet-56") == [
        *("1-crop", "10,000", "16.50 %", "15.79 to 17.24", "1.65 %", "17.75 %"),
        "resnet20+resnet56-1-crop.json",
    ]
    assert row(page, "ResNet-56", "multi-scale 32")[1] == "17.50 %"
    assert row(page, "plain-20", "200") == ["11 h 23 min"]  # 8,192,000 images
    assert row(page, "all, one after the other") == ["", "45 h 31 min"]
    assert row(page, "plain-20", "3", "1,170")[0:2] == ["12 min", "200"]
    assert row(page, "processor") == ["all runs", "a fast one"]
    for command in ("python tools/reproduce.py cifar10", "python tools/train.py --network plain56"):
        assert f"\n{command}\n" in text
        assert command in words
    assert text.count("```") == 2


def test_the_pages_need_no_other_file_but_the_pictures_of_markdown(whole, tmp_path):
    page, text = written(whole, tmp_path)
    page.require_alone()
    assert page.tags.count("img") == 1
    assert page.tags.count("svg") == 3  # two panels of Figure 6, and Figure 7
    names = re.findall(r"!\[[^]]*\]\(([^)]*)\)", text)
    assert names == ["figure6.svg", "figure7.svg", "example.png"]
    for name in names:
        assert (tmp_path / name).is_file()
    for name in names[:2]:
        root = ElementTree.parse(tmp_path / name).getroot()
        words = {
            "".join(element.itertext()).strip() for element in root.iter() if element.tag.endswith("text")
        }
        assert {"plain-20", "ResNet-56"} <= words
    ids = [value for name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids)) > 0
    targets = [t for _, value in page.attributes for t in re.findall(r"^#(.+)|url\(#(.+?)\)", value or "")]
    assert {a or b for a, b in targets} == set(ids)
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".tmp")]


def test_every_figure_is_where_the_report_says(whole, tmp_path):
    _, text = written(whole, tmp_path)
    for net, name in zip(whole.nets, ("plain-20", "plain-56", "ResNet-20", "ResNet-56")):
        (found,) = [
            line for line in text.splitlines() if line.startswith(f"| {name} |") and "-1-crop" in line
        ]
        test, _, _, training, *_, sources = [cell.strip() for cell in found.split("|")[2:-1]]
        tested, logged = sources.strip("`").split(", ")
        content = json.loads((tmp_path / tested).read_text())
        assert test == f"{100 * content['top1_wrong'] / content['images']:.2f} %"
        file, line = logged.split(":")
        record = json.loads((tmp_path / file).read_text().splitlines()[int(line) - 1])
        assert training == f"{record['train_top1_error']:.2f} %"
        assert record["epoch"] == int(line) == len(net.run.epochs)
    cited = re.findall(r"([\w+-]+-log\.jsonl):(\d+)(?:-(\d+))?", text.replace("\\", ""))
    assert len(cited) > 8
    for file, first, last in cited:
        assert int(last or first) <= len((tmp_path / file).read_text().splitlines())
    for file in re.findall(r"[\w+-]+-(?:1-crop|multi-scale|responses)\.json", text):
        assert (tmp_path / file).is_file()


def test_without_an_evaluation_the_log_is_cited(tmp_path):
    studies.train(tmp_path, "resnet20", [60.0, 50.5], [70.0, 60.125], planned=8)
    _, text = written(studies.study(tmp_path), tmp_path)
    assert cells(text, "ResNet-20 | 50.50 %")[2:] == [
        *("49.52 to 51.48", "8.75 %", "60.12 %", "2 of 8", "20", "0.27M (0.27M)", "`resnet20-log.jsonl:2`"),
    ]
    record = json.loads((tmp_path / "resnet20-log.jsonl").read_text().splitlines()[1])
    assert (record["val_top1_error"], record["train_top1_error"]) == (50.5, 60.125)
    assert "ResNet-20 is not over: 2 of 8 epochs are." in text
    assert cells(text, "these 1, one after the other") == ["these 1, one after the other", "", "11 h 23 min"]


def test_an_evaluation_that_is_not_of_the_logs_last_epoch_is_told(tmp_path):
    studies.train(tmp_path, "resnet20", [50.5], [60.0])
    tests = [studies.evaluation(tmp_path, ["resnet20"], 4900)]
    nets = [studies.net(tmp_path, "resnet20", "A", evaluations=tests)]
    _, text = written(studies.study(tmp_path, nets), tmp_path)
    assert (
        "ResNet-20: the evaluation has 49.00 %, the last epoch of the log 50.50 % (resnet20-log.jsonl:1)."
        in text
    )


@pytest.mark.parametrize("data_set", ["cifar10", "fashion-mnist", "imagenet"])
def test_a_study_that_has_not_begun_has_a_report(tmp_path, data_set):
    nets = [studies.net(tmp_path, "plain34", None), studies.net(tmp_path, "resnet34", "B")]
    for some in ([], nets):
        page, text = written(studies.study(tmp_path, some, data_set=data_set), tmp_path)
        page.require_alone()
        assert "The plain networks are not compared yet." in text
        assert "Not yet: no network has been trained for long enough to be drawn." in text
        assert "Nothing is known to differ." in text
    assert "ResNet-34 B has not begun." in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "report.md"]


def test_a_run_in_its_first_epoch_is_drawn(tmp_path):
    studies.train(tmp_path, "plain20", [90.0], [95.0], planned=8)
    (tmp_path / "plain20-log.jsonl").write_text("")
    page, _ = written(studies.study(tmp_path), tmp_path)
    assert page.tags.count("svg") == 2
    assert row(page, "plain-20", "not yet", "", "not printed")[:2] == ["not yet", "0 of 8"]


def test_networks_with_other_shortcuts_have_their_own_panel(tmp_path):
    for key in ("plain20", "resnet20", "resnet20-B"):
        studies.train(tmp_path, key, [60.0, 50.0], [70.0, 60.0])
    nets = [studies.net(tmp_path, "plain20", None), studies.net(tmp_path, "resnet20", "A")]
    nets.append(studies.net(tmp_path, "resnet20", "B", key="resnet20-B"))
    page, _ = written(studies.study(tmp_path, nets), tmp_path)
    assert page.tags.count("svg") == 3
    for words in ("plain-20", "ResNet-20", "ResNet-20 B"):
        assert re.search(rf">\s*{words}\s*</text>", (tmp_path / "figure6.svg").read_text()), words


def test_another_data_set_stands_beside_no_figure_of_the_papers(tmp_path):
    """Fashion-MNIST's errors are put beside those that its own README lists."""
    studies.train(tmp_path, "resnet20", [8.0], [7.5])
    nets = [studies.net(tmp_path, "resnet20", "A")]
    page, text = written(studies.study(tmp_path, nets, data_set="fashion-mnist"), tmp_path)
    assert "on Fashion-MNIST" in text
    assert "8.75 %" not in text  # the paper's ResNet-20
    assert "not printed" not in text
    assert row(page, "ResNet-20", "8.00 %")[-3:] == ["20", "0.27M", "resnet20-log.jsonl:1"]
    assert row(page, "DenseNet-BC, 768K parameters")[-1] == "4.6 %"
    assert "Test errors (as the paper's Table 6)" in text


def test_imagenet_has_the_papers_tables(tmp_path):
    studies.train(tmp_path, "resnet34-A", [30.0], [31.0], settings={"recipe": "imagenet", "classes": 1000})
    studies.train(tmp_path, "resnet50", [28.0], [29.0], settings={"recipe": "imagenet", "classes": 1000})
    one = studies.evaluation(tmp_path, ["resnet34-A"], 2512, "10-crop", topk_wrong=777)
    two = studies.evaluation(tmp_path, ["resnet50"], 2074, "multi-scale", scales=(64, 80))
    nets = [
        studies.net(tmp_path, "resnet34", "A", key="resnet34-A", evaluations=[one]),
        studies.net(tmp_path, "resnet50", "B", evaluations=[two]),
        studies.net(tmp_path, "resnet18", "B"),
    ]
    both = studies.evaluation(
        tmp_path, ["resnet34-A", "resnet50"], 2000, "multi-scale", scales=(64, 80), top_k=3
    )
    page, text = written(studies.study(tmp_path, nets, data_set="imagenet", ensembles=(both,)), tmp_path)
    assert row(page, "ResNet, 34 layers") == [
        "25.12 %",
        "24.28 to 25.98",
        "25.03 %",
        "resnet34-A-10-crop.json",
    ]
    assert row(page, "ResNet-34 A", "25.12 %") == [
        *("24.28 to 25.98", "7.77 %", "7.26 to 8.31", "25.03 %", "7.76 %", "resnet34-A-10-crop.json"),
    ]
    assert row(page, "ResNet-50", "20.74 %")[-3:] == ["20.74 %", "5.25 %", "resnet50-multi-scale.json"]
    assert "Shorter sides of ours: 64, 80; the paper's: 224, 256, 384, 480, 640." in text
    assert row(page, "ResNet-50", "not yet") == ["", "", "", "22.85 %", "6.71 %", ""]
    # In none of the tables.
    assert row(page, "ResNet-18 B", "not yet", "", "", "") == ["not printed", "not printed", ""]
    assert row(page, "VGG-16") == ["not run", "", "", "", "28.07 %", "9.33 %", ""]
    assert row(page, "ResNet-34 A + ResNet-50")[:3] == ["multi-scale 64, 80", "10,000", "20.00 %"]
    assert row(page, "ResNet-34 A + ResNet-50")[4] == "2.00 % (top-3)"
    assert row(page, "the paper's ResNet (ILSVRC'15): six networks, test set")[-2] == "3.57 %"
    assert len([r for r in page.rows if r and r[0] in {result.method for result in TABLE_3}]) > len(TABLE_3)
    assert "Figure 7" not in text  # the paper has none of ImageNet
    assert (tmp_path / "figure4.svg").is_file()


def test_what_the_paper_prints_is_all_there(whole, tmp_path):
    _, text = written(whole, tmp_path)
    for printed in (result for result in TABLE_6 if result.network):
        (found,) = [line for line in text.splitlines() if f"({printed.parameters})" in line]
        assert f"| {printed.top1_error:.2f} %" in found


@pytest.mark.parametrize(
    "text",
    ["</code><script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{ 7 * 7 }}", "a|b $x$ `c` *d*"],
)
def test_texts_are_not_taken_for_html_markdown_or_templates(tmp_path, text):
    studies.train(
        tmp_path,
        "plain20",
        [50.0],
        [40.0],
        environment={text: text},
        settings={text: text},
        text=text,
    )
    studies.train(tmp_path, "plain56", [60.0], [50.0])
    nets = [studies.net(tmp_path, name, None) for name in ("plain20", "plain56")]
    page, marked = written(studies.study(tmp_path, nets, command=text, deviations=(text,)), tmp_path)
    assert not {"script", "img"} & set(page.tags)
    words = page.text.replace("\xa0", " ")
    # Command, deviation, event; name and value in the note that the runs differ; name, value and name in two tables.
    assert words.count(text) == 11
    lines = marked.replace(f"\n{text}\n", "")  # the command, in a block where nothing is read
    assert not re.search(r"(?<!\\)(<|\$|`c|\*d)", lines)
    # A | in a cell would make one more of it.
    for line in lines.splitlines():
        if line.startswith("|") and "a\\|b" in line:
            assert len(re.findall(r"(?<!\\)\|", line)) in (4, 5)


def test_markdown_keeps_code_and_text_apart():
    page = ReportPage(
        "a_b",
        (
            Paragraph("1 < 2 ", Code("x|`y`"), " ", Strong("so*")),
            Table(("", "n"), "lr", ((Code("a|b"), "1_0"),)),
            Items("one\ntwo"),
        ),
        (Section("#", (Commands("echo '```'", "ls"),)),),
    )
    assert markdown(page) == (
        "# a\\_b\n\n1 \\< 2 `` x|`y` `` **so\\***\n\n"
        "|  | n |\n| --- | ---: |\n| `a\\|b` | 1\\_0 |\n\n- one two\n\n"
        "## \\#\n\n````sh\necho '```'\nls\n````\n"
    )


def test_sources_are_footnotes_of_their_table():
    rows = [
        ("plain-20", "1", "a-log.jsonl:3"),
        ("ResNet-20", "2", ""),
        ("ResNet-56", "3", "b.json, a-log.jsonl:3"),
    ]
    rows += [("plain-56", "4", "a-log.jsonl:3")]
    table = sourced(("", "n"), "lr", rows)
    assert table.footnotes == ("a-log.jsonl:3", "b.json, a-log.jsonl:3")
    text = markdown(ReportPage("t", (table,), ()))
    assert text.splitlines()[4:] == [
        "| plain-20<sup>1</sup> | 1 |",
        "| ResNet-20 | 2 |",
        "| ResNet-56<sup>2</sup> | 3 |",
        "| plain-56<sup>1</sup> | 4 |",
        "",
        "<sup>1</sup> `a-log.jsonl:3`; <sup>2</sup> `b.json, a-log.jsonl:3`",
    ]
    page = Page(html(ReportPage("t", (table, Paragraph("See a-log.jsonl:1-3 & b.json, c.d.")), ())))
    assert page.rows[1:] == [list(row) for row in rows]
    assert page.attributes.count(("class", "file")) == 3 + 2  # which a browser does not break at the hyphen


def test_the_papers_observations_are_asked_of_every_pair(tmp_path):
    nets = [
        studies.net(tmp_path, name, shortcut, stds=stds)
        for name, shortcut, stds in (
            ("resnet56", "A", [0.9] * 55),
            ("plain20", None, [1.0] * 19),
            ("resnet20", "A", [0.5] * 10 + [2.0] * 9),
            ("resnet110", "A", [0.3] * 109),
            ("resnet32", "A", []),
        )
    ]
    (plain,) = smaller_than_plain(nets)
    assert not plain.holds
    assert plain.sentence == (
        "ResNet-20's are not smaller than plain-20's: 1.211 and 1.000 on average, and smaller in 10 of 19 layers."
    )
    assert [(o.holds, o.sentence) for o in smaller_with_depth(nets)] == [
        (True, "ResNet-56's are smaller than ResNet-20's: 0.900 and 1.211 on average."),
        (True, "ResNet-110's are smaller than ResNet-56's: 0.300 and 0.900 on average."),
    ]
    page, _ = written(studies.study(tmp_path, nets), tmp_path)
    words = " ".join(page.text.split())
    assert "same depth: no." in words
    assert row(page, "plain-20", "19") == [
        "1.000",
        "1.000",
        "1.000",
        "1.000",
        "8",
        "10,000",
        "plain20-responses.json",
    ]
    assert "ResNets have generally smaller responses" not in smaller_than_plain(nets[:1])


def test_environments_that_differ_are_told_apart(tmp_path):
    studies.train(tmp_path, "plain20", [50.0], [40.0], environment={"host": "a"})
    studies.train(tmp_path, "plain56", [60.0], [50.0], environment={"host": "b"}, settings={"seed": 1})
    page, _ = written(studies.study(tmp_path), tmp_path)
    assert row(page, "host", "plain-20") == ["a"]
    assert row(page, "host", "plain-56") == ["b"]
    assert row(page, "seed", "plain-20") == ["none"]
    assert row(page, "processor", "all runs") == ["a fast one"]


def test_an_example_that_is_not_there_is_not_shown(whole, tmp_path):
    page, text = written(replace(whole, example="nothing.png"), tmp_path)
    assert "img" not in page.tags
    assert "nothing.png" not in text


def test_without_libraries_it_says_what_to_install(whole, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.style", None)
    page, text = written(whole, tmp_path)
    assert "svg" not in page.tags
    assert text.count("figures need matplotlib: pip install 'gluon-resnet\\[plot\\]'") == 2
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(EnvironmentProblem, match=r"gluon-resnet\[plot\]"):
        write_report(whole)
