"""The differences between a study and the paper's experiment, in sentences, from what its runs have recorded."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

from gluon_resnet.data import RecordFile
from gluon_resnet.reproduction.experiments import Experiment
from gluon_resnet.reproduction.study import StudiedNet
from gluon_resnet.runs.files.run_card import described_images
from gluon_resnet.training.recipes import Recipe, get_recipe

# Covered by sentences below, or measured rather than chosen, or meaningless with validation data.
_TOLD = ("name", "iterations", "epochs", "lr_mode", "lr_step_epochs", "lr_step_iterations")
_NO_CHOICE = ("rgb_mean", "holdout", "plateau_patience", "plateau_threshold", "min_lr")


def deviations(
    nets: Sequence[StudiedNet], experiment: Experiment, test_records: Sequence[str]
) -> tuple[str, ...]:
    """Sentences about the runs that have begun, each naming its networks unless it applies to all of them."""
    found: dict[str, list[str]] = {}
    begun = [net for net in nets if net.run and net.run.settings]
    for net in begun:
        for sentence in (*_schedule(net, experiment), *_settings(net, experiment), *_images(net, experiment)):
            found.setdefault(sentence, []).append(net.key)
    sentences = [
        sentence if len(keys) == len(begun) else f"{', '.join(keys)}: {sentence}"
        for sentence, keys in found.items()
    ]
    if experiment.data_set == "cifar10" and _is_jpeg(test_records):
        sentences.append(
            "The images are JPEG copies of CIFAR-10, which lose detail: errors are some points higher than on the "
            "original images that the paper uses."
        )
    if experiment.data_set == "fashion-mnist":
        sentences.append(
            "The images are Fashion-MNIST's, gray, of 28x28 pixels with a black border of 2, not CIFAR-10's: the "
            "paper has no figures for them."
        )
    if begun:
        trained = "Each network was trained once, from one seed"
        if any(net.seed for net in begun):
            trained = "Curves, responses and comparisons of single runs are of seed 0"
        sentences.append(
            f"{trained}; for ResNet-110 the paper shows the best of 5 runs, and for the others it does not say."
        )
    return tuple(sentences)


def _schedule(net: StudiedNet, experiment: Experiment) -> Iterable[str]:
    assert net.run is not None
    settings, paper = net.run.settings, get_recipe(experiment.recipe)
    iterations = settings.get("iterations")
    planned = f"{iterations:,} iterations" if iterations else f"{net.run.planned} epochs"
    if iterations != paper.iterations:
        yield f"Trained for {planned} instead of {paper.iterations:,} iterations of {paper.batch_size} images."
    if (
        settings.get("lr_mode") != paper.lr_mode
        or tuple(settings.get("lr_step_iterations", ())) != paper.lr_step_iterations
    ):
        how = f"of the schedule {settings.get('lr_mode')}"
        if settings.get("lr_mode") == "step":
            how = f"divided after epochs {_listed([f'{epoch:g}' for epoch in settings.get('lr_step_epochs', ())])}"
        theirs = "on plateaus of the error"
        if paper.lr_mode == "step":
            theirs = f"at iterations {_listed([f'{iteration:,}' for iteration in paper.lr_step_iterations])}"
        yield f"The learning rate is {how} instead of {theirs}."


def _settings(net: StudiedNet, experiment: Experiment) -> Iterable[str]:
    """Differences in the other fields of the paper's recipe."""
    assert net.run is not None
    paper: Recipe = get_recipe(experiment.recipe).for_network(net.network)
    for name, theirs in vars(paper).items():
        if name in (*_TOLD, *_NO_CHOICE) or name not in net.run.settings:
            continue
        ours = net.run.settings[name]
        if _plain(ours) != _plain(theirs):
            yield f"{name.replace('_', ' ')}: {_shown(ours)} instead of {_shown(theirs)}."
    for name, theirs in {
        "dtype": "float32",
        "variant": "v1",
        "pretrained": None,
        "asynchronous": None,
    }.items():
        ours = net.run.settings.get(name, theirs)
        if ours != theirs:
            yield f"{name}: {_shown(ours)} instead of {_shown(theirs)}."


def _images(net: StudiedNet, experiment: Experiment) -> Iterable[str]:
    assert net.run is not None
    assert net.run.card is not None
    for what, expected in (
        ("training data", experiment.training_images),
        ("validation data", experiment.test_images),
    ):
        images = described_images(net.run.card.data.get(what, ""))
        if images not in (None, expected):
            yield f"The {what} are {images:,} images instead of {expected:,}."
    classes = net.run.settings.get("classes")
    if classes not in (None, experiment.classes):
        yield f"There are {classes:,} classes instead of {experiment.classes:,}."


def _is_jpeg(records: Sequence[str]) -> bool:
    return os.path.exists(records[0]) and RecordFile(records[0])[0].payload.startswith(b"\xff\xd8")


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, (tuple, list)) else value


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)


def _listed(words: Sequence[str]) -> str:
    """'4', '4 and 6', '30, 60 and 90'."""
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))
