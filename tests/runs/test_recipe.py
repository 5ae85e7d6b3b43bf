"""tools/train.py's recipe: what the options make of a preset, records held out, ends within an epoch."""

from __future__ import annotations

import json
import math
import pathlib
from dataclasses import asdict

import pytest

from gluon_resnet.cli.train import main
from gluon_resnet.cli.train.options import parser, settings_of
from gluon_resnet.data import RecordFile
from gluon_resnet.errors import DataError, UsageError
from gluon_resnet.runs import run
from gluon_resnet.runs.recipe import chosen_recipe
from gluon_resnet.training.recipes import get_recipe
from tests.support.pictures import encode, picture, write_records
from tests.support.small_training import training_options


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> list[str]:
    return training_options(tmp_path_factory.mktemp("records"))


def changed(options: str, network: str = "resnet20") -> dict:
    """The fields in which the recipe that `options` choose differs from its preset."""
    args = parser().parse_args(["--network", network, "--data-train", "x.rec", *options.split()])
    before, after = asdict(get_recipe(args.recipe)), asdict(chosen_recipe(settings_of(args), network))
    return {name: after[name] for name in after if after[name] != before[name]}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", {}),
        ("--recipe modern", {}),
        ("--recipe cifar10 --data-val y.rec", {"holdout": 0}),
        ("--recipe cifar10 --holdout 100", {"holdout": 100}),
        ("--num-epochs 7", {"epochs": 7, "iterations": None}),
        ("--recipe modern --num-iterations 7", {"epochs": None, "iterations": 7}),
        ("--lr-step-epochs 3,4", {"lr_mode": "step", "lr_step_epochs": (3, 4)}),
        ("--lr-mode step", {"lr_mode": "step"}),
        (
            "--lr-mode plateau --lr-patience 3 --lr-threshold 0.01",
            {"plateau_patience": 3, "plateau_threshold": 0.01},
        ),
        ("--lr-mode cosine --min-lr 0", {"lr_mode": "cosine", "min_lr": 0}),
        ("--warmup-lr 0.01 --warmup-error 80", {"warmup_lr": 0.01, "warmup_error": 80}),
        (
            "--rgb-mean 1,2,3 --rgb-std 4,5,6",
            {"mean": "channel", "rgb_mean": (1, 2, 3), "rgb_std": (4, 5, 6)},
        ),
        (
            "--label-smoothing --mixup --no-wd --last-gamma",
            {"label_smoothing": 0.1, "mixup_alpha": 0.2, "decay_bn_and_bias": False, "zero_gamma": True},
        ),
        ("--mixup --mixup-alpha 0.4", {"mixup_alpha": 0.4}),
        (
            "--recipe modern --label-smoothing 0 --mixup 0 --no-wd 0 --last-gamma 0",
            {"label_smoothing": 0, "mixup_alpha": 0, "decay_bn_and_bias": True, "zero_gamma": False},
        ),
        ("--recipe cifar10-modern --mixup", {}),
    ],
)
def test_options_take_the_place_of_the_presets_values(options, expected):
    assert changed(options) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            "--recipe modern --lr-factor 0.5",
            "--lr-factor has no meaning with --lr-mode cosine: omit it",
        ),
        ("--lr-mode cosine --lr-patience 3", "--lr-patience has no meaning with --lr-mode cosine"),
        ("--recipe cifar10 --min-lr 0.1", "--min-lr has no meaning with --lr-mode step"),
        ("--lr-step-epochs 3 --lr-threshold 0.1", "--lr-threshold has no meaning with --lr-mode step"),
        ("--warmup-lr 0.1", "--warmup-lr has no meaning without a warm-up"),
        ("--mixup 0 --mixup-alpha 0.4", "--mixup-alpha has no meaning with --mixup 0"),
        ("--mixup --mixup-alpha 0", "--mixup-alpha 0 turns off the mixup that --mixup asks for"),
        (
            "--dtype bfloat16 --recompute",
            "cannot recompute activations in bfloat16: omit --recompute or --dtype",
        ),
    ],
)
def test_options_that_mean_nothing_together_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        changed(options)


@pytest.mark.parametrize("network", ["plain18", "vgg16", "prelu_net_a", "googlenet"])
def test_networks_without_shortcuts_take_the_modern_recipe_without_zero_gammas(network):
    assert changed("--recipe modern", network) == {"zero_gamma": False}


def test_the_110_layers_warm_up_by_themselves_unless_told_otherwise():
    warm = {"warmup_lr": 0.01, "warmup_error": 80.0}
    assert changed("--recipe cifar10", "resnet110") == warm
    assert changed("--recipe cifar10 --warmup-lr 0.02", "resnet110") == {**warm, "warmup_lr": 0.02}
    assert changed("--recipe cifar10 --warmup-epochs 0", "resnet110") == {}
    assert changed("--recipe cifar10 --warmup-epochs 2", "resnet110") == {"warmup_epochs": 2}


def log(prefix) -> list[dict]:
    return [json.loads(line) for line in pathlib.Path(f"{prefix}-log.jsonl").read_text().splitlines()]


