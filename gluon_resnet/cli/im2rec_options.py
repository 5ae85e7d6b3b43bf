"""The command line of tools/im2rec.py: MXNet's, and what we add."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Optional

from gluon_resnet.cli.command import program
from gluon_resnet.cli.parser import Parser
from gluon_resnet.data.packing import PackOptions

_EPILOG = """
With no PREFIX*.lst the list is made and packed at once: where ROOT has class folders, they are the
classes, in alphabetical order. What is written: PREFIX.rec, PREFIX.idx, PREFIX.lst, PREFIX.classes (names
in label order), and PREFIX.errors.txt where pictures were bad. CIFAR-10 becomes PREFIX_train.rec and
PREFIX_test.rec.

Other than in MXNet's im2rec.py, the order of the records does not depend on --num-thread, every line of a
list must be right, JPEG is turned upright by EXIF for --color -1, too, and of 16-bit PNG the upper 8 bits
are kept.
"""


def parse(argv: Optional[Sequence[str]]) -> argparse.Namespace:
    """The arguments, checked; exits with status 2 where they cannot be right."""
    parser = _parser()
    args = parser.parse_args(argv)
    if args.root is None and not (args.check or args.rebuild_index):
        parser.error("the following arguments are required: root")
    if args.num_thread is not None and args.num_thread < 1:
        parser.error(f"--num-thread: expected a positive number, found {args.num_thread}")
    if args.chunks < 1:
        parser.error(f"--chunks: expected a positive number, found {args.chunks}")
    ratios = (args.train_ratio, args.test_ratio)
    if not all(0 <= ratio <= 1 for ratio in ratios) or (args.train_ratio < 1 and sum(ratios) > 1 + 1e-9):
        parser.error("--train-ratio and --test-ratio: expected numbers from 0 to 1 with a sum of at most 1")
    if args.source == "cifar10":
        if args.list or args.chunks != 1 or args.train_ratio != 1:
            parser.error(
                "--source cifar10 has no lists: --list, --chunks and --train-ratio do not go with it"
            )
        if args.pass_through:
            parser.error("--source cifar10 has pixels, not files: --pass-through does not go with it")
    args.exts = ["." + ext.lower().lstrip(".") for ext in args.exts]
    return args


def pack_options(args: argparse.Namespace) -> PackOptions:
    """How to pack; UsageError where a value is out of range."""
    # CIFAR-10 has no losses yet, and JPEG would do harm to pictures so small.
    encoding = args.encoding or (".png" if args.source == "cifar10" else ".jpg")
    return PackOptions(
        pass_through=args.pass_through,
        verify=args.verify,
        center_crop=args.center_crop,
        resize=args.resize or None,
        colour={1: "rgb", 0: "gray", -1: "source"}[args.color],
        encoding={".jpg": "jpeg", ".png": "png"}[encoding],
        quality=args.quality,
        pack_label=args.pack_label,
        threads=args.num_thread,
        on_error=args.on_error,
    )


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog=program("im2rec"),
        example="data/train FOLDER --resize 480\n--check data/train",
        description="Pack pictures into a record file, make lists of them, or check a record file.",
        epilog=_EPILOG,
    )
    parser.add_argument("prefix", help="what the names of the .lst, .rec and .idx files start with")
    parser.add_argument(
        "root", nargs="?", help="the pictures: a folder, or a .tar or .tar.gz with CLASS/NAME members"
    )

    group = parser.add_argument_group("what to do, instead of packing")
    group = group.add_mutually_exclusive_group()
    group.add_argument(
        "--list", action="store_true", help="only make PREFIX.lst; class folders need --recursive"
    )
    group.add_argument(
        "--check", action="store_true", help="compare PREFIX.rec with PREFIX.idx and decode every image"
    )
    group.add_argument("--rebuild-index", action="store_true", help="write the PREFIX.idx of PREFIX.rec")

    group = parser.add_argument_group("making lists")
    group.add_argument(
        "--source", choices=["auto", "folder", "tar", "cifar10"], default="auto",
        help="what ROOT is; cifar10: its binary or Python batches, a folder or their tar.gz (default: auto)",
    )  # fmt: skip
    group.add_argument(
        "--exts", nargs="+", default=[".jpeg", ".jpg", ".png"], metavar="EXT",
        help="endings of the pictures' names; other formats than JPEG and PNG are converted "
        "(default: .jpeg .jpg .png)",
    )  # fmt: skip
    group.add_argument("--chunks", type=int, default=1, metavar="N", help="make N lists (default: 1)")
    group.add_argument(
        "--train-ratio", type=float, default=1.0, metavar="RATIO",
        help="share of the pictures in PREFIX_train; the rest is in PREFIX_val (default: 1)",
    )  # fmt: skip
    group.add_argument(
        "--test-ratio", type=float, default=0.0, metavar="RATIO", help="share in PREFIX_test (default: 0)"
    )
    group.add_argument(
        "--recursive", action="store_true", help="every folder below ROOT that has pictures is a class"
    )
    group.add_argument(
        "--no-shuffle", dest="shuffle", action="store_false", help="keep the order of the names in the list"
    )

    group = parser.add_argument_group("packing")
    group.add_argument("--pass-through", action="store_true", help="store the files as they are")
    group.add_argument(
        "--no-verify",
        dest="verify",
        action="store_false",
        help="with --pass-through, do not look for damage in the files",
    )
    group.add_argument(
        "--resize",
        type=int,
        default=0,
        metavar="N",
        help="length of the shorter side in pixels (default: keep)",
    )
    group.add_argument("--center-crop", action="store_true", help="cut to a square, before resizing")
    group.add_argument(
        "--quality", type=int, default=95, metavar="N",
        help="of JPEG, 1 to 100; level of compression of PNG, where all above 9 is 9 (default: 95)",
    )  # fmt: skip
    group.add_argument(
        "--num-thread",
        type=int,
        metavar="N",
        help="threads; the result is the same for any (default: one per core)",
    )
    group.add_argument(
        "--color", type=int, default=1, choices=[-1, 0, 1],
        help="1: colour, 0: gray, -1: as in the file, with alpha (default: 1)",
    )  # fmt: skip
    group.add_argument(
        "--encoding", choices=[".jpg", ".png"], help="of the records (default: .jpg; .png for cifar10)"
    )
    group.add_argument(
        "--pack-label", action="store_true", help="all labels of the list, not only the first one"
    )
    group.add_argument(
        "--on-error", choices=["fail", "skip"], default="fail",
        help="where pictures are bad: go through the rest, name them and write nothing, or leave them out "
        "(default: fail)",
    )  # fmt: skip
    return parser
