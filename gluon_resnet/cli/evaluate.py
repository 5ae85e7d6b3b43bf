"""tools/evaluate.py: test networks on record files."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Optional, Union

from gluon_resnet.analysis.paper import Result, reference
from gluon_resnet.card import ModelCard
from gluon_resnet.cli.arguments import epoch, gpu_ids, number, numbers
from gluon_resnet.cli.card_entries import data_set, measured_error
from gluon_resnet.cli.command import as_typed, program
from gluon_resnet.cli.evaluate_report import (
    Network,
    Report,
    class_table,
    error_table,
    write_confusion,
    write_json,
)
from gluon_resnet.cli.told_card import ToldCard, add_card_options
from gluon_resnet.data import EvalTransform, Loader, RecordFile
from gluon_resnet.deploy.graph import load_graph
from gluon_resnet.errors import UsageError
from gluon_resnet.evaluation import PROTOCOLS, SCALES, Member, evaluate
from gluon_resnet.evaluation.members import class_names
from gluon_resnet.files import whole_file
from gluon_resnet.models.parameters import read_arrays
from gluon_resnet.models.saved import chosen_epoch, load_network, parameters_path
from gluon_resnet.training.devices import cpu_contexts, gpu_contexts
from gluon_resnet.training.progress import Progress

_EPILOG = """\
1-crop: the centre of the image, as in training's validation. 10-crop: four corners and the centre, and these mirrored.
multi-scale: the whole image, fully convolutional, at several scales, and mirrored. Several networks are an ensemble:
their probabilities are averaged. A record that cannot be decoded ends it, with exit status 1 and the record's name."""


