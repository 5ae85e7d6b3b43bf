"""tools/export.py: whole files that belong together, or an error that names what is wrong."""

from __future__ import annotations

import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import onnx
import pytest

from gluon_resnet._mxnet import mx
from gluon_resnet.card import ModelCard
from gluon_resnet.cli.export import main
from gluon_resnet.deploy.export import export
from gluon_resnet.errors import EnvironmentProblem, ModelError, UsageError
from gluon_resnet.evaluation.card_entries import measured_error
from gluon_resnet.models.parameters import read_arrays
from gluon_resnet.models.units import VARIANTS
from gluon_resnet.provenance import DataSet, TrainedBy, TrainedOn
from tests.support.deployed import Model, change_arrays, make_model, read_json, truncate
from tests.support.paths import ROOT
from tests.support.pictures import picture


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


@pytest.mark.parametrize("variant", VARIANTS)
def test_fusion_keeps_what_the_network_computes(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, variant: str
) -> None:
    """oneDNN's fusion folds a convolution into the normalization behind it, though another node reads it, too."""
    monkeypatch.setenv("MXNET_SUBGRAPH_BACKEND", "MKLDNN")
    model = make_model(tmp_path, "resnet20", 32, 32, variant=variant)
    symbol, *parameters = mx.model.load_checkpoint(model.prefix, 0)
    module = mx.mod.Module(symbol, label_names=None)
    module.bind(for_training=False, data_shapes=[("data", (3, 3, 32, 32))])
    module.set_params(*parameters)
    inputs = mx.nd.array([picture(32, 32, i).transpose(2, 0, 1) for i in range(3)])
    module.forward(mx.io.DataBatch([inputs]), is_train=False)
    found, expected = module.get_outputs()[0].asnumpy(), model.net(inputs).asnumpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


def test_card_goes_along(model: Model) -> None:
    before, after = (read_json(f"{p}-model.json") for p in (model.checkpoint, model.prefix))
    checkpoint = pathlib.Path(f"{model.checkpoint}-0003.params").read_bytes()
    exported = {"sha256": hashlib.sha256(checkpoint).hexdigest(), "formats": {"mxnet": "1.9.1"}}
    assert after == {**before, "epoch": 3, "exported": exported}


def test_the_errors_of_the_epoch_go_along(checkpoint: str, tmp_path: pathlib.Path) -> None:
    data = DataSet(("val.rec",), 50, "0123456789abcdef")
    errors = tuple(measured_error(data, "1-crop", epoch, 10 * epoch, 5, epoch) for epoch in (2, 3, 4))
    card = ModelCard.load(f"{checkpoint}-model.json")
    recipe = TrainedBy("cifar10", "train.py", {"lr": 0.1})
    card = replace(card, epoch=4, data=TrainedOn(data), recipe=recipe, errors=errors, versions={"mxnet": "1"})
    card.save(f"{checkpoint}-model.json")
    export(checkpoint, 3, tmp_path / "net")
    exported = ModelCard.load(tmp_path / "net-model.json")
    assert exported == replace(card, epoch=3, errors=errors[1:2], exported=exported.exported)


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
    assert read_json(f"{output}-model.json")["epoch"] == 3


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


@pytest.mark.parametrize(
    ("format", "ends"),
    [
        ("mxnet", ["-0000.params", "-model.json", "-symbol.json"]),
        ("onnx", ["-model.json", ".onnx"]),
        ("both", ["-0000.params", "-model.json", "-symbol.json", ".onnx"]),
    ],
)
def test_each_format_has_its_files(
    checkpoint: str, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], format: str, ends: list[str]
) -> None:
    output = tmp_path / "new" / "net"
    main(["--model-prefix", checkpoint, "--output", str(output), "--format", format])
    assert sorted(os.listdir(output.parent)) == [f"net{end}" for end in ends]
    printed = capsys.readouterr()
    assert all(f"{output}{end}" in printed.out for end in ends)
    assert not printed.err
    versions = {"mxnet": "1.9.1", "onnx": "opset 13"}
    kinds = list(versions) if format == "both" else [format]
    assert read_json(f"{output}-model.json")["exported"]["formats"] == {
        kind: versions[kind] for kind in kinds
    }


