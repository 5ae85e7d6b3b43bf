"""The command line of tools/im2rec.py: MXNet's, with our additions."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, Optional

from gluon_resnet.cli.command import program
from gluon_resnet.cli.im2rec.request import ListRequest
from gluon_resnet.cli.parser import Parser
from gluon_resnet.data.packing.list_origin import ListOptions
from gluon_resnet.data.packing.pack import PackOptions
from gluon_resnet.data.packing.sources import EXTENSIONS, STORED_EXTENSIONS

_EXAMPLES = """data/train FOLDER --resize 480
data/all FOLDER --train-ratio 0.9
data/train FOLDER --list --recursive
data/cifar10 cifar-10-binary.tar.gz --source cifar10
data/fashion /usr/share/datasets/fashion-mnist --source idx
data/train --check
data/train --rebuild-index
data/both --join data/a.rec data/b.rec
data/train --unpack NEW_FOLDER
data/cut --salvage data/saved"""

_EPILOG = """
If there is no list of yours at PREFIX, the list is made and packed at once: class folders in ROOT become the
classes, in alphabetical order. Files written: PREFIX.rec, PREFIX.idx, PREFIX.lst, PREFIX.lst.json (what the
list was made from), PREFIX.classes (names in label order), and PREFIX.errors.txt if pictures were bad.
CIFAR-10 and MNIST become PREFIX_train.rec and PREFIX_test.rec. A list made by --list, changed by hand or written by
another program is packed as it is; any other is remade from ROOT, and its changes are reported.

Left out and counted are files with other endings, hidden and system names (.ipynb_checkpoints, @eaDir,
__MACOSX and the like), and links to folders that are reached in another way or contain ROOT.

