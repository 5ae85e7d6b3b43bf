"""tools/export.py: writes the files that predictors read, from those of a training run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

from gluon_resnet.cli.arguments import epoch
from gluon_resnet.cli.command import program
from gluon_resnet.cli.parser import Parser
from gluon_resnet.deploy.export import FORMATS, export
from gluon_resnet.models.saved import chosen_epoch
from gluon_resnet.terminal import say, tell


def main(argv: Optional[Sequence[str]] = None) -> Optional[int]:
    """Export as `argv` says (default: the command line); return the exit status, None for success."""
    parser = Parser(
        prog=program("export"),
        example="--model-prefix runs/resnet20 --epoch best --output cifar10 --format both",
        description="Write OUT-model.json and, from a training run's files, OUT-symbol.json with OUT-0000.params, "
        "OUT.onnx, or all of them. The normalization is in the graph; its input is float32 RGB from 0 to 255, NCHW.",
        allow_abbrev=False,
    )
    parser.add_argument("--model-prefix", required=True, metavar="PREFIX", help="as for tools/train.py")
    parser.add_argument(
        "--epoch",
        type=epoch,
        metavar="N",
        help="the epoch of PREFIX-NNNN.params, or best (default: the newest)",
    )
    parser.add_argument("--output", required=True, metavar="OUT", help="beginning of the new files' names")
    parser.add_argument(
        "--format", choices=FORMATS, default="mxnet", help="format of the files (default: mxnet)"
    )
    args = parser.parse_args(argv)

    chosen = chosen_epoch(args.model_prefix, args.epoch)
    done = export(args.model_prefix, chosen, args.output, args.format)
    say(f"exported epoch {chosen} to {', '.join(done.files)}")
    if done.outdated:
        tell(f"{parser.prog}: left by an earlier export of other parameters: {', '.join(done.outdated)}")
    return None
