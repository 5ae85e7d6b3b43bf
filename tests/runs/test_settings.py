"""Settings: the options of train.py as a value, both ways; and a training from Python."""

from __future__ import annotations

import os
import pathlib
import re
from dataclasses import FrozenInstanceError, fields, replace

import pytest

from gluon_resnet.cli.train.options import parser, settings_of
from gluon_resnet.errors import UsageError
from gluon_resnet.models.parameters import read_arrays
from gluon_resnet.runs import Settings, train
from tests.support.small_training import training_options

EVERY = Settings(
    network="resnet20",
    shortcut="C",
    variant="v1b",
    pretrained="a b:best",
    freeze=True,
    num_classes=7,
    data_train=("a.rec", "b c.rec"),
    data_val=("d.rec",),
    holdout=3,
    data_nthreads=2,
    image_shape=40,
    random_mirror=0,
    rgb_mean=(1.5, 2.0, 3.0),
    mean_image="mean.npz",
    rgb_std=(4.0, 5.0, 6.25),
    recipe="cifar10",
    num_epochs=3,
    num_iterations=9,
    batch_size=8,
    lr=0.1,
    lr_mode="step",
    lr_factor=0.3,
    lr_step_epochs=(1.0, 2.5),
    lr_patience=4,
    lr_threshold=0.01,
    min_lr=1e-5,
    warmup_epochs=0.5,
    warmup_lr=0.01,
    warmup_error=80.0,
    wd=1e-4,
    no_wd=1,
    mom=0.8,
    label_smoothing=0.2,
    mixup=0,
    mixup_alpha=0.4,
    last_gamma=1,
    top_k=2,
    dtype="bfloat16",
    recompute=True,
    recompute_statistics=7,
    seed=11,
    gpus=(0, 3),
    cpus=2,
    kv_store="dist_sync",
    model_prefix="runs/x y",
    save_period=2,
    save_every=5,
    keep=3,
    load_epoch=0,
    resume=True,
    disp_batches=0,
    detect_anomaly=True,
    stall_timeout=1.5,
)


def parsed(arguments: list[str]) -> Settings:
    return settings_of(parser().parse_args(arguments))


@pytest.mark.parametrize("name", [field.name for field in fields(Settings)])
def test_each_setting_is_an_option_and_back(name: str) -> None:
    default = Settings()
    assert getattr(EVERY, name) != getattr(default, name), "the example has to differ from the default"
    settings = replace(default, **{name: getattr(EVERY, name)})
    assert parsed(settings.arguments()) == settings


def test_the_parser_has_the_defaults_of_settings() -> None:
    assert parsed([]) == Settings()
    assert Settings().arguments() == []
    assert parsed(["--num-layers", "50"]).network == "resnet50"


def test_settings_are_a_value() -> None:
    settings = Settings(data_train=["a.rec"])
    assert settings.data_train == ("a.rec",)
    assert hash(settings) == hash(Settings(data_train=("a.rec",)))
    with pytest.raises(FrozenInstanceError):
        settings.lr = 1.0
    with pytest.raises(UsageError, match=r"data_train: expected a sequence, found the string 'a.rec'"):
        Settings(data_train="a.rec")


def test_a_training_from_python_is_that_of_the_command_line(tmp_path: pathlib.Path, capsys) -> None:
    options = parsed([*training_options(tmp_path), "--num-epochs", "1"])
    settings = replace(options, model_prefix=str(tmp_path / "python"))
    with pytest.raises(UsageError, match="give --data-train"):
        train(replace(settings, data_train=()))
    outcome = train(settings)
    assert (outcome.prefix, outcome.epochs, outcome.stopped_by) == (settings.model_prefix, 1, None)
    assert os.path.exists(outcome.parameters_path)
    # What a Python user did not type is written down as a command that does the same.
    command = re.search(r'"command": "(.*)"', pathlib.Path(f"{outcome.prefix}-run.json").read_text())[1]
    assert command.startswith("python3 -m gluon_resnet train --network ")
    arguments = command.split()[4:]
    again = train(replace(parsed(arguments), model_prefix=str(tmp_path / "again")))
    first, second = (read_arrays(found.parameters_path) for found in (outcome, again))
    assert {name: array.tobytes() for name, array in first.items()} == {
        name: array.tobytes() for name, array in second.items()
    }
