"""The presets: what the papers say, and what a command line makes of it."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from gluon_resnet.errors import UsageError
from gluon_resnet.training.recipes import get_recipe, recipe_names


@pytest.mark.parametrize(
    ("iteration", "lr"),
    [(0, 0.1), (31_999, 0.1), (32_000, 0.01), (47_999, 0.01), (48_000, 0.001), (63_999, 0.001)],
)
def test_cifar10_has_the_steps_of_section_4_2(iteration, lr):
    assert get_recipe("cifar10").schedule(batches_per_epoch=351)(iteration) == pytest.approx(lr)


@pytest.mark.parametrize(("epoch", "lr"), [(0, 0.1), (29, 0.1), (30, 0.01), (60, 0.001), (90, 0.0001)])
def test_imagenet_steps_are_in_epochs(epoch, lr):
    schedule = get_recipe("imagenet-steps").schedule(batches_per_epoch=5004)
    assert schedule(epoch * 5004) == pytest.approx(lr)
    assert schedule(epoch * 5004 + 5003) == pytest.approx(lr)


def test_runs_last_as_many_iterations_as_in_the_papers():
    assert get_recipe("cifar10").total_iterations(351) == 64_000  # 182 epochs and 118 batches
    assert get_recipe("imagenet").total_iterations(5004) == 600_000
    assert get_recipe("modern").total_iterations(5004) == 120 * 5004
    assert get_recipe("modern").schedule(5004).iterations == 120 * 5004


def test_the_papers_recipes_are_the_papers():
    """Section 3.4 and section 4.2, sentence by sentence."""
    common = {
        "lr": 0.1,
        "lr_factor": 0.1,
        "weight_decay": 1e-4,
        "momentum": 0.9,
        "flip": True,
        "mean": "pixel",
    }
    common |= {"rgb_std": (1, 1, 1), "decay_bn_and_bias": True, "zero_gamma": False, "label_smoothing": 0}
    common |= {"mixup_alpha": 0, "warmup_epochs": 0, "warmup_error": None, "color_jitter": 0}
    imagenet = {"batch_size": 256, "lr_mode": "plateau", "size": 224, "crop": "scale-jitter", "holdout": 0}
    imagenet |= {"shorter_side": (256, 480), "pca_noise": 0.1, "iterations": 600_000}
    cifar10 = {"batch_size": 128, "lr_mode": "step", "size": 32, "crop": "pad", "padding": 4, "holdout": 5000}
    cifar10 |= {"lr_step_iterations": (32_000, 48_000), "iterations": 64_000, "pca_noise": 0}
    for name, expected in (("imagenet", imagenet), ("cifar10", cifar10)):
        recipe = asdict(get_recipe(name))
        assert {field: recipe[field] for field in {**common, **expected}} == {**common, **expected}


@pytest.mark.parametrize(
    ("recipe", "network", "error"),
    [
        ("cifar10", "resnet110", 80.0),
        ("cifar10", "resnet110_v2", 80.0),
        ("cifar10", "resnet1202", 80.0),
        ("cifar10", "resnet56", None),
        ("cifar10", "plain110", None),
        ("cifar10", "resnet1100", None),
        ("cifar10-modern", "resnet110", None),
        ("imagenet", "resnet101", None),
    ],
)
def test_the_deepest_cifar_nets_warm_up_until_an_error(recipe, network, error):
    chosen = get_recipe(recipe).for_network(network)
    assert chosen.warmup_error == error
    assert chosen.schedule(351)(0) == pytest.approx(0.01 if error else chosen.schedule(351)(0))


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_is_json_and_has_one_length(name):
    recipe = get_recipe(name)
    assert json.loads(json.dumps(asdict(recipe)))["name"] == name
    assert (recipe.iterations is None) != (recipe.epochs is None)
    assert recipe.schedule(100)(0) > 0


def test_another_size_scales_images_in_proportion():
    recipe = get_recipe("imagenet").with_size(112)
    assert (recipe.size, recipe.resize, recipe.shorter_side) == (112, 128, (128, 240))
    assert get_recipe("cifar10").with_size(16).resize is None


def test_unknown_recipe_lists_what_exists():
    with pytest.raises(
        UsageError, match=r"'coffee'.*imagenet, imagenet-steps, modern, cifar10, cifar10-modern"
    ):
        get_recipe("coffee")
