"""tools/responses.py: networks measured on records, or shown from what was measured; what it refuses."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import pytest

from gluon_resnet.analysis.responses import LayerResponse, Responses
from gluon_resnet.cli.responses import main
from gluon_resnet.data import RecordFile
from gluon_resnet.errors import DataError, EnvironmentProblem, ImageError, UsageError
from gluon_resnet.evaluation import Member
from gluon_resnet.evaluation.responses import measure_responses
from gluon_resnet.evaluation.statistics import recompute_statistics
from gluon_resnet.models.saved import load_network
from tests.support.deployed import Model, make_model
from tests.support.evaluate_tool import PAYLOADS, pack
from tests.support.paths import ROOT
from tests.support.pictures import encode, picture


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    """Checkpoints of epoch 3."""
    folder = tmp_path_factory.mktemp("models")
    return {name: make_model(folder, name, 32, 36) for name in ("plain8", "resnet8")}


@pytest.fixture
def records(tmp_path: pathlib.Path) -> str:
    return pack(tmp_path / "val.rec")


def write_measured(path: pathlib.Path, network: str, *stds: float) -> str:
    layers = tuple(LayerResponse(f"conv{index}", 3, std) for index, std in enumerate(stds))
    Responses(network, "a-0001.params", 1, ("a.rec",), 1234, layers, "").save(path)
    return str(path)


def test_recomputed_statistics(models, records, tmp_path):
    prefix, output = models["resnet8"].checkpoint, tmp_path / "o.json"
    options = ["--model-prefix", prefix, "--data-val", records, "--output", str(output)]
    assert main([*options, "--recompute-statistics", records, "--batch-size", "30"]) is None
    found = Responses.load(output)
    assert found.recomputed_statistics == (records,)
    member = Member("", *load_network(prefix, 3))
    files = [RecordFile(records)]
    before = measure_responses(member, files)
    recompute_statistics([member], files, batch_size=30)
    expected = measure_responses(member, files)
    assert found.stds == pytest.approx([layer.std for layer in expected], rel=1e-5)
    # Normalized by their own statistics, outputs have the layer's gamma and beta for moments.
    assert [layer.std for layer in before] != pytest.approx(found.stds, rel=1e-2)


def test_a_file_from_before_version_0_2(tmp_path):
    path = write_measured(tmp_path / "a.json", "resnet8", 1.5)
    values = json.loads(pathlib.Path(path).read_text())
    del values["recomputed_statistics"]
    pathlib.Path(path).write_text(json.dumps(values))
    assert Responses.load(path).recomputed_statistics == ()


def test_networks_are_measured_tabulated_kept_and_drawn(models, records, tmp_path, capsys):
    prefixes = [model.checkpoint for model in models.values()]
    outputs = [str(tmp_path / f"{name}.json") for name in models]
    figure = tmp_path / "figure7.svg"
    options = ["--data-val", records, "--batch-size", "7", "--data-nthreads", "2", "--figure", str(figure)]
    assert main(["--model-prefix", *prefixes, *options, "--output", *outputs, "--epoch", "3"]) is None
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    for (name, model), path, row in zip(models.items(), outputs, rows[2:]):
        found = Responses.load(path)
        member = Member("", *load_network(model.checkpoint, 3))
        expected = measure_responses(member, [RecordFile(records)])
        assert [layer.name for layer in found.layers] == [layer.name for layer in expected]
        assert found.stds == pytest.approx([layer.std for layer in expected], rel=1e-5)
        assert (found.network, found.epoch, found.images, found.data) == (name, 3, 30, (records,))
        assert found.parameters == f"{model.checkpoint}-0003.params"
        assert f"--data-val {records}" in found.command
        stds = sorted(found.stds)
        summary = [sum(stds) / 7, stds[3], stds[0], stds[-1]]
        assert row == [name, found.parameters, "30", "7", *(f"{value:.3f}" for value in summary)]
    words = " ".join(ElementTree.parse(figure).getroot().itertext())
    assert all(name in words for name in models)


def test_two_contexts_measure_the_same(models, records, tmp_path):
    options = ["--model-prefix", models["resnet8"].checkpoint, "--data-val", records]
    paths = [str(tmp_path / "one.json"), str(tmp_path / "two.json")]
    main([*options, "--output", paths[0]])
    main([*options, "--output", paths[1], "--cpus", "2", "--batch-size", "11"])
    one, two = map(Responses.load, paths)
    assert two.stds == pytest.approx(one.stds, rel=1e-5)


def test_what_was_measured_is_shown_without_mxnet(tmp_path):
    files = [
        write_measured(tmp_path / "a.json", "plain8", 3.0, 1.0, 2.5),
        write_measured(tmp_path / "b.json", "resnet8", 0.5, 0.25),
    ]
    done = run_tool(["--measured", *files, "--figure", str(tmp_path / "f.png")])
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split() for line in done.stdout.splitlines()[2:]] == [
        ["plain8", "a-0001.params", "1,234", "3", "2.167", "2.500", "1.000", "3.000"],
        ["resnet8", "a-0001.params", "1,234", "2", "0.375", "0.375", "0.250", "0.500"],
    ]
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")


def test_measured_ones_stand_before_those_to_measure(models, records, tmp_path, capsys):
    before = write_measured(tmp_path / "a.json", "plain20", 1.0)
    main(["--measured", before, "--model-prefix", models["resnet8"].checkpoint, "--data-val", records])
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[2:]] == ["plain20", "resnet8"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "nothing to show: give --model-prefix and --data-val, or --measured"),
        ("--model-prefix {net}", "give both --model-prefix and --data-val"),
        ("--data-val {rec} --measured {json}", "give both --model-prefix and --data-val"),
        ("--model-prefix {net} --data-val {rec} --output a.json b.json", "each of 1 networks, found 2"),
        ("--measured {json} --output a.json", "each of 0 networks, found 1"),
        (
            "--model-prefix {net} {net} --data-val {rec} --output a.json ./a.json",
            "two networks cannot have the same file",
        ),
        ("--model-prefix {net} {net} --data-val {rec} --epoch 1 2 3", "--epoch: expected one for all"),
        ("--model-prefix {net} --data-val {rec} --figure f.pdf", r"f\.pdf: a figure is a \.png or \.svg"),
        ("--model-prefix {net} --data-val {rec} --figure no/f.svg", "--figure: there is no folder no"),
        ("--model-prefix {net}x --data-val {rec}", r"there is no .*x-NNNN\.params"),
        (
            "--model-prefix {export} --data-val {rec}",
            "an exported graph does not show its layers: name the checkpoint",
        ),
    ],
)
def test_options_that_cannot_be_are_told_in_a_sentence(models, records, tmp_path, arguments, message):
    model = models["resnet8"]
    known = {"net": model.checkpoint, "export": model.prefix, "rec": records}
    known["json"] = write_measured(tmp_path / "a.json", "plain8", 1.0)
    with pytest.raises(UsageError, match=message):
        main(arguments.format(**known).split())


def test_a_file_that_cannot_be_is_told_before_the_work(models, records, tmp_path):
    bad = pack(tmp_path / "bad.rec", [*PAYLOADS[:29], encode(picture(200, 200))[:1500]])
    options = ["--model-prefix", models["resnet8"].checkpoint, "--data-val", bad]
    with pytest.raises(OSError, match="nowhere"):
        main([*options, "--output", "nowhere/a.json"])
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(ImageError, match=r"bad\.rec: record with key 29 at offset \d+: bad JPEG"):
        main([*options, "--output", str(tmp_path / "a.json"), "--figure", str(tmp_path / "f.png")])
    assert sorted(os.listdir(tmp_path)) == before


def test_a_network_that_was_measured_is_kept_when_the_next_one_fails(models, records, tmp_path):
    prefixes = [model.checkpoint for model in models.values()]
    outputs = [str(tmp_path / "a.json"), str(tmp_path / "no" / "b.json")]
    with pytest.raises(FileNotFoundError):
        main(["--model-prefix", *prefixes, "--data-val", records, "--output", *outputs])
    assert Responses.load(outputs[0]).network == "plain8"


def test_libraries_that_are_missing_are_told(tmp_path, monkeypatch):
    measured = write_measured(tmp_path / "a.json", "plain8", 1.0)
    monkeypatch.setitem(sys.modules, "tabulate", None)
    with pytest.raises(EnvironmentProblem, match=r"tables need tabulate: pip install 'gluon-resnet\[plot\]'"):
        main(["--measured", measured])
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(
        EnvironmentProblem, match=r"figures need matplotlib: pip install 'gluon-resnet\[plot\]'"
    ):
        main(["--model-prefix", "x", "--data-val", "x", "--figure", str(tmp_path / "f.png")])


def test_errors_are_one_sentence_and_a_status(tmp_path):
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(DataError, match=r"a\.json is not a file of layer responses"):
        main(["--measured", str(tmp_path / "a.json")])
    for arguments, status in (
        (["--measured", str(tmp_path / "a.json")], 1),
        (["--measured", str(tmp_path / "b.json")], 1),
        ([], 2),
        (["--model-prefix", "x", "--data-val", "x"], 1),  # no MXNet
    ):
        done = run_tool(arguments)
        assert (done.returncode, done.stdout) == (status, "")
        assert done.stderr.startswith("responses.py: error: ")
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", ["--batch-size 0", "--cpus 0", "--epoch -1", "--gpus 0,0", "--figur a.png"]
)
def test_arguments_that_are_no_numbers_are_refused(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--model-prefix", "a", "--data-val", "a.rec", *arguments.split()])
    assert stop.value.code == 2
    assert "responses.py: error: " in capsys.readouterr().err


def run_tool(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """The program itself, where MXNet cannot be imported."""
    code = "import runpy, sys; sys.modules['mxnet'] = None; runpy.run_path(sys.argv[0], run_name='__main__')"
    command = f"import sys; sys.argv = sys.argv[1:]; {code}"
    tool = str(ROOT / "tools" / "responses.py")
    return subprocess.run(
        [sys.executable, "-c", command, tool, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
