"""tools/predict.py: classifies images."""

from __future__ import annotations

import argparse
import errno
import io
import os
import sys
from collections.abc import Sequence
from contextlib import closing
from typing import Optional

import numpy as np

from gluon_resnet.cli.arguments import number, one_spelling
from gluon_resnet.cli.command import program
from gluon_resnet.cli.parser import Parser
from gluon_resnet.cli.predict.images import NamedImage, named_images
from gluon_resnet.cli.predict.lines import (
    json_of_classes,
    json_of_error,
    json_of_logits,
    reason,
    text_of_classes,
    text_of_logits,
)
from gluon_resnet.cli.without_card import add_card_options, card_of_export
from gluon_resnet.deploy import Predictor
from gluon_resnet.deploy.backend import BACKENDS
from gluon_resnet.deploy.predictor import CROPS, most_probable
from gluon_resnet.errors import DataError, UsageError
from gluon_resnet.terminal import tell

_EPILOG = """\
IMAGE is a JPEG or PNG file, a folder (searched for *.jpg, *.jpeg and *.png) or a record file (*.rec).
Bad images are reported and the rest continues; the exit status is then 1."""

_NOT_FINITE = "the network's outputs for it are not finite"

# As in csrc/predict/command_line.cc.
_MOST_CLASSES, _MOST_IMAGES, _MOST_THREADS = 1 << 30, 1 << 16, 1 << 10


def main(argv: Optional[Sequence[str]] = None) -> Optional[int]:
    """Predict as `argv` says (default: the command line); return 1 if there were bad images, else None."""
    args = _parser().parse_intermixed_args(argv)
    if not args.images and not args.stdin:
        raise UsageError("there are no images: name some, or --stdin")
    if args.logits and args.protocol != "1-crop":
        raise UsageError("--logits are those of one crop: omit --protocol")
    told = card_of_export(args)
    if args.threads is not None:
        os.environ["GLUON_RESNET_OMP_THREADS"] = str(args.threads)  # MXNet reads it when it is loaded
    if sys.stdout is None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF), "standard output")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # to write as the C++ program does
            stream.reconfigure(encoding="utf-8")

    predictor = Predictor(
        args.model_prefix, backend=args.backend, batch_size=args.batch_size, threads=args.threads, card=told
    )
    run = predictor.forward if args.logits else predictor.scores
    images, bad = 0, 0
    named = named_images(args.images, args.stdin)
    with closing(predictor.batches(named, NamedImage.image, args.protocol)) as batches:
        for batch in batches:
            errors = [future.exception() for _, future in batch]
            inputs = [future.result() for (_, future), error in zip(batch, errors) if not _is_bad(error)]
            rows = iter(run(np.stack(inputs)) if inputs else ())
            for (item, _), error in zip(batch, errors):
                row = next(rows) if error is None else None
                if row is not None and np.isfinite(row).all():
                    print(_line(item, row, predictor.card.classes, args))
                    continue
                cause = reason(error, item.name) if error else _NOT_FINITE
                tell(f"predict: {item.name}: {cause}")
                if args.json:
                    print(json_of_error(item.name, item.labels, cause))
                bad += 1
            images += len(batch)
            sys.stdout.flush()
    if bad:
        tell(f"predict: {bad} of {images} images could not be predicted")
    return 1 if bad else None


def _is_bad(error: Optional[BaseException]) -> bool:
    """Whether an image could not be read; raises an error that is not the image's fault."""
    if error is not None and not isinstance(error, (DataError, OSError)):
        raise error
    return error is not None


def _line(item: NamedImage, row: np.ndarray, classes: Sequence[str], args: argparse.Namespace) -> str:
    if args.logits:
        return json_of_logits(item.name, item.labels, row) if args.json else text_of_logits(item.name, row)
    best = most_probable(row, args.top_k)
    if args.json:
        return json_of_classes(item.name, item.labels, classes, best)
    return text_of_classes(item.name, classes, best)


def _parser() -> argparse.ArgumentParser:
    result = Parser(
        prog=program("predict"),
        example="pets picture.jpg --top-k 2",
        description="Print the most probable classes of each image.",
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    result.add_argument(
        "model_prefix", metavar="MODEL_PREFIX", help="prefix of the files that tools/export.py wrote"
    )
    result.add_argument("images", nargs="*", metavar="IMAGE", help="see below")
    group = result.add_argument_group("images")
    group.add_argument(
        "--stdin",
        action="store_true",
        help="read more names from standard input, one per line, and answer them as they come",
    )
    group = result.add_argument_group("output")
    most = number(int, 1, _MOST_CLASSES)
    one_spelling(
        group.add_argument(
            "--top-k", "--topk", type=most, default=5, metavar="K", help="number of classes (default: 5)"
        )
    )
    group.add_argument("--json", action="store_true", help="print a JSON object for each image, one per line")
    group.add_argument(
        "--logits",
        action="store_true",
        help="print the network's outputs instead, in the order of the classes",
    )
    group = result.add_argument_group("work")
    group.add_argument("--backend", choices=BACKENDS, default="mxnet", help="default: mxnet")
    group.add_argument(
        "--protocol",
        choices=CROPS,
        default="1-crop",
        help="the centre; or the four corners, the centre, and their mirror images (default: 1-crop)",
    )
    most = number(int, 1, _MOST_IMAGES)
    one_spelling(
        group.add_argument(
            "--batch-size", "--batch", type=most, default=16, metavar="N", help="images at once (default: 16)"
        )
    )
    most = number(int, 1, _MOST_THREADS)
    group.add_argument(
        "--threads",
        type=most,
        metavar="N",
        help="number of threads (default: one for each processor that may be used)",
    )
    add_card_options(result)
    return result
