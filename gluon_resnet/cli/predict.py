"""tools/predict.py: name what is in images."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Optional

from gluon_resnet.cli.command import program
from gluon_resnet.deploy import Predictor
from gluon_resnet.errors import ImageError


def main(argv: Optional[Sequence[str]] = None) -> Optional[int]:
    """Predict as `argv` says (default: the command line); 1 if there were bad images, else None."""
    parser = argparse.ArgumentParser(
        prog=program("predict"),
        description="Print the five most probable classes of each image.",
        epilog="Bad images are reported and the rest goes on; the exit status is then 1.",
        allow_abbrev=False,
    )
    parser.add_argument("--model", required=True, metavar="PREFIX", help="what tools/export.py wrote")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="JPEG or PNG file")
    args = parser.parse_args(argv)

    predictor = Predictor(args.model)
    status = None
    for path in args.images:
        try:
            best = predictor.predict(path)
        except (ImageError, OSError) as error:
            reason = f"{path}: {error.strerror}" if isinstance(error, OSError) else error
            print(f"predict.py: {reason}", file=sys.stderr)
            status = 1
            continue
        print(path)
        for name, probability in best:
            print(f"{100 * probability:7.2f} %  {name}", flush=True)
    return status