def test_records_are_held_out_and_the_last_epoch_ends_where_it_has_to(data, tmp_path, capsys):
    options, prefix = data[:-2], str(tmp_path / "folder" / "a")
    file = RecordFile(options[options.index("--data-train") + 1])
    run = [*options, "--holdout", "32", "--num-iterations", "5", "--model-prefix", prefix]
    assert main(run) is None
    out = capsys.readouterr().out
    assert out.startswith(
        f"32 records of {file.path} are held out for validation, 100 train ({prefix}-holdout.idx)"
    )
    assert [(r["epoch"], r["iteration"]) for r in log(prefix)] == [(1, 3), (2, 5)]
    assert "epoch 2/2" in out
    assert f"saved {prefix}-0002.params" in out
    assert all(
        r["val_top1_error"] * 32 / 100 == pytest.approx(round(r["val_top1_error"] * 32 / 100))
        for r in log(prefix)
    )
    parts = [RecordFile(file.path, f"{prefix}-{part}.idx") for part in ("train", "holdout")]
    offsets = [{part.offset(i) for i in range(len(part))} for part in parts]
    assert [len(part) for part in offsets] == [100, 32]
    assert not offsets[0] & offsets[1]
    assert offsets[0] | offsets[1] == {file.offset(i) for i in range(132)}
    lists = [pathlib.Path(f"{prefix}-{part}.idx").read_bytes() for part in ("train", "holdout")]
    with pytest.raises(UsageError, match=r"another holdout \(32, now 33\)"):
        main([*run[:-4], "--resume", "--holdout", "33", "--num-iterations", "9", "--model-prefix", prefix])
    assert [pathlib.Path(f"{prefix}-{part}.idx").read_bytes() for part in ("train", "holdout")] == lists
    assert main([*run, "--resume", "--num-iterations", "6"]) is None
    assert [(r["epoch"], r["iteration"]) for r in log(prefix)] == [(1, 3), (2, 5), (3, 6)]


def test_what_cannot_be_held_out_is_told_before_any_file(data, tmp_path):
    options = [*data[:-2], "--model-prefix", str(tmp_path / "new" / "a")]
    with pytest.raises(
        UsageError, match=r"5000 records cannot be held out of the 132 images in .*--holdout 0"
    ):
        main(options)
    with pytest.raises(UsageError, match="held out of one file for validation, but --data-train has 2 files"):
        main([*options, "--data-train", data[-3], data[-3]])
    assert list(tmp_path.iterdir()) == []


def test_the_modern_recipe_resumes_to_the_same_bits(data, tmp_path, monkeypatch):
    """Cosine, warm-up, smoothing, mixup and zero gammas through the command line, stopped after the first epoch."""
    options = [*data, "--recipe", "cifar10-modern", "--num-iterations", "7", "--warmup-epochs", "1"]
    whole, stopped = (str(tmp_path / name) for name in ("whole", "stopped"))
    assert main([*options, "--model-prefix", whole]) is None
    with monkeypatch.context() as patch:
        patch.setattr(run.StopRequest, "__call__", lambda self: self.signal is None)
        assert main([*options, "--model-prefix", stopped]) is not None
    position = json.loads(pathlib.Path(f"{stopped}-resume.json").read_text())["position"]
    assert position["iteration"] == 1
    with pytest.raises(UsageError, match=r"another iterations \(7, now 9\)"):  # the cosine would be another
        main([*options, "--model-prefix", stopped, "--resume", "--num-iterations", "9"])
    assert main([*options, "--model-prefix", stopped, "--resume"]) is None
    for file in ("0001.params", "0002.params", "resume-00000007.params"):
        assert pathlib.Path(f"{stopped}-{file}").read_bytes() == pathlib.Path(f"{whole}-{file}").read_bytes()
    rates = [record["lr"] for record in log(whole)]
    assert rates == pytest.approx([0.05, 0.05 * (1 + math.cos(math.pi * 2 / 3)) / 2])


def test_the_rate_falls_at_plateaus_and_loaded_parameters_know_none(data, tmp_path, capsys):
    """A rate that is low enough for the error to stay where it is."""
    plateau = "--lr 0.00001 --min-lr 0 --lr-mode plateau --lr-patience 0 --lr-factor 0.5 --lr-threshold 0.5"
    options = [*data, *plateau.split(), "--model-prefix", str(tmp_path / "a")]
    assert main([*options, "--num-epochs", "2"]) is None
    assert main([*options, "--num-epochs", "3", "--resume"]) is None
    assert [record["lr"] for record in log(tmp_path / "a")] == pytest.approx([1e-5, 1e-5, 5e-6])
    assert "note" not in capsys.readouterr().err
    assert main([*options, "--num-epochs", "4", "--load-epoch", "3"]) is None
    assert [record["lr"] for record in log(tmp_path / "a")] == pytest.approx([1e-5, 1e-5, 5e-6, 1e-5])
    assert (
        "note: saved parameters do not record plateaus, so the learning rate begins at 1e-05"
        in capsys.readouterr().err
    )


def test_class_names_that_are_not_text_are_refused(data, tmp_path):
    path = write_records(tmp_path / "a.rec", [encode(picture(16, 16))])
    (tmp_path / "a.classes").write_bytes(b"caf\xe9\n")
    options = [*data[:-4], "--data-train", path, "--model-prefix", str(tmp_path / "out" / "a")]
    with pytest.raises(DataError, match=r"a\.classes: not in UTF-8"):
        main([*options, "--holdout", "0"])
    assert not (tmp_path / "out").exists()
