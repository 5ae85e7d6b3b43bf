"""tools/summary.py from the outside: tables to read, JSON for scripts, and bad arguments."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from gluon_resnet.cli.summary import main
from gluon_resnet.errors import UsageError
from tests.support.paths import ROOT

TOOL = ROOT / "tools" / "summary.py"


def test_a_table_over_stages_and_one_over_networks(capsys):
    assert main(["resnet50_v1b", "plain20"]) is None
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "resnet50, variant v1b, shortcut B: images of 3x224x224, 1000 classes"
    stages = [line.split() for line in lines[4:10]]
    assert [stage[0] for stage in stages] == ["stem", "stage1", "stage2", "stage3", "stage4", "head"]
    assert stages[4] == ["stage4", "10", "2048x7x7", "14,964,736", "22,528", "809,238,528"]
    assert lines[11] == (
        "54 weighted layers, 25,557,032 parameters (25.6M), 53,120 fixed numbers, "
        "4,089,184,256 multiply-adds (4.09x10^9)"
    )
    assert lines[13] == "plain20, variant v1: images of 3x32x32, 10 classes"
    last = [line.split() for line in lines[-2:]]
    assert last[0] == ["resnet50", "v1b", "B", "3x224x224", "54", "25,557,032", "53,120", "4,089,184,256"]
    assert last[1] == ["plain20", "v1", "3x32x32", "20", "269,722", "1,376", "40,551,040"]


def test_gluoncvs_variants(capsys):
    assert main(["resnet20_gluoncv_v1", "resnet20_gluoncv_v2"]) is None
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "resnet20, variant gluoncv_v1, shortcut B: images of 3x32x32, 10 classes"
    rows = [line.split()[:5] for line in lines[-2:]]
    assert rows == [["resnet20", f"gluoncv_v{version}", "B", "3x32x32", "22"] for version in (1, 2)]


def test_every_layer(capsys):
    assert main(["resnet8", "--layers", "--image-shape", "3,33,17", "--num-classes", "4"]) is None
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("images of 3x33x17, 4 classes")
    table = [[part.strip() for part in line.split("  ") if part.strip()] for line in lines[4:-3]]
    assert table[0] == ["conv0", "3x3 convolution", "16x33x17", "432", "0", f"{432 * 33 * 17:,}"]
    assert table[-1] == ["dense0", "fully connected", "4", "260", "0", "256"]
    assert ["stage2_unit1_conv0", "3x3 convolution, stride 2", "32x17x9"] in [row[:3] for row in table]


@pytest.mark.parametrize(("depth", "flops"), [(18, 1.8), (34, 3.6), (50, 3.9), (101, 7.6), (152, 11.3)])
def test_json(capsys, depth, flops):
    options = ["--shortcut", "A"] if depth < 50 else []
    assert main([f"resnet{depth}", *options, "--json"]) is None
    (network,) = json.loads(capsys.readouterr().out)["networks"]
    assert (network["network"], network["image_shape"]) == (f"resnet{depth}", [3, 224, 224])
    assert round(network["multiply_adds"] / 1e9, 1) == flops
    assert sum(stage["parameters"] for stage in network["stages"]) == network["parameters"]
    assert "layers" not in network


def test_json_of_layers(capsys):
    assert main(["resnet8", "--json", "--layers"]) is None
    (network,) = json.loads(capsys.readouterr().out)["networks"]
    assert sum(layer["multiply_adds"] for layer in network["layers"]) == network["multiply_adds"]
    assert network["layers"][0]["kind"] == "3x3 convolution"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("coffee", "there is no network 'coffee'"),
        ("resnet50_v1b --variant v1", "--network resnet50_v1b and --variant v1 name different variants"),
        ("plain20 --shortcut A", "without shortcuts"),
        ("resnet20 --shortcut D", "no shortcut option 'D'"),
        ("resnet50_gluoncv_v1", "is only for residual CIFAR nets"),
        ("resnet20 --num-classes 0", "classes: expected from 1"),
        ("resnet20 --num-classes 9999999999", "classes: expected from 1 to 2147483647, found 9999999999"),
    ],
)
def test_what_cannot_be_is_told(arguments, message):
    with pytest.raises(UsageError, match=message):
        main(arguments.split())


@pytest.mark.parametrize("arguments", ["", "resnet20 --image-shape 1,28,28", "resnet20 --image-shape 3,x,2"])
def test_arguments_that_cannot_be(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments.split())
    assert stop.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-1].startswith("summary.py: error: ")


def test_the_program(tmp_path):
    program = [sys.executable, str(TOOL), "resnet8", "coffee", "--json"]
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("summary.py: error: there is no network 'coffee'")


def test_the_deepest_network_needs_no_weights(capsys):
    assert main(["resnet1202"]) is None
    assert "19,421,274 parameters (19.4M)" in capsys.readouterr().out