def test_files_of_an_earlier_export_are_named_unless_they_belong(
    checkpoint: str, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = str(tmp_path / "net")
    change_arrays(
        shutil.copy(f"{checkpoint}-0003.params", f"{checkpoint}-0004.params"),
        {"1.output.bias": np.zeros(12, "f")},
    )

    def messages(epoch: int, format: str) -> tuple[str, list[str]]:
        main(["--model-prefix", checkpoint, "--epoch", str(epoch), "--output", output, "--format", format])
        card = read_json(f"{output}-model.json")
        return capsys.readouterr().err, list(card["exported"]["formats"])

    about_onnx = f"export.py: left by an earlier export of other parameters: {output}.onnx\n"
    assert messages(3, "mxnet") == ("", ["mxnet"])
    assert messages(3, "onnx") == ("", ["mxnet", "onnx"])
    assert messages(3, "mxnet") == ("", ["mxnet", "onnx"])
    assert messages(4, "mxnet") == (about_onnx, ["mxnet"])
    assert messages(4, "mxnet") == (about_onnx, ["mxnet"])
    assert messages(4, "both") == ("", ["mxnet", "onnx"])
    error, formats = messages(3, "onnx")
    assert formats == ["onnx"]
    assert f"{output}-symbol.json, {output}-0000.params" in error
    os.unlink(f"{output}-0000.params")
    os.unlink(f"{output}-symbol.json")
    assert messages(3, "onnx") == ("", ["onnx"])
    pathlib.Path(f"{output}-model.json").write_text("no card")
    assert messages(3, "mxnet")[0] == about_onnx


def test_both_formats_are_what_each_alone_is(checkpoint: str, tmp_path: pathlib.Path) -> None:
    for format in ("mxnet", "onnx", "both"):
        export(checkpoint, 3, tmp_path / format, format)
    for end in ("-symbol.json", "-0000.params"):
        assert (tmp_path / f"both{end}").read_bytes() == (tmp_path / f"mxnet{end}").read_bytes()
    both, alone = (onnx.load(tmp_path / f"{name}.onnx") for name in ("both", "onnx"))
    assert both.graph == alone.graph


def test_best_epoch_is_the_one_that_training_marked(checkpoint: str, tmp_path: pathlib.Path) -> None:
    shutil.copy(f"{checkpoint}-0003.params", f"{checkpoint}-0007.params")
    output = str(tmp_path / "net")
    with pytest.raises(UsageError, match=r"no link .*run-best\.params"):
        main(["--model-prefix", checkpoint, "--epoch", "best", "--output", output])
    os.symlink("run-0003.params", f"{checkpoint}-best.params")
    main(["--model-prefix", checkpoint, "--epoch", "best", "--output", output])
    assert read_json(f"{output}-model.json")["epoch"] == 3


@pytest.mark.parametrize("output", ["", "folder", "folder/"])
def test_a_folder_is_no_beginning_of_names(checkpoint: str, tmp_path: pathlib.Path, output: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(UsageError, match="is a folder: add the beginning of the files' names"):
        export(checkpoint, 3, f"{tmp_path}/{output}")
    assert os.listdir(tmp_path / "folder") == []


@pytest.mark.parametrize("end", ["-symbol.json", "-0000.params", "-model.json", ".onnx"])
def test_a_folder_in_the_place_of_a_file(checkpoint: str, tmp_path: pathlib.Path, end: str) -> None:
    (tmp_path / "out" / f"net{end}").mkdir(parents=True)
    with pytest.raises(IsADirectoryError) as caught:
        export(checkpoint, 3, tmp_path / "out" / "net", "both")
    assert caught.value.filename == str(tmp_path / "out" / f"net{end}")
    assert os.listdir(tmp_path / "out") == [f"net{end}"]


def test_unknown_format(checkpoint: str, tmp_path: pathlib.Path) -> None:
    with pytest.raises(UsageError, match="format: expected one of mxnet, onnx, both, found 'tflite'"):
        export(checkpoint, 3, tmp_path / "net", "tflite")


def test_the_checkpoint_is_not_overwritten(checkpoint: str, tmp_path: pathlib.Path) -> None:
    before = pathlib.Path(shutil.copy(f"{checkpoint}-0003.params", f"{checkpoint}-0000.params")).read_bytes()
    for format in ("mxnet", "both"):
        with pytest.raises(UsageError, match="would overwrite the checkpoint"):
            export(checkpoint, 0, checkpoint, format)
    assert pathlib.Path(f"{checkpoint}-0000.params").read_bytes() == before


def test_onnx_without_its_package_is_one_sentence(
    checkpoint: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.delitem(sys.modules, "gluon_resnet.deploy.onnx_export", raising=False)
    monkeypatch.delattr("gluon_resnet.deploy.onnx_export", raising=False)
    with pytest.raises(EnvironmentProblem, match=r"pip install 'gluon-resnet\[onnx\]'"):
        export(checkpoint, 3, tmp_path / "net", "both")
    assert not list(tmp_path.glob("net*"))
    export(checkpoint, 3, tmp_path / "net")
    assert (tmp_path / "net-symbol.json").exists()


@pytest.mark.parametrize(
    ("bytes_left", "format", "end"),
    [
        (500, "both", "-model.json"),
        (20_000, "both", "-symbol.json"),
        (500_000, "both", "-0000.params"),
        (500_000, "onnx", ".onnx"),
    ],
)
def test_a_full_disk_leaves_the_older_files(
    checkpoint: str, tmp_path: pathlib.Path, bytes_left: int, format: str, end: str
) -> None:
    ends = ("-symbol.json", "-0000.params", "-model.json", ".onnx")
    (tmp_path / "out").mkdir()
    for name in ends:
        (tmp_path / "out" / f"net{name}").write_text("older")
    code = f"""
import resource, runpy, sys
import gluon_resnet.deploy.onnx_export
resource.setrlimit(resource.RLIMIT_FSIZE, ({bytes_left}, {bytes_left}))
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
    output = tmp_path / "out" / "net"
    command = [sys.executable, "-c", code, ROOT / "tools" / "export.py"]
    command += ["--model-prefix", checkpoint, "--output", output, "--format", format]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert (done.returncode, done.stdout) == (1, "")
    first = done.stderr.partition("\n")[0]  # what measures coverage complains behind it
    assert first == f"export.py: error: {output}{end}: File too large"
    assert sorted(os.listdir(tmp_path / "out")) == sorted(f"net{name}" for name in ends)
    assert all((tmp_path / "out" / f"net{name}").read_text() == "older" for name in ends)
