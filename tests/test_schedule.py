"""Learning rates and recipes against tables worked out by hand."""

from __future__ import annotations

import pytest

from gluon_resnet.errors import UsageError
from gluon_resnet.training.recipes import get_recipe
from gluon_resnet.training.schedule import Schedule


def test_a_schedule_without_steps_is_constant():
    assert [Schedule(0.1)(i) for i in (0, 1, 10**9)] == [0.1] * 3


def test_warm_up_and_steps():
    schedule = Schedule(0.8, factor=0.5, steps=(6, 8), warmup=4)
    table = [0.2, 0.4, 0.6, 0.8, 0.8, 0.8, 0.4, 0.4, 0.2, 0.2]
    assert [schedule(i) for i in range(10)] == pytest.approx(table, rel=1e-12)


@pytest.mark.parametrize(
    ("iteration", "lr"),
    [(0, 0.1), (31_999, 0.1), (32_000, 0.01), (47_999, 0.01), (48_000, 0.001), (64_000, 0.001)],
)
def test_cifar10_recipe_has_the_steps_of_section_4_2(iteration, lr):
    assert get_recipe("cifar10").schedule(batches_per_epoch=390)(iteration) == pytest.approx(lr)


@pytest.mark.parametrize(("epoch", "lr"), [(0, 0.1), (29, 0.1), (30, 0.01), (60, 0.001), (90, 0.0001)])
def test_imagenet_recipe_has_steps_in_epochs(epoch, lr):
    schedule = get_recipe("imagenet").schedule(batches_per_epoch=5004)
    assert schedule(epoch * 5004) == pytest.approx(lr)
    assert schedule(epoch * 5004 + 5003) == pytest.approx(lr)


def test_recipes_last_as_many_iterations_as_in_the_paper():
    assert get_recipe("cifar10").epochs(390) * 390 == pytest.approx(64_000, rel=0.001)
    assert get_recipe("imagenet").epochs(5004) == 120
    assert get_recipe("cifar10").epochs(10**6) == 1


def test_another_size_scales_images_in_proportion():
    recipe = get_recipe("imagenet").with_size(112)
    assert (recipe.size, recipe.resize, recipe.shorter_side) == (112, 128, (128, 240))
    assert get_recipe("cifar10").with_size(16).resize is None


def test_unknown_recipe_lists_what_exists():
    with pytest.raises(UsageError, match=r"'coffee'.*imagenet, cifar10"):
        get_recipe("coffee")
