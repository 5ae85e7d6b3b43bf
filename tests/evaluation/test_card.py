"""tools/evaluate.py and the model card: errors that it writes into one, and networks that have none."""

from __future__ import annotations

import os
import pathlib
import shutil
from dataclasses import replace

import pytest

from gluon_resnet.card import UNKNOWN, ModelCard
from gluon_resnet.cli.evaluate import main
from gluon_resnet.data import EvalTransform, Loader
from gluon_resnet.errors import GluonResnetError, ModelError, UsageError
from gluon_resnet.provenance import DataSet
from tests.support.deployed import Model, change_arrays, make_model
from tests.support.evaluate_tool import CLASSES, LABELS, PAYLOADS, evaluated, pack


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A checkpoint of epoch 3, and its export."""
    return make_model(tmp_path_factory.mktemp("model"), "resnet8", 32, 36)


@pytest.fixture
def records(tmp_path: pathlib.Path) -> str:
    return pack(tmp_path / "val.rec")


@pytest.fixture
def checkpoint(model: Model, tmp_path: pathlib.Path) -> str:
    """The prefix of a copy, to be changed."""
    for end in ("0003.params", "model.json"):
        shutil.copy(f"{model.checkpoint}-{end}", tmp_path / f"copy-{end}")
    return str(tmp_path / "copy")


@pytest.fixture
def exported(model: Model, tmp_path: pathlib.Path) -> str:
    """The prefix of a copy of the export, to be changed."""
    for end in ("symbol.json", "0000.params", "model.json"):
        shutil.copy(f"{model.prefix}-{end}", tmp_path / f"net-{end}")
    return str(tmp_path / "net")


def test_a_card_gets_the_errors_on_request_alone(checkpoint, records, capsys):
    path = f"{checkpoint}-model.json"
    before = ModelCard.load(path)
    options = ["--model-prefix", checkpoint, "--data-val", records]
    result = evaluated(capsys, *options)
    assert ModelCard.load(path) == before

    assert main([*options, "--update-card"]) is None
    assert f"{path} now has these errors" in capsys.readouterr().err
    card = ModelCard.load(path)
    assert replace(card, errors=()) == before
    (error,) = card.errors
    fingerprint = Loader(records, 1, EvalTransform()).fingerprint
    assert error.data == DataSet((os.path.basename(records),), 30, fingerprint)
    assert (error.protocol, error.epoch, error.top_k) == ("1-crop", 3, 5)
    assert (error.top1_error, error.topk_error) == (result["top1_error"], result["topk_error"])
    assert [*error.top1_interval, *error.topk_interval] == [
        *result["top1_interval"],
        *result["topk_interval"],
    ]


def test_an_error_replaces_that_of_the_same_data_and_protocol(checkpoint, records, tmp_path, capsys):
    options = ["--model-prefix", checkpoint, "--data-val", records, "--update-card"]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(records, elsewhere / "same.rec")
    more = pack(tmp_path / "more.rec", PAYLOADS[::-1], LABELS[::-1])
    for arguments in (
        options,
        [*options, "--protocol", "10-crop"],
        [*options, "--protocol", "multi-scale", "--scales", "32,40"],
        ["--model-prefix", checkpoint, "--data-val", str(elsewhere / "same.rec"), "--update-card"],
        [*options[:-1], more, "--update-card"],
    ):
        main(arguments)
    errors = ModelCard.load(f"{checkpoint}-model.json").errors
    assert [(error.protocol, error.data.files) for error in errors] == [
        ("10-crop", ("val.rec",)),
        ("multi-scale 32,40", ("val.rec",)),
        ("1-crop", ("same.rec",)),
        ("1-crop", ("val.rec", "more.rec")),
    ]


def test_an_exported_network_has_the_epoch_of_its_card(exported, records, capsys):
    assert ModelCard.load(f"{exported}-model.json").epoch == 3
    main(["--model-prefix", exported, "--data-val", records, "--update-card"])
    (error,) = ModelCard.load(f"{exported}-model.json").errors
    assert error.epoch == 3


@pytest.mark.parametrize("named", [False, True])
def test_an_export_without_a_card_is_evaluated_by_its_sizes(exported, records, tmp_path, capsys, named):
    options = ["--model-prefix", exported, "--data-val", records, "--per-class"]
    expected = evaluated(capsys, *options)
    os.unlink(f"{exported}-model.json")
    with pytest.raises(FileNotFoundError, match=r"net-model\.json"):
        main(options)
    told = ["--image-shape", "3,32,32", "--resize", "36"]
    if named:
        (tmp_path / "names").write_text("\n".join(CLASSES))
        told += ["--class-names", str(tmp_path / "names")]
    result = evaluated(capsys, *options, *told)  # without names the records' are taken
    (network,) = result.pop("networks")
    assert network["network"] == UNKNOWN
    expected.pop("networks")
    assert {**result, "command": ""} == {**expected, "command": ""}
    assert not os.path.exists(f"{exported}-model.json")


@pytest.mark.parametrize("pixels", [False, True])
def test_a_checkpoint_without_a_card_is_evaluated_by_its_network_and_sizes(tmp_path, records, capsys, pixels):
    model = make_model(tmp_path, "resnet8", 32, 36, per_pixel_mean=pixels)
    options = ["--model-prefix", model.checkpoint, "--data-val", records]
    expected = evaluated(capsys, *options)
    os.unlink(f"{model.checkpoint}-model.json")
    told = ["--network", "resnet8", "--image-shape", "3,32,32", "--resize", "36"]
    assert {**evaluated(capsys, *options, *told), "command": ""} == {**expected, "command": ""}
    main([*options, *told, "--update-card"])
    capsys.readouterr()
    card = ModelCard.load(f"{model.checkpoint}-model.json")
    assert (card.network, card.size, card.resize, card.per_pixel_mean) == ("resnet8", 32, 36, pixels)
    assert (card.classes, card.decoder) == (tuple(CLASSES), None)
    if not pixels:
        assert card.mean == pytest.approx(model.card.mean)
    assert card.std == pytest.approx(model.card.std)
    assert evaluated(capsys, *options)["top1_wrong"] == expected["top1_wrong"]  # by this card now


SHAPE = "--image-shape 3,32,32"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            "--resize 36",
            UsageError,
            "--resize is for a model without PREFIX-model.json: give --image-shape as well",
        ),
        ("--class-names x", UsageError, "--class-names is for a model without"),
        ("--network resnet8", UsageError, "--network is for a model without"),
        (
            SHAPE,
            UsageError,
            "copy-0003.params does not say which network it belongs to: give --network",
        ),
        (f"{SHAPE} --network resnet9", UsageError, "there is no network 'resnet9'"),
        (f"{SHAPE} --network vgg16", UsageError, "224 pixels of vgg16"),
        (f"{SHAPE} --network resnet14", ModelError, "copy-0003.params: "),
        (f"{SHAPE} --network resnet8 --resize 8", ModelError, "resize"),
        (f"{SHAPE} --network resnet8 --update-card", UsageError, "--update-card would replace .*copy-model"),
        (
            SHAPE + " --network resnet8 --class-names {names}",
            ModelError,
            "expected 12 class names, .* found 2",
        ),
    ],
)
def test_what_is_told_wrong_is_refused(checkpoint, records, tmp_path, arguments, error, message):
    (tmp_path / "names").write_text("cat\ndog\n")
    told = arguments.format(names=tmp_path / "names").split()
    before = pathlib.Path(f"{checkpoint}-model.json").read_bytes()
    with pytest.raises(GluonResnetError, match=message) as raised:
        main(["--model-prefix", checkpoint, "--data-val", records, *told])
    assert type(raised.value) is error
    assert pathlib.Path(f"{checkpoint}-model.json").read_bytes() == before


@pytest.mark.parametrize("option", [["--update-card"], ["--image-shape", "3,32,32"]])
def test_an_ensemble_has_no_card(checkpoint, records, option):
    with pytest.raises(UsageError, match=f"{option[0]} is for one network, but there are 2"):
        main(["--model-prefix", checkpoint, checkpoint, "--data-val", records, *option])


def test_parameters_without_a_normalization_are_none_of_ours(checkpoint, records):
    change_arrays(f"{checkpoint}-0003.params", {"0.std": None})
    with pytest.raises(ModelError, match=r"copy-0003\.params: expected a parameter 0\.std, found none"):
        main(
            [
                "--model-prefix",
                checkpoint,
                "--data-val",
                records,
                "--image-shape",
                "3,32,32",
                "--network",
                "resnet8",
            ]
        )


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"nodes": []}', "[" * 100_000],
    ids=["empty", "list", "object", "no nodes", "deep"],
)
def test_a_graph_that_is_none_is_refused(exported, records, text):
    pathlib.Path(f"{exported}-symbol.json").write_text(text)
    with pytest.raises(ModelError, match=r"net-symbol\.json: .*expected a graph"):
        main(["--model-prefix", exported, "--data-val", records, "--image-shape", "3,32,32"])


def test_a_card_that_cannot_be_written_keeps_what_it_had(checkpoint, records, monkeypatch, capsys):
    def full(*_):
        raise OSError(28, "No space left on device")

    before = pathlib.Path(f"{checkpoint}-model.json").read_bytes()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        main(["--model-prefix", checkpoint, "--data-val", records, "--update-card"])
    assert "top-1 error" in capsys.readouterr().out  # the work is not lost
    assert pathlib.Path(f"{checkpoint}-model.json").read_bytes() == before
