"""tools/card.py: what a model card says, as text, without MXNet."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from gluon_resnet.card import ModelCard
from gluon_resnet.cli.card import main
from gluon_resnet.deploy import PartialCard
from gluon_resnet.errors import ModelError
from gluon_resnet.provenance import DataSet, Exported, MeasuredError, Source, TrainedBy, TrainedOn
from tests.support.paths import ROOT

TOOL = ROOT / "tools" / "card.py"
VALIDATION = DataSet(("val.rec",), 5000, "fedcba9876543210")
CARD = ModelCard(
    network="resnet20",
    classes=("cat", "dog"),
    size=32,
    mean=(125.3, 123.0, 113.9),
    std=(63.0, 62.1, 66.7),
    resize=36,
    shortcut="B",
    epoch=3,
    data=TrainedOn(DataSet(("train.rec", "more.rec"), 45_000, "0123456789abcdef"), VALIDATION),
    recipe=TrainedBy("cifar10", "train.py --lr 0.1", {"lr": 0.1, "batch_size": 128}),
    errors=(
        MeasuredError(
            VALIDATION, "1-crop", 3, "2026-11-21T18:30:00Z", 50.0, (48.6, 51.4), 2, 12.5, (11.6, 13.4)
        ),
    ),
    versions={"mxnet": "1.9.1"},
    source=Source("torchvision", "/a/b.pth", "0" * 64, "convert.py b.pth"),
    exported=Exported("1" * 64, {"mxnet": "1.9.1", "onnx": "opset 13"}),
    quantization={"mode": "entropy"},
)
TEXT = f"""\
net-model.json: resnet20
  variant        v1, shortcut option B
  classes        2: cat, dog
  images         shorter side 36 (linear), centre 32x32, libjpeg-turbo
  normalization  mean 125.3 123 113.9, deviation 63 62.1 66.7
  epochs         3
  trained on     45,000 images of train.rec, more.rec (0123456789abcdef)
  validated on   5,000 images of val.rec (fedcba9876543210)
  recipe         cifar10: lr 0.1, batch_size 128
  command        train.py --lr 0.1
  converted from /a/b.pth (torchvision, SHA-256 {"0" * 64})
  error          50.00 % (48.60 to 51.40), epoch 3, 1-crop of 5,000 images of val.rec \
(fedcba9876543210), 2026-11-21T18:30:00Z
  exported       mxnet 1.9.1, onnx opset 13, of parameters with SHA-256 {"1" * 64}
  quantization   mode entropy
  versions       mxnet 1.9.1
"""
LITTLE = """\
few-model.json: unknown
  variant        v1
  classes        12: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ...
  images         centre 8x8
  normalization  mean 0 0 0, deviation 1 1 1
"""


def test_all_that_is_known_is_printed_without_mxnet(tmp_path):
    CARD.save(tmp_path / "net-model.json")
    PartialCard(8).of_graph(12, "few").save(tmp_path / "few-model.json")
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['mxnet'] = None")
    done = subprocess.run(
        [sys.executable, TOOL, "net", "few"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr, done.stdout) == (0, "", TEXT + LITTLE)


def test_what_a_terminal_would_obey_is_not_printed(tmp_path, capsys):
    hostile = replace(CARD, network="a\x1b[2J", classes=("Hühnerhabicht", "b\nc", "d\x9b1m"))
    hostile.save(tmp_path / "net-model.json")
    main([str(tmp_path / "net")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("net-model.json: a\\u001b[2J")
    assert lines[2] == "  classes        3: Hühnerhabicht, b\\nc, d\\u009b1m"


def test_nothing_is_printed_where_one_card_is_damaged(tmp_path, capsys):
    CARD.save(tmp_path / "net-model.json")
    (tmp_path / "bad-model.json").write_text("{}")
    with pytest.raises(ModelError, match=r"bad-model\.json: the card: expected the keys format, network"):
        main([str(tmp_path / "net"), str(tmp_path / "bad")])
    assert capsys.readouterr().out == ""
