"""The model card of a run: at its beginning, and after each of its epochs."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace

from gluon_resnet.card import ModelCard
from gluon_resnet.errors import ModelError
from gluon_resnet.evaluation.card_entries import measured_error
from gluon_resnet.provenance import TrainedBy, TrainedOn
from gluon_resnet.runs.job import Job
from gluon_resnet.training.epoch_record import EpochRecord
from gluon_resnet.training.position import Position

_PROTOCOL = "1-crop"  # evaluate.py's name for what validation does


def card_of(job: Job, command: str, position: Position, epochs: int) -> ModelCard:
    """The card of a run of `epochs` epochs at its beginning; what is known of a network that is continued is kept."""
    plan = job.plan
    settings = {**job.settings, "epochs": epochs, "iterations": job.iterations}
    name = settings.pop("name")
    given = {key: value for key, value in settings.items() if value is not None}
    card = replace(
        job.card,
        data=TrainedOn(job.data.training, job.data.validation),
        epoch=position.epoch or None,
        # As it will be read back: with lists for tuples.
        recipe=TrainedBy(name, command, json.loads(json.dumps(given))),
        source=plan.pretrained.card.source if plan.pretrained else None,
    )
    if position.iteration or plan.settings.load_epoch is not None:
        with contextlib.suppress(OSError, ModelError):  # there is none, or one of another version
            before = ModelCard.load(f"{plan.prefix}-model.json")
            errors = tuple(error for error in before.errors if error.epoch <= position.epoch)
            card = replace(card, epoch=position.epoch, errors=errors, source=before.source)
    return card


def after_epoch(card: ModelCard, record: EpochRecord) -> ModelCard:
    """The card of a run after one more epoch: it keeps the best and the last of all validations."""
    card = replace(card, epoch=record.epoch)
    data = card.data.validation if card.data else None
    if data is None or record.val_top1_error is None or record.val_topk_error is None:
        return card
    top1_wrong, topk_wrong = (
        round(error * data.images / 100) for error in (record.val_top1_error, record.val_topk_error)
    )
    now = measured_error(data, _PROTOCOL, record.epoch, top1_wrong, record.top_k, topk_wrong)
    before = [error for error in card.errors if replace(error, epoch=now.epoch).same_test(now)]
    best = min(before, key=lambda error: (error.top1_error, error.epoch), default=None)
    kept = tuple(error for error in card.errors if error is best or error not in before)
    return replace(card, errors=kept).with_error(now)
