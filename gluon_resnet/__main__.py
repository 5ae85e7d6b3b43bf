"""gluon-resnet COMMAND, or python -m gluon_resnet COMMAND: the programs of tools/ as installed, and doctor."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn, Optional

from gluon_resnet import __version__
from gluon_resnet.cli.command import BY_MODULE, BY_SCRIPT, enter
from gluon_resnet.cli.commands import COMMANDS
from gluon_resnet.cli.parser import Parser
from gluon_resnet.environment.checkout import use_environment


def main(argv: Optional[Sequence[str]] = None) -> NoReturn:
    """Run the command that `argv` (default: the command line) names, and exit with its status."""
    door = BY_SCRIPT if os.path.basename(sys.argv[0]) == BY_SCRIPT else BY_MODULE
    use_environment(module=door == BY_MODULE)
    parser = Parser(
        prog=door,
        epilog="\n".join(["commands:", *(f"  {name:<10} {text}" for name, text in COMMANDS.items())]),
        example="train --help",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"gluon-resnet {__version__}")
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="one of the commands below")
    parser.add_argument(
        "arguments",
        nargs=argparse.REMAINDER,
        metavar="...",
        help="the command's own arguments; see COMMAND --help",
    )
    words = sys.argv[1:] if argv is None else argv
    if not words:  # as newcomers often start
        parser.print_help()
        sys.exit(0)
    args = parser.parse_args(words)
    if args.command == "im2rec":
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # NumPy's would spin on the cores that pack
    enter(door, args.command, args.arguments)


if __name__ == "__main__":
    main()
