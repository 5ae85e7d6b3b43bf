"""tools/evaluate.py with bad arguments and files: one sentence, a status, and nothing half-written."""

from __future__ import annotations

import os
import pathlib
import shutil
import signal
import time
from dataclasses import replace

import pytest

from gluon_resnet._mxnet import mx
from gluon_resnet.cli.evaluate import main
from gluon_resnet.errors import DataError, EnvironmentProblem, ImageError, ModelError, UsageError
from gluon_resnet.models import build_network
from gluon_resnet.models.saved import save_network
from tests.support.deployed import Model, change_json, make_model, truncate
from tests.support.evaluate_tool import CLASSES, LABELS, PAYLOADS, evaluated, pack, tool
from tests.support.pictures import encode, picture


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A checkpoint of epoch 3, and its export."""
    return make_model(tmp_path_factory.mktemp("model"), "resnet8", 32, 36)


@pytest.fixture
def records(tmp_path: pathlib.Path) -> str:
    return pack(tmp_path / "val.rec")


@pytest.fixture
def options(model: Model, records: str) -> list[str]:
    return ["--model-prefix", model.checkpoint, "--data-val", records]


def copy_of(model: Model, folder: pathlib.Path) -> str:
    """The prefix of a copy of the checkpoint, to be damaged."""
    for end in ("0003.params", "model.json"):
        shutil.copy(f"{model.checkpoint}-{end}", folder / f"copy-{end}")
    return str(folder / "copy")


def test_statistics_that_cannot_be_recomputed(model, options, records, tmp_path):
    again = ["--recompute-statistics", records]
    with pytest.raises(UsageError, match="statistics that are not saved: omit --recompute-statistics"):
        main([*options, *again, "--update-card"])
    exported = ["--model-prefix", model.prefix, "--data-val", records]
    with pytest.raises(UsageError, match="an exported graph does not show its layers"):
        main([*exported, *again])
    with pytest.raises(UsageError, match="the same records"):
        main([*options, *again, records])
    missing = str(tmp_path / "missing.rec")
    with pytest.raises(FileNotFoundError, match=r"missing\.rec"):
        main([*options, "--recompute-statistics", missing])
    bad = pack(tmp_path / "bad.rec", [PAYLOADS[0], b"no image"], [0, 1])
    with pytest.raises(ImageError, match=r"bad\.rec"):
        main([*options, "--recompute-statistics", bad])


def test_classes_have_to_agree(model, options, records, tmp_path, capsys):
    beside = tmp_path / "val.classes"
    beside.write_text("".join(f"{name}\n" for name in ["dog", *CLASSES[1:]]))
    with pytest.raises(
        DataError, match=r"class 0 is 'dog' in .*val\.classes, but 'class 0' in .*-0003\.params"
    ):
        main(options)
    beside.write_text("\n".join(CLASSES[:5]))
    with pytest.raises(DataError, match=r"val\.classes has 5 classes, but .*-0003\.params has 12"):
        main(options)
    beside.write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match=r"val\.classes: not in UTF-8"):
        main(options)
    beside.write_text("".join(f"{label}\n" for label in range(12)))
    assert evaluated(capsys, *options)["images"] == 30
    beside.unlink()
    assert evaluated(capsys, *options)["images"] == 30
    shutil.copy(records, tmp_path / "copy.rec")
    with pytest.raises(
        UsageError, match=r"val\.rec and .*copy\.rec hold the same records, which would count twice"
    ):
        main([*options, str(tmp_path / "copy.rec")])
    more = pack(tmp_path / "more.rec", names=[*CLASSES[:11], "cat"])
    with pytest.raises(DataError, match=r"class 11 is 'cat' in .*more\.classes"):
        main([*options, more])

    for names, message in (
        ([*CLASSES[:3], "cat", *CLASSES[4:]], "class 3 is 'cat' in .*copy-0003"),
        (CLASSES[:7], "7 classes"),
    ):
        card = replace(model.card, classes=tuple(names))
        other = build_network(card)
        other.initialize()
        save_network(tmp_path / "copy", 3, card, other)
        with pytest.raises(UsageError, match=message):
            main(["--model-prefix", model.checkpoint, str(tmp_path / "copy"), "--data-val", records])


def test_networks_that_are_not_there_or_damaged(model, options, records, tmp_path):
    with pytest.raises(UsageError, match=r"there is no .*nothing-NNNN\.params"):
        main(["--model-prefix", str(tmp_path / "nothing"), "--data-val", records])
    with pytest.raises(FileNotFoundError, match=r"-0007\.params"):
        main([*options, "--epoch", "7"])
    prefix = copy_of(model, tmp_path)
    change_json(f"{prefix}-model.json", {"network": "resnet14"})
    with pytest.raises(ModelError, match=r"copy-0003\.params: parameter 1\.features\.\S+ is missing"):
        main(["--model-prefix", prefix, "--data-val", records])
    truncate(f"{prefix}-0003.params", 5000)
    with pytest.raises(ModelError, match=r"copy-0003\.params: expected \d+ bytes"):
        main(["--model-prefix", prefix, "--data-val", records])
    for end in ("0000.params", "model.json"):
        shutil.copy(f"{model.prefix}-{end}", tmp_path / f"export-{end}")
    with pytest.raises(FileNotFoundError, match=r"export-symbol\.json"):
        main(["--model-prefix", str(tmp_path / "export"), "--data-val", records])


@pytest.mark.parametrize("protocol", ["1-crop", "10-crop", "multi-scale --scales 32,40"])
def test_a_bad_record_ends_it_and_leaves_no_file(options, tmp_path, protocol):
    payloads = [*PAYLOADS[:20], encode(picture(200, 200))[:1500], *PAYLOADS[21:]]
    bad = pack(tmp_path / "bad.rec", payloads)
    files = ["--output", str(tmp_path / "o.json"), "--confusion", str(tmp_path / "c.csv")]
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(ImageError, match=r"bad\.rec: record with key 20 at offset \d+: bad JPEG"):
        main([*options, bad, "--protocol", *protocol.split(), *files, "--batch-size", "8"])
    assert sorted(os.listdir(tmp_path)) == before


def test_errors_are_one_sentence_and_a_status(options, tmp_path):
    wrong = pack(tmp_path / "wrong.rec", labels=[*LABELS[:29], 99])
    runs = {
        1: tool(*options, wrong, "--json"),
        2: tool(*options, "--scales", "32", "--json"),
    }
    messages = {
        1: "wrong.rec: record with key 29 at offset",
        2: "--scales requires --protocol multi-scale",
    }
    for status, process in runs.items():
        out, err = process.communicate(timeout=600)
        assert (process.returncode, out) == (status, "")
        assert err.startswith("evaluate.py: error: ")
        assert messages[status] in err
        assert err.count("\n") == 1


def test_ctrl_c_ends_it_and_leaves_no_file(model, tmp_path):
    records = pack(tmp_path / "many.rec", PAYLOADS * 400, LABELS * 400)
    before = sorted(os.listdir(tmp_path))
    arguments = ["--model-prefix", model.checkpoint, "--data-val", records, "--protocol", "10-crop"]
    process = tool(*arguments, "--output", str(tmp_path / "o.json"), "--json")
    deadline = time.monotonic() + 60
    while sorted(os.listdir(tmp_path)) == before:  # the file that is to become o.json appears with the work
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=600)
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize(
    "arguments",
    [
        "--batch-size 0",
        "--data-nthreads 0",
        "--epoch -1",
        "--epoch newest",
        "--protocol 5-crop",
        "--protocol multi-scale --scales 224,x",
        "--protocol multi-scale --scales 224,224",
        "--protocol multi-scale --scales ,",
        "--gpus 0,0",
        "--gpus 0 --cpus 2",
        "--rank 1",
        "--jso",
    ],
)
def test_arguments_that_cannot_be(options, arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*options, *arguments.split()])
    assert stop.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "evaluate.py: error: " in err


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ("--protocol multi-scale --scales 31", UsageError, "31 pixels are smaller than its input of 32"),
        ("--protocol multi-scale --scales 32,99999999", UsageError, "at most 16384 pixels, found 99999999"),
        ("--output nowhere/o.json", OSError, "nowhere"),
        ("--data-val missing.rec", OSError, r"missing\.rec"),
        ("--gpus 0", EnvironmentProblem, "without CUDA|no NVIDIA driver|no GPU|compute capability"),
    ],
)
def test_what_cannot_work_is_told_in_a_sentence(options, tmp_path, arguments, error, message):
    if "--gpus" in arguments and mx.runtime.Features().is_enabled("CUDA"):
        pytest.skip("this machine could have a GPU that works")
    with pytest.raises(error, match=message):
        main([*options, *arguments.split()])


def test_ten_crops_of_a_network_without_resize(model, records, tmp_path):
    prefix = copy_of(model, tmp_path)
    change_json(f"{prefix}-model.json", {"preprocessing.resize": None})
    with pytest.raises(UsageError, match="its card has resize None: choose 1-crop"):
        main(["--model-prefix", prefix, "--data-val", records, "--protocol", "10-crop"])
