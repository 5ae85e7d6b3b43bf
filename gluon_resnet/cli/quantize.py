"""tools/quantize.py: turns an exported network into an INT8 network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

from gluon_resnet.cli.arguments import number, one_spelling
from gluon_resnet.cli.command import program
from gluon_resnet.cli.parser import Parser
from gluon_resnet.cli.without_card import add_card_options, card_of_export
from gluon_resnet.deploy.quantize import MODES, quantize
from gluon_resnet.terminal import say


def main(argv: Optional[Sequence[str]] = None) -> Optional[int]:
    """Quantize as `argv` says (default: the command line); return the exit status, None for success."""
    whole = number(int, 1)
    parser = Parser(
        prog=program("quantize"),
        example="--model-prefix cifar10 --output cifar10-int8 --calib-data data/cifar10_train.rec",
        description="Write OUT-symbol.json, OUT-0000.params and OUT-model.json for an exported network, with layers in "
        "INT8. Everything that reads exported files can read them.",
        epilog="Faster than float32 on processors with AVX-512 VNNI (lscpu: avx512_vnni); on others it merely runs.",
        allow_abbrev=False,
    )
    one_spelling(
        parser.add_argument(
            "--model-prefix",
            "--model",
            required=True,
            metavar="PREFIX",
            help="prefix of the files that tools/export.py wrote",
        )
    )
    parser.add_argument("--output", required=True, metavar="OUT", help="beginning of the new files' names")
    parser.add_argument(
        "--calib-data",
        metavar="REC",
        help="records to calibrate on, such as some of the training images",
    )
    parser.add_argument(
        "--calib-mode",
        choices=MODES,
        default="entropy",
        help="how the range of a layer's outputs is found (default: entropy; none: in each prediction)",
    )
    parser.add_argument(
        "--num-calib-batches",
        type=whole,
        default=10,
        metavar="N",
        help="batches, drawn at random (default: 10)",
    )
    parser.add_argument("--batch-size", type=whole, default=32, metavar="N", help="default: 32")
    parser.add_argument("--data-nthreads", type=whole, help="decoding threads (default: one per processor)")
    parser.add_argument(
        "--exclude",
        nargs="+",
        default=[],
        metavar="LAYER",
        help="layers that stay float32, such as resnet20_conv0 (default: none)",
    )
    add_card_options(parser)
    args = parser.parse_args(argv)
    if args.calib_data is None and args.calib_mode != "none":
        parser.error("give --calib-data, or --calib-mode none")

    result = quantize(
        args.model_prefix,
        args.output,
        args.calib_data,
        mode=args.calib_mode,
        batches=args.num_calib_batches,
        batch_size=args.batch_size,
        exclude=args.exclude,
        threads=args.data_nthreads,
        card=card_of_export(args),
    )
    files = [f"{args.output}-{end}" for end in ("symbol.json", "0000.params", "model.json")]
    say(f"quantized {result.layers} layers to {', '.join(files)}")
    if result.float_layers:
        say(f"in float32: {', '.join(result.float_layers)}")
    if result.compared:
        say(f"the same class as in float32 for {result.same} of {result.compared} calibration images")
    return None
