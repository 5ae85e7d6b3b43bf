"""tools/export.py: writes the files that predictors read, from those of a training run or of another MXNet program."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import Any, Optional

from gluon_resnet.card import ModelCard
from gluon_resnet.cli.arguments import epoch, numbers
from gluon_resnet.cli.command import program
from gluon_resnet.cli.parser import Parser
from gluon_resnet.cli.without_card import add_card_options, card_of_export
from gluon_resnet.deploy.export import FORMATS, Check, Export, export, export_graph
from gluon_resnet.errors import ModelError, UsageError
from gluon_resnet.models.parameters import of_a_graph, read_arrays
from gluon_resnet.models.saved import chosen_epoch, parameters_path
from gluon_resnet.terminal import say, tell

_EPILOG = """\
PREFIX-symbol.json with PREFIX-NNNN.params of another MXNet program become ONNX with --format onnx; without a card give
--image-shape, and --rgb-mean and --rgb-std if the graph expects normalized images: docs/onnx.md."""


def main(argv: Optional[Sequence[str]] = None) -> Optional[int]:
    """Export as `argv` says (default: the command line); return the exit status, None for success."""
    parser = _parser()
    args = parser.parse_args(argv)
    if args.verify is not None and args.format == "mxnet":
        raise UsageError("--verify compares an ONNX file with MXNet: give --format onnx or both")
    chosen = chosen_epoch(args.model_prefix, args.epoch)
    done = _exported(args, chosen, _is_graph(args.model_prefix, chosen))
    say(f"exported epoch {chosen} to {', '.join(done.files)}")
    if done.outdated:
        tell(f"{parser.prog}: left by an earlier export of other parameters: {', '.join(done.outdated)}")
    return None


def _is_graph(prefix: str, chosen: int) -> bool:
    """Whether the parameters are those of PREFIX-symbol.json, and not of a training run."""
    names = read_arrays(parameters_path(prefix, chosen)) if os.path.exists(f"{prefix}-symbol.json") else {}
    return bool(names) and of_a_graph(names)


def _exported(args: argparse.Namespace, chosen: int, graph: bool) -> Export:
    """Export a checkpoint, or the `graph` that its parameters are named after."""
    check = None if args.verify is None else _check(args.verify)
    if not graph:
        for name in ("image_shape", "resize", "class_names", "rgb_mean", "rgb_std"):
            if getattr(args, name) is not None:
                option = name.replace("_", "-")
                raise UsageError(
                    f"--{option} is for a graph without a card: {args.model_prefix} is a checkpoint"
                )
        return export(args.model_prefix, chosen, args.output, args.format, check)
    if args.format != "onnx":
        raise UsageError(f"{args.model_prefix}-symbol.json is MXNet's already: give --format onnx")
    told = card_of_export(args)
    return export_graph(args.model_prefix, chosen, args.output, told, args.rgb_mean, args.rgb_std, check)


def _check(records: Sequence[str]) -> Check:
    """A check that prints the parity report; ModelError beyond the tolerance."""
    from gluon_resnet.deploy.parity import TOLERANCE, compare

    def check(path: str, net: Any, card: ModelCard) -> None:
        for parity in compare(path, net, card, records):
            say(str(parity))
            if not parity.holds:
                raise ModelError(
                    f"the ONNX graph does not compute what MXNet's does: expected at most {TOLERANCE:g} of the largest "
                    f"output, {parity.largest:.4g}, as a difference, found {parity.difference:.4g}; nothing is written"
                )

    return check


def _parser() -> argparse.ArgumentParser:
    result = Parser(
        prog=program("export"),
        example="--model-prefix runs/resnet20 --epoch best --output cifar10 --format both",
        description="Write OUT-model.json and, from a training run's files, OUT-symbol.json with OUT-0000.params, "
        "OUT.onnx, or all of them. The normalization is in the graph; its input is float32 RGB from 0 to 255, NCHW.",
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    result.add_argument("--model-prefix", required=True, metavar="PREFIX", help="as for tools/train.py")
    result.add_argument(
        "--epoch",
        type=epoch,
        metavar="N",
        help="the epoch of PREFIX-NNNN.params, or best (default: the newest)",
    )
    result.add_argument("--output", required=True, metavar="OUT", help="beginning of the new files' names")
    result.add_argument(
        "--format", choices=FORMATS, default="mxnet", help="format of the files (default: mxnet)"
    )
    result.add_argument(
        "--verify",
        nargs="*",
        metavar="REC",
        help="compare OUT.onnx in onnxruntime with MXNet, on noise and on the first 64 images of these records, and "
        "write nothing if they differ",
    )
    add_card_options(result)
    group = result.add_argument_group("a graph that expects normalized images")
    group.add_argument("--rgb-mean", type=numbers(float, 3), metavar="R,G,B", help="for pixels from 0 to 255")
    group.add_argument("--rgb-std", type=numbers(float, 3), metavar="R,G,B", help="for pixels from 0 to 255")
    return result
