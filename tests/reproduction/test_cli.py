"""tools/reproduce.py from the outside: Table 1, and what it says of networks that are not the paper's."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gluon_resnet.analysis import table1
from gluon_resnet.cli.reproduce import main
from gluon_resnet.models import get_model
from tests.support.paths import ROOT

TOOL = ROOT / "tools" / "reproduce.py"


def test_table_1_is_reproduced(capsys):
    assert main(["table1"]) is None
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert [part.strip() for part in lines[1].split("|")[1:-1]] == [
        *("layer name", "output size"),
        *("18-layer", "34-layer", "50-layer", "101-layer", "152-layer"),
    ]
    cells = [[part.strip() for part in line.split("|")[1:-1]] for line in lines if line.startswith("|")]
    assert ["conv1", "112x112", *["7x7, 64, stride 2"] * 5] in cells
    conv4 = next(i for i, row in enumerate(cells) if row[0] == "conv4_x")
    assert cells[conv4][1:] == ["14x14", "[3x3, 256]", "[3x3, 256]", *["[1x1, 256 ]"] * 3]
    assert cells[conv4 + 1][2:] == [
        *("[3x3, 256] x 2", "[3x3, 256] x 6"),
        *("[3x3, 256 ] x 6", "[3x3, 256 ] x 23", "[3x3, 256 ] x 36"),
    ]
    assert ["FLOPs", "", "1.79x10^9", "3.64x10^9", "3.86x10^9", "7.57x10^9", "11.28x10^9"] in cells
    assert "Every cell equals that of the paper's Table 1" in lines[-1]


@pytest.mark.parametrize(
    ("replaced", "built", "cells"),
    [
        (  # another number of units
            "resnet18",
            {"name": "resnet34"},
            {
                "conv2_x, 18-layer: expected [3x3, 64; 3x3, 64] x 2, found [3x3, 64; 3x3, 64] x 3",
                "conv3_x, 18-layer: expected [3x3, 128; 3x3, 128] x 2, found [3x3, 128; 3x3, 128] x 4",
                "conv4_x, 18-layer: expected [3x3, 256; 3x3, 256] x 2, found [3x3, 256; 3x3, 256] x 6",
                "conv5_x, 18-layer: expected [3x3, 512; 3x3, 512] x 2, found [3x3, 512; 3x3, 512] x 3",
                "FLOPs, 18-layer: expected 1.8x10^9, found 3.644x10^9",
            },
        ),
        (  # the stride elsewhere
            "resnet50",
            {"name": "resnet50", "variant": "v1b"},
            {
                "stride 2, 50-layer: expected conv3_1, conv4_1, conv5_1, found none",
                "FLOPs, 50-layer: expected 3.8x10^9, found 4.089x10^9",
            },
        ),
        (  # another width
            "resnet101",
            {"name": "resnet101", "classes": 10},
            {
                "last row, 101-layer: expected average pool, 1000-d fc, softmax, "
                "found average pool, 10-d fc, softmax"
            },
        ),
    ],
)
def test_a_network_that_differs_is_named_cell_by_cell(monkeypatch, capsys, replaced, built, cells):
    def get(name, shortcut):
        return (
            get_model(**built, shortcut=shortcut) if name == replaced else get_model(name, shortcut=shortcut)
        )

    monkeypatch.setattr(table1, "get_model", get)
    assert main(["table1"]) == 1
    out, err = capsys.readouterr()
    *found, last = err.splitlines()
    assert {line.removeprefix("reproduce.py: table1: ") for line in found} == cells
    assert last == f"reproduce.py: error: {len(cells)} cells differ from the paper's Table 1"
    assert "Every cell" not in out


def test_a_network_of_another_family_is_told_and_not_a_traceback(monkeypatch, capsys):
    monkeypatch.setattr(table1, "get_model", lambda name, shortcut: get_model("resnet20", 10))
    assert main(["table1"]) == 1
    err = capsys.readouterr().err
    assert "conv1, 18-layer: expected 7x7, 64, stride 2, found 3x3, 16" in err
    assert "output size of 18-layer: expected 112x112, found 224x224" in err


def test_the_program(tmp_path):
    done = subprocess.run([sys.executable, str(TOOL), "table1"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_table_that_is_not_there(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["table9"])
    assert stop.value.code == 2
    assert "invalid choice: 'table9'" in capsys.readouterr().err
