"""tools/evaluate.py: test networks on record files."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Optional

from gluon_resnet.analysis.paper import Result, reference
from gluon_resnet.card import ModelCard
from gluon_resnet.cli.arguments import shorter_sides
from gluon_resnet.cli.command import as_typed, program
from gluon_resnet.cli.network_options import (
    add_data_options,
    add_device_options,
    add_network_options,
    epochs,
    passes,
)
from gluon_resnet.cli.parser import Parser
from gluon_resnet.cli.without_card import add_card_options, partial_card
from gluon_resnet.data import EvalTransform, Loader, RecordFile
from gluon_resnet.data.twins import open_distinct, same_names
from gluon_resnet.errors import UsageError
from gluon_resnet.evaluation import PROTOCOLS, SCALES, evaluate
from gluon_resnet.evaluation.card_entries import data_set, measured_error
from gluon_resnet.evaluation.members import class_names
from gluon_resnet.evaluation.networks import contexts_of, load_member
from gluon_resnet.evaluation.predictions import Predictions
from gluon_resnet.evaluation.report import (
    KeptPredictions,
    Report,
    class_table,
    error_table,
    write_confusion,
    write_json,
)
from gluon_resnet.evaluation.statistics import recompute_statistics
from gluon_resnet.files import sha256_of, whole_file
from gluon_resnet.models.saved import own_epochs
from gluon_resnet.terminal import tell, warn

_EPILOG = """\
1-crop: the centre of the image, as in validation during training. 10-crop: the four corners, the centre, and their
mirror images. multi-scale: the whole image at several scales, fully convolutional, and its mirror images. Several
networks form an ensemble: their probabilities are averaged. A record that cannot be decoded ends the evaluation, with
exit status 1 and the record's name."""


def main(argv: Optional[Sequence[str]] = None) -> Optional[int]:
    """Evaluate as `argv` says (default: the command line); return the exit status, None for success."""
    argv = sys.argv[1:] if argv is None else list(argv)
    args = _parser().parse_args(argv)
    if args.scales is not None and args.protocol != "multi-scale":
        raise UsageError("--scales requires --protocol multi-scale")
    wanted = epochs(args)
    told = partial_card(args)
    if len(args.model_prefix) > 1 and (told or args.update_card):
        option = "image-shape" if told else "update-card"
        raise UsageError(f"--{option} is for one network, but there are {len(args.model_prefix)}")
    card_path = f"{args.model_prefix[0]}-model.json"
    if args.update_card and told and os.path.exists(card_path):
        raise UsageError(
            f"--update-card would replace {card_path} by what --image-shape says: omit one of them"
        )
    if args.update_card and args.recompute_statistics:
        raise UsageError(
            "--update-card would describe statistics that are not saved: omit --recompute-statistics"
        )
    contexts = contexts_of(args.gpus, args.cpus)
    loaded = [load_member(prefix, epoch, contexts, told) for prefix, epoch in zip(args.model_prefix, wanted)]
    if args.update_card:
        _require_own_epoch(args.model_prefix[0], loaded[0][1].epoch)
    members, networks = [member for member, _ in loaded], tuple(network for _, network in loaded)
    names = class_names(members, args.data_val)
    files, training = open_distinct(args.data_val), open_distinct(args.recompute_statistics)
    twice = same_names(names)
    if twice:
        warn(twice)
    scales = args.scales or SCALES

    with ExitStack() as stack:
        # Opened now, so that a folder that cannot be written to is reported before the work.
        output, confusion, predictions = (
            stack.enter_context(whole_file(path, mode)) if path else None
            for path, mode in ((args.output, "w"), (args.confusion, "w"), (args.predictions, "wb"))
        )
        how = passes(args, contexts)
        if training:
            recompute_statistics(members, training, **how)
        tally = evaluate(members, files, args.protocol, scales=scales, **how)
        kept = None
        if predictions:
            content = Predictions.of(tally, files).to_bytes()
            predictions.write(content)
            kept = KeptPredictions(os.path.basename(args.predictions), sha256_of([content]))
        report = Report(
            tally=tally,
            names=names,
            protocol=args.protocol,
            scales=tuple(scales) if args.protocol == "multi-scale" else None,
            networks=networks,
            data=tuple(args.data_val),
            recomputed_statistics=tuple(args.recompute_statistics),
            paper=paper_row([member.card for member in members], args.protocol),
            per_class=args.per_class,
            command=as_typed(argv),
            predictions=kept,
        )
        if output:
            write_json(output, report)
        if confusion:
            write_confusion(confusion, report)
    if args.json:
        write_json(sys.stdout, report)
    else:
        print(error_table(report))
        if args.per_class:
            print(f"\n{class_table(report)}")
    if args.update_card:
        _update_card(card_path, members[0].card, report, files)
    return None


