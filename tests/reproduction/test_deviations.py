"""Where a study differs from the paper, as its runs' cards and its images tell."""

from __future__ import annotations

from dataclasses import asdict, replace

from gluon_resnet.reproduction.deviations import deviations
from gluon_resnet.reproduction.experiments import CIFAR10, IMAGENET
from gluon_resnet.reproduction.study import StudiedNet
from gluon_resnet.runs.files.run import Run
from gluon_resnet.runs.files.run_card import RunCard
from gluon_resnet.training.recipes import get_recipe
from tests.support.pictures import encode, picture, write_records
from tests.support.recorded_runs import epoch_record

IMAGES = {"training data": "/x/train.rec (50,000 images)", "validation data": "/x/test.rec (10,000 images)"}
ONCE = "Each network was trained once"


def net(key, recipe="cifar10", planned=164, data=None, **settings):
    """A network that was trained by the recipe, but for `settings`."""
    made = {
        ("recipe" if name == "name" else name): value for name, value in asdict(get_recipe(recipe)).items()
    }
    made |= {
        "network": key,
        "classes": 10,
        "dtype": "float32",
        "variant": "v1",
        "pretrained": None,
        **settings,
    }
    card = RunCard("python tools/train.py", planned, made, data or IMAGES)
    run = Run(key, [epoch_record(1)], (), card)
    return StudiedNet(key, key, None, 20, 270_000, f"runs/{key}", run, None, ())


def found(nets, experiment=CIFAR10, records="no.rec"):
    return deviations(nets, experiment, [records])


def records(tmp_path, ending):
    return write_records(tmp_path / f"{ending}.rec", [encode(picture(32, 32), ending)])


def test_the_papers_own_recipe_on_its_own_images_deviates_in_nothing_but_repetitions(tmp_path):
    (only,) = found(
        [net("resnet20"), net("resnet110", warmup_lr=0.01, warmup_error=80.0)],
        records=records(tmp_path, ".png"),
    )
    assert only.startswith(ONCE)


def test_a_short_schedule_is_told_beside_the_papers():
    short = {"iterations": None, "lr_step_iterations": (), "lr_step_epochs": (4.0, 6.0), "planned": 8}
    told = found([net("plain20", **short), net("resnet20", **short)])
    assert told[:2] == (
        "Trained for 8 epochs instead of 64,000 iterations of 128 images.",
        "The learning rate is divided after epochs 4 and 6 instead of at iterations 32,000 and 48,000.",
    )
    (first, *_) = found([net("plain20"), net("resnet20", **short)])
    assert first.startswith("resnet20: Trained for 8 epochs")


def test_an_imagenet_schedule_of_epochs_is_no_plateau():
    steps = get_recipe("imagenet-steps")
    data = {"training data": "a (1,281,167 images)", "validation data": "b (50,000 images)"}
    options = {
        "planned": 4,
        "data": data,
        "classes": 1000,
        "iterations": None,
        "lr_step_epochs": (1.0, 2.0, 3.0),
    }
    told = found([net("plain18", steps.name, **options)], IMAGENET)
    assert told[:2] == (
        "Trained for 4 epochs instead of 600,000 iterations of 256 images.",
        "The learning rate is divided after epochs 1, 2 and 3 instead of on plateaus of the error.",
    )
    assert len(told) == 3


def test_every_other_setting_is_told():
    told = found(
        [net("resnet20", batch_size=64, dtype="bfloat16", rgb_std=(63.0, 62.0, 66.0), variant="v1b")]
    )
    assert told[:4] == (
        "batch size: 64 instead of 128.",
        "rgb std: 63.0, 62.0, 66.0 instead of 1.0, 1.0, 1.0.",
        "dtype: bfloat16 instead of float32.",
        "variant: v1b instead of v1.",
    )
    (warm, *_) = found([net("resnet110")])
    assert warm == "warmup lr: 0.0 instead of 0.01."


def test_fewer_images_and_classes_are_told():
    data = {**IMAGES, "training data": "/x (y)/train.rec (640 images)"}
    told = found([net("resnet20", data=data, classes=3)])
    assert told[:2] == (
        "The training data are 640 images instead of 50,000.",
        "There are 3 classes instead of 10.",
    )


def test_images_that_lost_detail_are_told(tmp_path):
    jpeg = found([net("resnet20")], records=records(tmp_path, ".jpg"))
    assert jpeg[0].startswith("The images are JPEG copies of CIFAR-10")
    of_imagenet = replace(IMAGENET, training_images=50_000, test_images=10_000, classes=10, recipe="cifar10")
    assert len(found([net("resnet20")], of_imagenet, records(tmp_path, ".jpg"))) == 1


def test_nothing_is_said_of_what_has_not_begun():
    assert found([replace(net("resnet20"), run=None)]) == ()
