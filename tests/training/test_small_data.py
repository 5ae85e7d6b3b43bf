"""A handful of pictures of one's own: what train.py chooses for them, that it learns, and what it says where not."""

from __future__ import annotations

import json
import pathlib
import re
from dataclasses import replace

import cv2
import numpy as np
import pytest

from gluon_resnet.card import ModelCard
from gluon_resnet.cli.train import main
from gluon_resnet.data import RecordFile
from gluon_resnet.evaluation.intervals import interval
from gluon_resnet.runs.files.run import read_run
from gluon_resnet.runs.fitted import usual_size
from gluon_resnet.runs.writer import TrainReport
from gluon_resnet.signals import StopRequest
from gluon_resnet.training.learning import LearningWatch
from gluon_resnet.training.recipes import get_recipe, recipe_names
from gluon_resnet.training.small_data import fit_recipe
from tests.support.collections_of_pictures import im2rec
from tests.support.pictures import encode, picture, write_records
from tests.support.recorded_runs import epoch_record

IMAGENET, CIFAR10 = get_recipe("imagenet"), get_recipe("cifar10")


def shape(kind: str, random: np.random.Generator) -> np.ndarray:
    """A bright disc, stripes or a chessboard on a dark ground, in colors, sizes and noise of its own."""
    side = int(random.integers(40, 56))
    dark = random.integers(0, 110, 3)
    y, x = np.mgrid[:side, :side]
    period = random.uniform(8, 14)
    bright = {
        "disc": (y - side / 2) ** 2 + (x - side / 2) ** 2 < (side * random.uniform(0.2, 0.35)) ** 2,
        "stripes": np.sin(2 * np.pi * y / period + random.uniform(0, 6)) > 0,
        "chess": (y // (period / 2) + x // (period / 2)) % 2 == 0,
    }[kind]
    image = np.where(bright[..., None], dark + random.integers(90, 145, 3), dark)
    return np.clip(image + random.normal(0, 12, image.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def packed(tmp_path_factory) -> list[str]:
    """60 pictures in 3 classes, packed as a user does it: 48 to train on, 12 to validate on."""
    folder, random = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for kind in ("disc", "stripes", "chess"):
        (folder / "own" / kind).mkdir(parents=True)
        for number in range(20):
            cv2.imwrite(str(folder / "own" / kind / f"{number}.png"), shape(kind, random))
    im2rec(folder / "data", folder / "own", "--train-ratio", "0.8")
    return ["--data-train", f"{folder}/data_train.rec", "--data-val", f"{folder}/data_val.rec"]


@pytest.mark.parametrize("network", ["resnet20", pytest.param("resnet18", marks=pytest.mark.slow)])
def test_sixty_pictures_are_learned_without_an_option(packed, tmp_path, monkeypatch, capsys, network):
    options = [*packed, "--network", network, "--model-prefix", str(tmp_path / "a")]
    # Drawing takes longer than the training.
    monkeypatch.setattr(TrainReport, "_show", lambda self: None)
    with monkeypatch.context() as patch:  # a signal ends the first epoch: what is fitted agrees with itself
        patch.setattr(StopRequest, "__call__", lambda self: self.signal is None)
        assert main(options) is not None
    assert main([*options, "--resume"]) is None
    err = capsys.readouterr().err
    assert "warning" not in err
    size = {"resnet20": 32, "resnet18": 40}[network]
    assert (
        "note: settings that were not given are fitted to 48 images, which are few: batches of 16; "
        "learning rate 0.00625 (0.1 x 16/256); 60 epochs (180 updates), the rate falling after 30 and 45; "
        f"crops of {size}x{size}"
    ) in err
    run = read_run(str(tmp_path / "a"))
    assert run.epochs[-1].val_top1_error < 20  # chance is 67
    assert run.epochs[-1].epoch == run.planned == 60
    assert [run.settings[name] for name in ("batch_size", "lr", "size")] == [16, 0.00625, size]
    assert ModelCard.load(tmp_path / "a-model.json").recipe.settings["batch_size"] == 16
    assert len(list(tmp_path.glob("a-0*.params"))) <= 11  # and not 60


@pytest.mark.parametrize("name", recipe_names())
def test_the_paper_is_as_it_was_for_many_images(name):
    recipe = get_recipe(name)
    for images in (100 * recipe.batch_size, 50_000, 1_281_167):
        fitted = fit_recipe(recipe, (), images, 32, 224)
        assert (fitted.recipe, fitted.changes, fitted.save_period) == (recipe, (), None)


@pytest.mark.parametrize(
    ("images", "batch", "epochs"),
    [
        *((1, 1, 150), (10, 10, 150), (16, 16, 150), (48, 16, 60), (320, 32, 60), (1000, 64, 60)),
        *((2559, 128, 60), (2560, 256, 60), (25_599, 256, 60)),
    ],
)
def test_what_is_fitted_to_few_images(images, batch, epochs):
    fitted = fit_recipe(IMAGENET, (), images, 500, 224)
    recipe = fitted.recipe
    assert (recipe.batch_size, recipe.epochs, recipe.iterations) == (batch, epochs, None)
    assert recipe.lr == pytest.approx(0.1 * batch / 256)
    assert (recipe.lr_mode, recipe.lr_step_epochs) == ("step", (epochs // 2, round(epochs * 3 / 4)))
    assert recipe.total_iterations(images // batch) >= 150
    assert fitted.save_period == epochs // 10
    unchanged = ("size", "shorter_side", "crop", "weight_decay", "momentum", "mean", "holdout")
    assert all(getattr(recipe, field) == getattr(IMAGENET, field) for field in unchanged)


def test_a_crop_is_no_larger_than_the_images_and_the_network_have_it():
    def size(side, own_size=224, recipe=IMAGENET):
        return fit_recipe(recipe, (), 60, side, own_size).recipe.size

    assert [size(side) for side in (20, 32, 64, 128, 256, 4000)] == [32, 32, 56, 112, 224, 224]
    assert [size(side, own_size=32) for side in (20, 500)] == [32, 32]
    assert size(500, recipe=CIFAR10) == 32
    assert fit_recipe(IMAGENET, (), 60, 64, 224).recipe == replace(
        fit_recipe(IMAGENET, (), 60, 256, 224).recipe, size=56, resize=64, shorter_side=(64, 120)
    )


def test_what_is_given_wins():
    given = replace(IMAGENET, batch_size=20, lr=0.3, lr_mode="plateau", epochs=7, iterations=None, size=96)
    everything = ("batch_size", "lr", "lr_mode", "epochs", "size")
    assert fit_recipe(given, everything, 60, 32, 224).recipe == given
    fitted = fit_recipe(replace(CIFAR10, batch_size=20), ("batch_size",), 60, 500, 32).recipe
    assert (fitted.batch_size, fitted.lr) == (20, pytest.approx(0.1 * 20 / 128))
    fitted = fit_recipe(replace(CIFAR10, epochs=5, iterations=None), ("epochs",), 60, 500, 32)
    assert (fitted.recipe.lr_step_iterations, fitted.save_period) == (CIFAR10.lr_step_iterations, None)
    modern = fit_recipe(get_recipe("modern"), (), 60, 500, 224).recipe
    assert (modern.lr_mode, modern.epochs, modern.warmup_epochs) == ("cosine", 60, 5)
    assert fit_recipe(IMAGENET, (), 60, 500, 224, devices=20).recipe.batch_size == 20


def test_a_recipe_that_cuts_holes_says_so(tmp_path, capsys):
    path = write_records(tmp_path / "a.rec", [encode(picture(128, 160, i)) for i in range(8)], [0, 1] * 4)
    options = ["--network", "resnet8", "--recipe", "cifar10", "--holdout", "0", "--data-train", path]
    run = [*options, "--num-classes", "2", "--num-iterations", "1", "--model-prefix", str(tmp_path / "a")]
    assert main(run) is None
    err = capsys.readouterr().err
    assert (
        "the recipe cifar10 cuts 32x32 pixels out of unscaled images, and these have 160x128: the network sees 5 % "
        "of each; pack them with im2rec.py --resize 32, or omit --recipe cifar10"
    ) in err
    # One update teaches nobody.
    assert "warning: the training error of " in err
    assert "cannot be distinguished from the 50.00 % of guessing: 1 updates are too few" in err
    events = json.loads(pathlib.Path(f"{tmp_path}/a-run.json").read_text())["events"]
    assert [event["text"][:20] for event in events] == ["begun", "warning: the trainin"]


def watched(records, classes=3, epochs=20, images=12, most_frequent=None) -> list[list[str]]:
    watch = LearningWatch(classes, epochs, interval)
    return [watch(record, images, most_frequent) for record in records]


def test_an_error_that_stays_at_chance_is_told_once_and_at_the_end():
    told = watched([epoch_record(n, 58.3) for n in range(1, 21)])
    assert [n for n, texts in enumerate(told, 1) if texts] == [5, 20]
    assert re.fullmatch(
        r"the validation error of 58\.30 % after epoch 5, on 12 images, cannot be distinguished from the 66\.67 % of "
        r"guessing: try another --lr or more --num-epochs, and check whether the labels are right",
        told[4][0],
    )
    assert not any(watched([epoch_record(n, 20.0) for n in range(1, 21)]))
    # Where 9 of 10 images are of one class, naming it always has an error of 10 %.
    skewed = watched([epoch_record(n, 11.0) for n in range(1, 6)], images=200, most_frequent=0.9)
    assert "10.00 % of guessing" in skewed[-1][0]
    assert not any(watched([epoch_record(1, 0.0)], classes=1, epochs=1))


def test_a_loss_that_explodes_is_told_where_averages_have_settled():
    diverged = [epoch_record(n, 70.0, val_loss=913110.0, iteration=n * 2) for n in range(1, 31)]
    told = watched(diverged, epochs=30)
    assert [n for n, texts in enumerate(told, 1) if texts] == [25, 30]
    assert told[-1] == [
        "the validation loss is 9.131e+05 after epoch 30, and that of guessing is 1.1: "
        "training diverges, so try a lower --lr"
    ]
    assert "training loss is 50 after epoch 1" in watched([epoch_record(1, train_loss=50.0)])[0][0]
    few = watched([epoch_record(1, 70.0, val_loss=30.0, iteration=6)], epochs=1)
    assert (
        "6 updates are too few for batch normalization's running averages, which need about 50" in few[0][0]
    )


def test_the_usual_size_is_that_of_images_of_all_files(tmp_path, photographs):
    def records(name, payloads):
        return RecordFile(write_records(tmp_path / name, payloads))

    small = [encode(picture(20, 30, i)) for i in range(3)]
    large = records("large.rec", [encode(picture(100, 90, i)) for i in range(5)])
    assert usual_size([records("small.rec", small), large]) == (90, 100)
    assert usual_size([records("more.rec", small * 3), large]) == (30, 20)
    assert usual_size([records("broken.rec", [b"what?", *small])]) == (30, 20)
    assert usual_size([records("nothing.rec", [b"what?"])]) is None
    assert usual_size([records("many.rec", photographs * 3)]) is not None