def paper_row(cards: Sequence[ModelCard], protocol: str) -> Optional[Result]:
    """What He et al. 2015 print for this network, or for an ensemble, under `protocol`; None if nothing.

    Their figures are for CIFAR-10 or ImageNet: a network with another number of classes was tested on something else.
    """
    classes, card = len(cards[0].classes), cards[0]
    if len(cards) > 1:
        known = classes == 1000 and protocol == "multi-scale"
        return reference(card.network, None, card.variant, "ensemble") if known else None
    if classes == 10 and protocol == "1-crop":
        return reference(card.network, card.shortcut, card.variant, "cifar10")
    return reference(card.network, card.shortcut, card.variant, protocol) if classes == 1000 else None


def _require_own_epoch(prefix: str, epoch: int) -> None:
    """UsageError if the card of `prefix` describes another epoch than `epoch`."""
    if epoch in own_epochs(prefix)[1]:
        raise UsageError(
            f"--update-card would put errors of epoch {epoch} into {prefix}-model.json, which is of an earlier one: "
            "omit it"
        )


def _update_card(path: str, card: ModelCard, report: Report, files: Sequence[RecordFile]) -> None:
    """Put the errors into the card at `path`, which is created from `card` if it does not exist."""
    known = os.path.exists(path)
    # Training may have written to it in the meantime.
    card = ModelCard.load(path) if known else replace(card, classes=report.names)
    (network,) = report.networks
    tally, scales = report.tally, report.scales
    error = measured_error(
        data_set(Loader(files, 1, EvalTransform())),
        report.protocol + (f" {','.join(map(str, scales))}" if scales else ""),
        card.epoch if network.exported and card.epoch is not None else network.epoch,
        tally.top1_wrong,
        tally.top_k,
        tally.topk_wrong,
    )
    card.with_error(error).save(path)
    tell(f"evaluate.py: {path} now has these errors")


def _parser() -> argparse.ArgumentParser:
    result = Parser(
        prog=program("evaluate"),
        example="--model-prefix runs/resnet20 --data-val data/cifar10_test.rec --per-class",
        description="Count the errors of trained networks on RecordIO files.",
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    add_network_options(result, several="an ensemble", required=True)
    add_card_options(result, checkpoint=True)
    group = add_data_options(result, required=True)
    group.add_argument("--protocol", choices=PROTOCOLS, default="1-crop", help="default: 1-crop")
    group.add_argument(
        "--scales",
        type=shorter_sides,
        metavar="N,N,...",
        help=f"shorter sides for multi-scale (default: {','.join(map(str, SCALES))})",
    )
    add_device_options(result)
    group = result.add_argument_group("report")
    group.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    group.add_argument("--output", metavar="FILE.json", help="also write the JSON object to a file")
    group.add_argument(
        "--predictions",
        metavar="FILE.npz",
        help="also write each record's class and probability, as compressed NumPy arrays",
    )
    group.add_argument(
        "--update-card",
        action="store_true",
        help="also write the errors into PREFIX-model.json, replacing those of the same epoch, data and protocol",
    )
    group.add_argument("--per-class", action="store_true", help="also show the errors of each class")
    group.add_argument(
        "--confusion",
        metavar="FILE.csv",
        help="write a table with a row for each label and a column for each answer",
    )
    return result
