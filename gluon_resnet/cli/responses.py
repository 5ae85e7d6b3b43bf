"""tools/responses.py: standard deviations of layer responses. Without networks to measure it does not need MXNet."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from statistics import median
from typing import Optional

from gluon_resnet.analysis.figures import require_figure
from gluon_resnet.analysis.response_figure import draw_responses
from gluon_resnet.analysis.responses import Responses
from gluon_resnet.cli.command import as_typed, program
from gluon_resnet.cli.network_options import (
    add_data_options,
    add_device_options,
    add_network_options,
    epochs,
    passes,
)
from gluon_resnet.cli.parser import Parser
from gluon_resnet.errors import EnvironmentProblem, UsageError
from gluon_resnet.files import whole_file
from gluon_resnet.terminal import printable_cells

_EPILOG = """\
The outputs of each convolution, after its batch normalization and before ReLU or addition, over all images, channels
and positions: the centre crop of every image, with the network in inference mode. Projection shortcuts do not count.
The table and the figure show the 3x3 convolutions (He et al. 2015, Figure 7); --output has all of them."""


def main(argv: Optional[Sequence[str]] = None) -> Optional[int]:
    """Measure as `argv` says (default: the command line); return the exit status, None for success."""
    argv = sys.argv[1:] if argv is None else list(argv)
    args = _parser().parse_args(argv)
    _require_possible(args)
    responses = [Responses.load(path) for path in args.measured]
    if args.model_prefix:
        responses += _measured(args, as_typed(argv))
    if args.figure:
        draw_responses(args.figure, responses)
    print(_table(responses))
    return None


def _require_possible(args: argparse.Namespace) -> None:
    """Raise, before any work, for options that contradict each other, and for a figure that cannot be drawn."""
    prefixes, outputs = args.model_prefix, args.output
    if not prefixes and not args.measured:
        raise UsageError("nothing to show: give --model-prefix and --data-val, or --measured")
    if bool(prefixes) != bool(args.data_val):
        raise UsageError("give both --model-prefix and --data-val, since a network is measured on records")
    if args.recompute_statistics and not prefixes:
        raise UsageError("--recompute-statistics requires --model-prefix: what is --measured stays as it is")
    if outputs and len(outputs) != len(prefixes):
        raise UsageError(
            f"--output: expected a file for each of {len(prefixes)} networks, found {len(outputs)}"
        )
    if len({os.path.abspath(path) for path in outputs}) < len(outputs):
        raise UsageError("--output: two networks cannot have the same file")
    if args.figure:
        require_figure(args.figure)
        folder = os.path.dirname(args.figure) or "."
        if not os.path.isdir(folder):
            raise UsageError(f"--figure: there is no folder {folder}")


def _measured(args: argparse.Namespace, command: str) -> Iterator[Responses]:
    """Measure the networks one after the other, and write each one's file at once."""
    from gluon_resnet.data.twins import open_distinct
    from gluon_resnet.evaluation.networks import contexts_of, load_member
    from gluon_resnet.evaluation.responses import measure_responses
    from gluon_resnet.evaluation.statistics import recompute_statistics

    contexts = contexts_of(args.gpus, args.cpus)
    loaded = [load_member(prefix, epoch, contexts) for prefix, epoch in zip(args.model_prefix, epochs(args))]
    files, training = open_distinct(args.data_val), open_distinct(args.recompute_statistics)
    how = passes(args, contexts)
    if training:
        recompute_statistics([member for member, _ in loaded], training, **how)
    for (member, network), path in zip(loaded, args.output or [None] * len(loaded)):
        # Opened first, since a folder that cannot be written to would waste the work.
        with whole_file(path) if path else nullcontext() as output:
            layers = measure_responses(member, files, **how)
            responses = Responses(
                network=network.network,
                parameters=network.parameters,
                epoch=network.epoch,
                data=tuple(args.data_val),
                images=sum(len(file.images) for file in files),
                layers=layers,
                command=command,
                recomputed_statistics=tuple(args.recompute_statistics),
            )
            if output:
                output.write(responses.to_json())
        yield responses


def _table(responses: Sequence[Responses]) -> str:
    try:
        from tabulate import tabulate
    except ImportError:
        raise EnvironmentProblem("tables need tabulate: pip install 'gluon-resnet[plot]'") from None

    headers = ["network", "parameters", "images", "3x3 layers", "mean std", "median", "least", "greatest"]
    rows = [[r.network, r.parameters, f"{r.images:,}", len(r.stds), *_summary(r)] for r in responses]
    return tabulate(
        printable_cells(rows), headers, colalign=("left", "left", *["right"] * 6), disable_numparse=True
    )


def _summary(responses: Responses) -> list[str]:
    """Cells: mean, median, least and greatest."""
    stds = responses.ranked
    if not stds:
        return [""] * 4
    return [f"{value:.3f}" for value in (sum(stds) / len(stds), median(stds), stds[-1], stds[0])]


def _parser() -> argparse.ArgumentParser:
    result = Parser(
        prog=program("responses"),
        example="--model-prefix runs/resnet20 --data-val data/cifar10_test.rec --figure responses.svg",
        description="Measure the responses of the layers of trained networks, and draw them.",
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    add_network_options(result, several="one after the other", required=False)
    add_data_options(result, required=False)
    add_device_options(result)
    group = result.add_argument_group("report")
    group.add_argument(
        "--output",
        nargs="+",
        default=[],
        metavar="FILE.json",
        help="write the measurements, one file for each network",
    )
    group.add_argument(
        "--measured",
        nargs="+",
        default=[],
        metavar="FILE.json",
        help="files written by --output, to be shown before the networks without measuring again",
    )
    group.add_argument("--figure", metavar="FILE", help="draw all of them in one figure, a .png or .svg file")
    return result
