"""tools/export.py: three whole files, or an error that names what is wrong."""

from __future__ import annotations

import os
import pathlib
import shutil
import sys

import numpy as np
import pytest
from deployed import Model, change_arrays, make_model, read_json, truncate

from gluon_resnet._mxnet import mx
from gluon_resnet.cli.export import main
from gluon_resnet.deploy import export
from gluon_resnet.errors import ModelError, UsageError
from gluon_resnet.models.parameters import read_arrays


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return make_model(tmp_path_factory.mktemp("model"), "resnet20", 32, 32)


@pytest.fixture
def checkpoint(model: Model, tmp_path: pathlib.Path) -> str:
    """A copy of the checkpoint that a test may damage."""
    for end in ("-model.json", "-0003.params"):
        shutil.copy(model.checkpoint + end, tmp_path / f"run{end}")
    return str(tmp_path / "run")


def test_writes_what_hybridblock_export_writes(model: Model, tmp_path: pathlib.Path) -> None:
    model.net.hybridize()
    model.net(mx.nd.zeros((1, 3, 32, 32)))
    model.net.export(str(tmp_path / "gluon"))
    ours, theirs = read_arrays(f"{model.prefix}-0000.params"), read_arrays(tmp_path / "gluon-0000.params")
    assert ours.keys() == theirs.keys()
    for name, array in theirs.items():
        np.testing.assert_array_equal(ours[name], array)
    graphs = [mx.sym.load(f"{prefix}-symbol.json") for prefix in (model.prefix, tmp_path / "gluon")]
    assert graphs[0].list_arguments() == graphs[1].list_arguments()
    assert graphs[0].list_arguments()[0] == "data"


def test_card_goes_along(model: Model) -> None:
    before, after = (read_json(f"{p}-model.json") for p in (model.checkpoint, model.prefix))
    assert after.pop("training") == {"recipe": "none", "exported_epoch": 3}
    before.pop("training")
    assert after == before


def test_command_line_takes_the_newest_epoch_and_makes_the_folder(
    checkpoint: str, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(f"{checkpoint}-0003.params", f"{checkpoint}-0012.params")
    output = str(tmp_path / "new" / "folder" / "net")
    assert main(["--model-prefix", checkpoint, "--output", output]) is None
    assert "epoch 12" in capsys.readouterr().out
    assert sorted(os.listdir(os.path.dirname(output))) == [
        "net-0000.params",
        "net-model.json",
        "net-symbol.json",
    ]
    main(["--model-prefix", checkpoint, "--epoch", "3", "--output", output])
    assert read_json(f"{output}-model.json")["training"]["exported_epoch"] == 3


def test_no_checkpoint(tmp_path: pathlib.Path) -> None:
    with pytest.raises(UsageError, match=r"there is no .*run-NNNN\.params"):
        main(["--model-prefix", str(tmp_path / "run"), "--output", str(tmp_path / "net")])


def test_no_such_epoch(checkpoint: str, tmp_path: pathlib.Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        export(checkpoint, 7, tmp_path / "net")
    assert caught.value.filename == f"{checkpoint}-0007.params"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"1.output.bias": None}, r"1\.output\.bias is missing, expected with shape \(12,\)"),
        ({"1.extra": np.zeros(3, "f")}, r"1\.extra .* does not belong"),
        ({"1.output.bias": np.zeros(10, "f")}, r"1\.output\.bias: expected shape \(12,\), found \(10,\)"),
        ({"0.mean": np.zeros((1, 1), "f")}, r"0\.mean: expected shape \(3, 1, 1\), found \(1, 1\)"),
        (None, r"expected \d+ bytes of .*, found \d+"),
    ],
    ids=["missing", "extra", "shape", "dimensions", "truncated"],
)
def test_parameters_that_do_not_fit(
    checkpoint: str, tmp_path: pathlib.Path, change: dict, message: str
) -> None:
    path = f"{checkpoint}-0003.params"
    if change is None:
        truncate(path, 300000)
    else:
        change_arrays(path, change)
    with pytest.raises(ModelError, match=message) as caught:
        export(checkpoint, 3, tmp_path / "net")
    assert caught.value.path == path
    assert str(caught.value).startswith(path)
    assert not list(tmp_path.glob("net*"))


def test_broken_card(checkpoint: str, tmp_path: pathlib.Path) -> None:
    truncate(f"{checkpoint}-model.json", 50)
    with pytest.raises(ModelError, match=r"run-model\.json"):
        export(checkpoint, 3, tmp_path / "net")


def test_failure_keeps_the_older_files(
    checkpoint: str, model: Model, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = ("-symbol.json", "-0000.params", "-model.json")
    for end in ends:
        (tmp_path / f"net{end}").write_text("older")

    def full(path: str, arrays: object) -> None:
        raise OSError(28, "No space left on device", path)

    monkeypatch.setattr(sys.modules["gluon_resnet.deploy.export"], "write_arrays", full)
    with pytest.raises(OSError, match="No space left"):
        export(checkpoint, 3, tmp_path / "net")
    assert [(tmp_path / f"net{end}").read_text() for end in ends] == ["older"] * 3
    assert not list(tmp_path.glob(".*"))


def test_does_not_overwrite_its_checkpoint(checkpoint: str) -> None:
    os.rename(f"{checkpoint}-0003.params", f"{checkpoint}-0000.params")
    with pytest.raises(UsageError, match="overwrite"):
        export(checkpoint, 0, checkpoint)
