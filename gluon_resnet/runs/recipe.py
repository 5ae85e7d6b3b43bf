"""The recipe that settings choose: a preset, and the values given instead of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from gluon_resnet.errors import UsageError
from gluon_resnet.models.registry import describe
from gluon_resnet.runs.settings import Settings
from gluon_resnet.training.recipes import Recipe, get_recipe


def chosen_recipe(settings: Settings, network: str) -> Recipe:
    """The preset for `network`, with the values of `settings` in place of its own.

    UsageError for settings that contradict each other or would have no effect.
    """
    recipe = get_recipe(settings.recipe)
    if settings.warmup_epochs is None:  # the user's warm-up replaces that of ResNet-110
        recipe = recipe.for_network(network)
    if recipe.zero_gamma and describe(network).shortcut is None:  # plain nets and those of other papers
        recipe = replace(recipe, zero_gamma=False)
    if settings.image_shape is not None:
        recipe = recipe.with_size(settings.image_shape)
    if settings.lr_step_epochs is not None:
        if settings.lr_mode not in (None, "step"):
            raise UsageError(
                f"--lr-step-epochs means steps and cannot be used with --lr-mode {settings.lr_mode}"
            )
        recipe = replace(
            recipe, lr_mode="step", lr_step_epochs=settings.lr_step_epochs, lr_step_iterations=()
        )
    if settings.num_epochs is not None or settings.num_iterations is not None:
        recipe = replace(recipe, epochs=settings.num_epochs, iterations=settings.num_iterations)
    if settings.warmup_error is not None:
        if settings.warmup_epochs is not None:
            raise UsageError("a warm-up lasts --warmup-epochs or until --warmup-error: choose one")
        if not (settings.warmup_lr or recipe.warmup_lr):
            raise UsageError(
                "--warmup-error needs --warmup-lr, the learning rate until then (the paper: 0.01)"
            )
        recipe = replace(recipe, warmup_epochs=0)
    if settings.data_val:
        if settings.holdout:
            raise UsageError("--holdout replaces --data-val: give only one of them")
        recipe = replace(recipe, holdout=0)
    if settings.rgb_mean is not None:
        recipe = replace(recipe, mean="channel")
    if settings.mean_image is not None:
        recipe = replace(recipe, mean="pixel")
    mixup_alpha = recipe.mixup_alpha if settings.mixup_alpha is None else settings.mixup_alpha
    if settings.mixup is not None:
        mixup_alpha = (mixup_alpha or 0.2) if settings.mixup else 0.0
    given: dict[str, Any] = {
        "batch_size": settings.batch_size,
        "lr": settings.lr,
        "lr_mode": settings.lr_mode,
        "lr_factor": settings.lr_factor,
        "plateau_patience": settings.lr_patience,
        "plateau_threshold": settings.lr_threshold,
        "min_lr": settings.min_lr,
        "warmup_epochs": settings.warmup_epochs,
        "warmup_lr": settings.warmup_lr,
        "warmup_error": settings.warmup_error,
        "weight_decay": settings.wd,
        "decay_bn_and_bias": None if settings.no_wd is None else not settings.no_wd,
        "label_smoothing": settings.label_smoothing,
        "mixup_alpha": mixup_alpha,
        "zero_gamma": None if settings.last_gamma is None else bool(settings.last_gamma),
        "holdout": settings.holdout,
        "momentum": settings.mom,
        "flip": None if settings.random_mirror is None else bool(settings.random_mirror),
        "rgb_mean": settings.rgb_mean,
        "rgb_std": settings.rgb_std,
    }
    recipe = replace(recipe, **{name: value for name, value in given.items() if value is not None})
    _refuse_contradictions(settings, recipe)
    return recipe


def _refuse_contradictions(settings: Settings, recipe: Recipe) -> None:
    """UsageError for the first setting that would have no effect."""
    for option, why in _meaningless(settings, recipe):
        raise UsageError(f"--{option.replace('_', '-')} {why}: omit it")
    if settings.dtype == "bfloat16" and settings.recompute:
        # Its backward pass does not match its forward pass: "Backward shape inconsistent with the forward shape".
        raise UsageError("MXNet 1.9.1 cannot recompute activations in bfloat16: omit --recompute or --dtype")


def _meaningless(settings: Settings, recipe: Recipe) -> Iterator[tuple[str, str]]:
    """The settings that were given and have no effect, each with the reason."""
    falls = f"has no meaning with --lr-mode {recipe.lr_mode}"
    if recipe.lr_mode == "cosine":
        unused = ["lr_factor", "lr_patience", "lr_threshold"]
    elif recipe.lr_mode == "step":
        unused = ["lr_patience", "lr_threshold", "min_lr"]
    else:
        unused = []
    yield from ((name, falls) for name in unused if getattr(settings, name) is not None)
    if settings.warmup_lr is not None and not recipe.warmup_epochs and recipe.warmup_error is None:
        yield "warmup_lr", "has no meaning without a warm-up, --warmup-epochs or --warmup-error"
    if settings.mixup_alpha is not None and settings.mixup == 0:
        yield "mixup_alpha", "has no meaning with --mixup 0"
    if settings.mixup == 1 and settings.mixup_alpha == 0:
        yield "mixup_alpha 0", "turns off the mixup that --mixup asks for"
