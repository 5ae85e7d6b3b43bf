"""tools/mean.py: computes the mean image, and the channels' mean and standard deviation, of record files."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Optional

from tqdm import tqdm

from gluon_resnet.cli.arguments import MAX_SIDE, image_size, number, one_spelling
from gluon_resnet.cli.command import program
from gluon_resnet.cli.parser import Parser
from gluon_resnet.data import EvalTransform, Loader
from gluon_resnet.data._native import Batch
from gluon_resnet.data.statistics import pixel_statistics
from gluon_resnet.data.twins import open_distinct
from gluon_resnet.files import temporary_name
from gluon_resnet.terminal import say


def main(argv: Optional[Sequence[str]] = None) -> Optional[int]:
    """Compute as `argv` says (default: the command line); return the exit status, None for success."""
    parser = Parser(
        prog=program("mean"),
        example="data/cifar10_train.rec --image-shape 3,32,32 --output cifar10-mean.npz",
        description="Compute the mean of each pixel and the mean and standard deviation of each channel, over all "
        "images of record files as the network will see them: in RGB from 0 to 255, scaled and cut as for evaluation.",
        epilog="tools/train.py --mean-image OUT.npz subtracts the mean image, and --rgb-mean and --rgb-std take the "
        "printed numbers. Works without MXNet.",
        allow_abbrev=False,
    )
    parser.add_argument("records", nargs="+", metavar="REC", help="training records")
    parser.add_argument("--output", required=True, metavar="OUT.npz", help="the file to write")
    one_spelling(
        parser.add_argument(
            "--image-shape",
            "--size",
            type=image_size,
            default=224,
            metavar="3,N,N",
            help="shape of the crop (default: 3,224,224; 3,32,32 suits CIFAR-10)",
        )
    )
    parser.add_argument(
        "--resize",
        type=number(int, 1, MAX_SIDE),
        metavar="N",
        help="shorter side before the crop (default: 256 for 224, otherwise not resized)",
    )
    parser.add_argument(
        "--data-nthreads", type=number(int, 1), help="decoding threads (default: one per processor)"
    )
    args = parser.parse_args(argv)

    resize = 256 if args.resize is None and args.image_shape == 224 else args.resize
    transform = EvalTransform(resize, args.image_shape)
    files = open_distinct(args.records)
    # Opened now, so that a folder that cannot be written to is reported before the work.
    with temporary_name(args.output) as output:
        statistics = pixel_statistics(files, transform, args.data_nthreads, _with_progress)
        statistics.save(output)
    for option, values in (("--rgb-mean", statistics.mean), ("--rgb-std", statistics.std)):
        say(f"{option} {','.join(f'{value:.3f}' for value in values)}")
    say(f"saved the mean of {statistics.images} images in {args.output}")
    return None


def _with_progress(loader: Loader) -> Iterator[Batch]:
    yield from tqdm(loader, "mean", unit="batch", leave=False, disable=not sys.stderr.isatty())