def main(argv: Optional[Sequence[str]] = None) -> Optional[int]:
    """Evaluate as `argv` says (default: the command line); the exit status, None for success."""
    argv = sys.argv[1:] if argv is None else list(argv)
    args = _parser().parse_args(argv)
    if args.scales is not None and args.protocol != "multi-scale":
        raise UsageError("--scales are those of --protocol multi-scale")
    if len(args.epoch) not in (1, len(args.model_prefix)):
        raise UsageError(
            f"--epoch: expected one for all or one for each of {len(args.model_prefix)} networks, "
            f"found {len(args.epoch)}"
        )
    told = ToldCard.of(args)
    if len(args.model_prefix) > 1 and (told or args.update_card):
        option = "size" if told else "update-card"
        raise UsageError(f"--{option} is for one network, and there are {len(args.model_prefix)}")
    card_path = f"{args.model_prefix[0]}-model.json"
    if args.update_card and told and os.path.exists(card_path):
        raise UsageError(f"--update-card would replace {card_path} by what --size says: leave one out")
    contexts = gpu_contexts(args.gpus) if args.gpus else cpu_contexts(args.cpus)
    epochs = args.epoch * (len(args.model_prefix) // len(args.epoch))
    loaded = [_load(prefix, epoch, contexts, told) for prefix, epoch in zip(args.model_prefix, epochs)]
    members, networks = [member for member, _ in loaded], tuple(network for _, network in loaded)
    names = class_names(members, args.data_val)
    files = [RecordFile(path) for path in args.data_val]
    scales = args.scales or SCALES

    with ExitStack() as stack:
        # Opened now: a folder that cannot be written to is known before the work.
        output, confusion = (
            stack.enter_context(whole_file(path)) if path else None for path in (args.output, args.confusion)
        )
        tally = evaluate(
            members,
            files,
            args.protocol,
            scales=scales,
            batch_size=args.batch_size,
            threads=args.data_nthreads,
            contexts=contexts,
            progress=Progress(every=0),
        )
        report = Report(
            tally=tally,
            names=names,
            protocol=args.protocol,
            scales=tuple(scales) if args.protocol == "multi-scale" else None,
            networks=networks,
            data=tuple(args.data_val),
            paper=paper_row([member.card for member in members], args.protocol),
            per_class=args.per_class,
            command=as_typed(argv),
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
    """What He et al. 2015 print for this network, or for an ensemble, under `protocol`; None: nothing.

    It is of CIFAR-10 or ImageNet: a network of another number of classes has been tested on something else.
    """
    classes, card = len(cards[0].classes), cards[0]
    if len(cards) > 1:
        known = classes == 1000 and protocol == "multi-scale"
        return reference(card.network, None, card.variant, "ensemble") if known else None
    if classes == 10 and protocol == "1-crop":
        return reference(card.network, card.shortcut, card.variant, "cifar10")
    return reference(card.network, card.shortcut, card.variant, protocol) if classes == 1000 else None


def _update_card(path: str, card: ModelCard, report: Report, files: Sequence[RecordFile]) -> None:
    """Put the errors into the card at `path`, which becomes `card` where there is none."""
    known = os.path.exists(path)
    # Training may have written to it meanwhile.
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
    print(f"evaluate.py: {path} has these errors now", file=sys.stderr)


def _load(
    prefix: str, wanted: Union[int, str, None], contexts: Sequence[Any], told: Optional[ToldCard]
) -> tuple[Member, Network]:
    """The network of a checkpoint, or of an export, whose arrays are named 'arg:NAME' and 'aux:NAME'.

    Its card is what was told, or that of PREFIX.
    """
    chosen = chosen_epoch(prefix, wanted)
    path = parameters_path(prefix, chosen)
    exported = all(name.startswith(("arg:", "aux:")) for name in read_arrays(path))
    if exported:
        graph = f"{prefix}-symbol.json"
        card = told.of_graph(graph) if told else ModelCard.load(f"{prefix}-model.json")
        card.require_format("mxnet", f"{prefix}-model.json")
        net = load_graph(graph, path, card, contexts)
    else:
        card, net = load_network(prefix, chosen, contexts, told.of_checkpoint(path) if told else None)
    network = Network(path, card.network, card.shortcut, card.variant, chosen, exported)
    return Member(path, card, net), network


def _parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(
        prog=program("evaluate"),
        description="Count the errors of trained networks on RecordIO files.",
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    whole = number(int, 1)
    group = result.add_argument_group("networks")
    group.add_argument(
        "--model-prefix",
        nargs="+",
        required=True,
        metavar="PREFIX",
        help="of the files that train.py, convert.py or export.py wrote; several: an ensemble",
    )
    group.add_argument(
        "--epoch",
        nargs="+",
        type=epoch,
        default=[None],
        metavar="N",
        help="of PREFIX-NNNN.params, or best; one for all or one for each (default: the newest)",
    )
    add_card_options(result)
    group = result.add_argument_group("data")
    group.add_argument(
        "--data-val", nargs="+", required=True, metavar="REC", help="records; each counts once"
    )
    group.add_argument("--data-nthreads", type=whole, help="decoding threads (default: one per processor)")
    group.add_argument("--batch-size", type=whole, default=64, help="images at once (default: 64)")
    group.add_argument("--protocol", choices=PROTOCOLS, default="1-crop", help="default: 1-crop")
    group.add_argument(
        "--scales",
        type=_scales,
        metavar="N,N,...",
        help=f"shorter sides of multi-scale (default: {','.join(map(str, SCALES))})",
    )
    group = result.add_argument_group("devices").add_mutually_exclusive_group()
    group.add_argument("--gpus", type=gpu_ids, metavar="ID,ID,...", help="default: the CPU")
    group.add_argument("--cpus", type=whole, default=1, help="data-parallel CPU contexts (default: 1)")
    group = result.add_argument_group("report")
    group.add_argument("--json", action="store_true", help="print one JSON object, and nothing else")
    group.add_argument("--output", metavar="FILE.json", help="write the JSON object, too")
    group.add_argument(
        "--update-card",
        action="store_true",
        help="write the errors into PREFIX-model.json, too, in the place of those of the same epoch, data and protocol",
    )
    group.add_argument("--per-class", action="store_true", help="errors of each class")
    group.add_argument(
        "--confusion", metavar="FILE.csv", help="a row for each label, a column for each answer"
    )
    return result


def _scales(text: str) -> tuple[int, ...]:
    values = numbers(int)(text)
    if not values or min(values) < 1 or len(set(values)) != len(values):
        raise argparse.ArgumentTypeError(f"expected different numbers like 224,256, found {text!r}")
    return values