Unlike in MXNet's im2rec.py, the order of the records does not depend on --num-thread, every line of a
list must be right, JPEG is turned upright by EXIF even with --color -1, and the upper 8 bits of 16-bit PNG
are kept.
"""

PIXELS = ("cifar10", "idx")  # the sources that are data sets of pixels, not collections of files

_DEFAULTS: dict[str, Any] = {
    "source": "auto",
    "chunks": 1,
    "train_ratio": 1.0,
    "test_ratio": 0.0,
    "recursive": False,
    "shuffle": True,
    "pass_through": False,
    "verify": True,
    "resize": 0,
    "center_crop": False,
    "quality": 95,
    "color": 1,
    "pack_label": False,
    "on_error": "fail",
}
_LISTING = ("exts", "chunks", "train_ratio", "test_ratio", "recursive", "shuffle")
_NO_PIXELS = (
    "resize",
    "center_crop",
    "quality",
    "color",
    "encoding",
)  # these have no meaning if files stay as they are
_PACKING = (
    "source",
    *_LISTING,
    "pass_through",
    "verify",
    *_NO_PIXELS,
    "num_thread",
    "pack_label",
    "on_error",
)
# What can be done instead of packing: the options allowed, and the number of files or folders after PREFIX.
_MODES = {
    "list": ((*_LISTING, "source", "on_error", "num_thread"), 1),
    "check": (("num_thread",), 0),
    "rebuild_index": ((), 0),
    "join": ((), 2),
    "unpack": ((), 1),
    "salvage": ((), 1),
}


def parse(argv: Optional[Sequence[str]]) -> argparse.Namespace:
    """The arguments, checked; exits with status 2 if they cannot be right.

    `mode` is the key in _MODES of what to do, or ``'pack'``; `inputs` are the arguments after PREFIX, and `root` the
    first of them. An option of _LISTING that is not given is None.
    """
    parser = _parser()
    args = parser.parse_intermixed_args(argv)
    given = {name for name in _PACKING if getattr(args, name) not in (None, _DEFAULTS.get(name))}
    for name, value in _DEFAULTS.items():
        if name not in _LISTING and getattr(args, name) is None:
            setattr(args, name, value)
    args.mode = next((mode for mode in _MODES if getattr(args, mode)), "pack")
    allowed, inputs = _MODES.get(args.mode, (_PACKING, 1))
    _refuse(parser, given - set(allowed), f"--{args.mode.replace('_', '-')}")
    if args.mode == "join" and len(args.inputs) < inputs:
        parser.error(
            "--join: expected PREFIX and at least two record files, as in data/both --join data/a.rec data/b.rec"
        )
    if len(args.inputs) < inputs:
        what = {"unpack": "the folder to make", "salvage": "the prefix of the new file"}.get(
            args.mode, "root"
        )
        parser.error(f"the following arguments are required: {what}")
    if len(args.inputs) > inputs and args.mode != "join":
        parser.error(f"unrecognized arguments: {' '.join(args.inputs[inputs:])}")
    args.root = args.inputs[0] if args.inputs else None
    _check_numbers(parser, args)
    if args.source in PIXELS:
        source = f"--source {args.source}"
        if args.list or given & set(_LISTING):
            parser.error(f"{source} has no lists: it does not allow --list and the options of lists")
        if args.pass_through:
            parser.error(f"{source} has pixels, not files: it does not allow --pass-through")
    if args.pass_through:
        _refuse(parser, given & set(_NO_PIXELS), "--pass-through, which stores the files as they are")
    elif not args.verify:
        parser.error("--no-verify requires --pass-through: pictures that are converted are decoded anyway")
    return args


def _refuse(parser: argparse.ArgumentParser, names: set[str], beside: str) -> None:
    if names:
        flags = {"shuffle": "--no-shuffle", "verify": "--no-verify"}
        typed = " and ".join(flags.get(name, f"--{name.replace('_', '-')}") for name in sorted(names))
        parser.error(f"{typed}: not allowed with {beside}")


def _check_numbers(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    if args.num_thread is not None and args.num_thread < 1:
        parser.error(f"--num-thread: expected a positive number, found {args.num_thread}")
    if args.chunks is not None and args.chunks < 1:
        parser.error(f"--chunks: expected a positive number, found {args.chunks}")
    train = 1.0 if args.train_ratio is None else args.train_ratio
    test = args.test_ratio or 0.0
    if not (0 <= train <= 1 and 0 <= test <= 1) or (train < 1 and train + test > 1 + 1e-9):
        parser.error("--train-ratio and --test-ratio: expected numbers from 0 to 1 with a sum of at most 1")
    if test and train == 1:
        parser.error("--test-ratio: expected a --train-ratio below 1 with it")


def list_request(args: argparse.Namespace) -> ListRequest:
    """The lists that the arguments ask for."""
    given = {name: getattr(args, name) for name in _LISTING if getattr(args, name) is not None}
    if "exts" in given:
        given["exts"] = tuple("." + ext.lower().lstrip(".") for ext in given["exts"])
    exts = STORED_EXTENSIONS if args.pass_through else EXTENSIONS
    return ListRequest(
        prefix=args.prefix,
        root=args.root,
        source=args.source,
        options=ListOptions(**{"exts": exts, **given}),
        given=frozenset(given),
        skip=args.on_error == "skip",
    )


def pack_options(args: argparse.Namespace) -> PackOptions:
    """The options of packing; UsageError if a value is out of range."""
    # Pixels have not lost anything yet, and JPEG would harm pictures so small.
    encoding = args.encoding or (".png" if args.source in PIXELS else ".jpg")
    return PackOptions(
        pass_through=args.pass_through,
        verify=args.verify,
        center_crop=args.center_crop,
        resize=args.resize or None,
        color={1: "rgb", 0: "gray", -1: "source"}[args.color],
        encoding={".jpg": "jpeg", ".png": "png"}[encoding],
        quality=args.quality,
        pack_label=args.pack_label,
        threads=args.num_thread,
        on_error=args.on_error,
    )


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog=program("im2rec"),
        example=_EXAMPLES,
        description="Pack pictures into a record file, make lists of them, or work on record files.",
        epilog=_EPILOG,
    )
    parser.add_argument(
        "prefix", metavar="PREFIX", help="the beginning of the names of the .lst, .rec and .idx files"
    )
    parser.add_argument(
        "inputs", nargs="*", metavar="ROOT",
        help="the pictures: a folder, or a tar archive with CLASS/NAME members, plain, .gz, .bz2 or .xz",
    )  # fmt: skip

    group = parser.add_argument_group("what to do, instead of packing")
    group = group.add_mutually_exclusive_group()
    group.add_argument(
        "--list", action="store_true", help="only make PREFIX.lst; class folders need --recursive"
    )
    group.add_argument(
        "--check", action="store_true", help="compare PREFIX.rec with PREFIX.idx and decode every image"
    )
    group.add_argument("--rebuild-index", action="store_true", help="write the PREFIX.idx of PREFIX.rec")
    group.add_argument(
        "--join", action="store_true",
        help="write the records of the files after it, one after the other, to the new PREFIX.rec; their classes "
        "must agree, and the keys are renumbered",
    )  # fmt: skip
    group.add_argument(
        "--unpack", action="store_true",
        help="write the images in PREFIX.rec to a new or empty folder, as CLASS/KEY.jpg, byte for byte",
    )  # fmt: skip
    group.add_argument(
        "--salvage", action="store_true",
        help="write the whole records of a damaged PREFIX.rec to a new file, and name what is lost; needs no index",
    )  # fmt: skip

    group = parser.add_argument_group("making lists")
    group.add_argument(
        "--source", choices=["auto", "folder", "tar", *PIXELS],
        help="kind of ROOT; cifar10: its binary or Python batches, a folder or their tar.gz; idx: a folder with the "
        "files of MNIST, Fashion-MNIST or EMNIST, gzipped or not, whose 28x28 pixels get a border of 2 "
        "(default: auto)",
    )  # fmt: skip
    group.add_argument(
        "--exts", nargs="+", metavar="EXT",
        help="endings of the pictures' names; what OpenCV decodes is converted, of a GIF the first frame, if OpenCV "
        f"decodes it (default: {' '.join(EXTENSIONS)}; with --pass-through: {' '.join(STORED_EXTENSIONS)})",
    )  # fmt: skip
    group.add_argument("--chunks", type=int, metavar="N", help="make N lists (default: 1)")
    group.add_argument(
        "--train-ratio", type=float, metavar="RATIO",
        help="share of the pictures for PREFIX_train; the rest goes to PREFIX_val (default: 1)",
    )  # fmt: skip
    group.add_argument("--test-ratio", type=float, metavar="RATIO", help="share for PREFIX_test (default: 0)")
    group.add_argument(
        "--recursive", action="store_true", default=None,
        help="every folder below ROOT that has pictures is a class",
    )  # fmt: skip
    group.add_argument(
        "--no-shuffle", dest="shuffle", action="store_false", default=None,
        help="keep the order of the names in the list",
    )  # fmt: skip

    group = parser.add_argument_group("packing")
    group.add_argument(
        "--pass-through", action="store_true", default=None, help="store the files as they are"
    )
    group.add_argument(
        "--no-verify", dest="verify", action="store_false", default=None,
        help="with --pass-through, do not look for damage in the files",
    )  # fmt: skip
    group.add_argument(
        "--resize", type=int, metavar="N", help="length of the shorter side in pixels (default: keep)"
    )
    group.add_argument(
        "--center-crop", action="store_true", default=None, help="cut to a square, before resizing"
    )
    group.add_argument(
        "--quality", type=int, metavar="N",
        help="quality of JPEG, 1 to 100, or compression level of PNG, where anything above 9 is 9 (default: 95)",
    )  # fmt: skip
    group.add_argument(
        "--num-thread", type=int, metavar="N",
        help="number of threads, which does not affect the result (default: one per core)",
    )  # fmt: skip
    group.add_argument(
        "--color", type=int, choices=[-1, 0, 1],
        help="1: color, 0: gray, -1: as in the file, with alpha (default: 1)",
    )  # fmt: skip
    group.add_argument(
        "--encoding",
        choices=[".jpg", ".png"],
        help="format of the records (default: .jpg; .png for cifar10 and idx)",
    )
    group.add_argument(
        "--pack-label",
        action="store_true",
        default=None,
        help="keep all labels of the list, not only the first one",
    )
    group.add_argument(
        "--on-error", choices=["fail", "skip"],
        help="for bad pictures or names: go through the rest, name them and write nothing, or leave them "
        "out (default: fail)",
    )  # fmt: skip
    return parser
