"""tools/card.py: what is known of a trained network, for people to read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Optional

from gluon_resnet.card import ModelCard
from gluon_resnet.cli.command import program
from gluon_resnet.cli.parser import Parser
from gluon_resnet.provenance import DataSet, MeasuredError
from gluon_resnet.terminal import say

_MOST_NAMES = 10


def main(argv: Optional[Sequence[str]] = None) -> Optional[int]:
    """Print as `argv` says (default: the command line); return the exit status, None for success."""
    parser = Parser(
        prog=program("card"),
        example="runs/resnet20",
        description="Print PREFIX-model.json, the model card: the network, its images and classes, how it was "
        "trained, and its errors. docs/model_card.md describes the file.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "prefixes", nargs="+", metavar="PREFIX", help="prefix of files from train.py, convert.py or export.py"
    )
    args = parser.parse_args(argv)
    cards = [(path, ModelCard.load(path)) for path in (f"{prefix}-model.json" for prefix in args.prefixes)]
    for path, card in cards:
        say(f"{path}: {card.network}")
        for name, text in _lines(card):
            say(f"  {name:<14} {text}")
    return None


def _lines(card: ModelCard) -> Iterator[tuple[str, str]]:
    """What is known, as pairs of a name and a text."""
    yield "variant", card.variant + (f", shortcut option {card.shortcut}" if card.shortcut else "")
    names = card.classes[:_MOST_NAMES]
    yield "classes", f"{len(card.classes):,}: " + ", ".join([*names, "..."][: len(card.classes)])
    resized = f"shorter side {card.resize} ({card.interpolation}), " if card.resize else ""
    yield "images", f"{resized}centre {card.size}x{card.size}" + (f", {card.decoder}" if card.decoder else "")
    mean = "of each pixel" if card.per_pixel_mean else " ".join(f"{value:.6g}" for value in card.mean)
    yield "normalization", f"mean {mean}, deviation " + " ".join(f"{value:.6g}" for value in card.std)
    if card.epoch is not None:
        yield "epochs", str(card.epoch)
    if card.data:
        yield "trained on", _data(card.data.training)
        if card.data.validation:
            yield "validated on", _data(card.data.validation)
    if card.recipe:
        yield "recipe", f"{card.recipe.name}: {_listed(card.recipe.settings)}"
        yield "command", card.recipe.command
    if card.source:
        yield "converted from", f"{card.source.file} ({card.source.project}, SHA-256 {card.source.sha256})"
    for error in card.errors:
        yield "error", _error(error, len(card.classes))
    if card.exported:
        yield (
            "exported",
            f"{_listed(card.exported.formats)}, of parameters with SHA-256 {card.exported.sha256}",
        )
    if card.quantization:
        yield "quantization", _listed(card.quantization)
    if card.versions:
        yield "versions", _listed(card.versions)


def _data(data: DataSet) -> str:
    return f"{data.images:,} images of {', '.join(data.files)} ({data.fingerprint})"


def _error(error: MeasuredError, classes: int) -> str:
    low, high = error.top1_interval
    top_k = f"top-{error.top_k} {error.topk_error:.2f} %, " if error.top_k < classes else ""
    return (
        f"{error.top1_error:.2f} % ({low:.2f} to {high:.2f}), {top_k}"
        f"epoch {error.epoch}, {error.protocol} of {_data(error.data)}, {error.date}"
    )


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
