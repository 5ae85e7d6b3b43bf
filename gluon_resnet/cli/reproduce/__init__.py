"""tools/reproduce.py: the paper's tables and figures from our own networks, beside the printed ones."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Optional

from gluon_resnet.cli.command import program
from gluon_resnet.cli.parser import Parser
from gluon_resnet.cli.reproduce import study as reproduce_study
from gluon_resnet.cli.reproduce import table1 as reproduce_table1


def main(argv: Optional[Sequence[str]] = None) -> Optional[int]:
    """Reproduce what `argv` names (default: the command line); return the exit status, None for success."""
    argv = sys.argv[1:] if argv is None else list(argv)
    parser = Parser(
        prog=program("reproduce"),
        example="cifar10 --data data --num-epochs 8\ntable1",
        description="Reproduce what He et al. 2015 (arXiv:1512.03385) show.",
        allow_abbrev=False,
    )
    targets = parser.add_subparsers(title="what to reproduce", required=True, metavar="TARGET")
    reproduce_study.add_targets(targets)
    reproduce_table1.add_target(targets)
    # Arguments after -- are for train.py.
    end = argv.index("--") if "--" in argv else len(argv)
    args = parser.parse_args(argv[:end])
    args.training, args.argv = tuple(argv[end + 1 :]), argv
    return args.reproduce(args)
