"""The parser of all our commands: one sentence for a mistake, and a help with defaults and examples."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from typing import Any, Callable, ClassVar, NoReturn, Optional

from gluon_resnet.terminal import printable

_SHOWN = "default"  # for help that states the default itself


class Parser(argparse.ArgumentParser):
    """argparse's parser, with three differences.

    A mistake gives one sentence, without a page of usage before it. The help of an option says its default, even if it
    has no other text. Paragraphs of the epilog stay paragraphs, and indented ones stay as they are.

    Args:
        example: arguments of the command as a user would type them, shown by the help after its name; each line is an
            example.
        options: the options of argparse's parser.
    """

    _looked_for: ClassVar[bool] = False

    def __init__(
        self, *, example: Optional[str] = None, epilog: Optional[str] = None, **options: Any
    ) -> None:
        options.setdefault("formatter_class", _Formatter)
        super().__init__(**options)
        parts = [epilog.strip("\n")] if epilog else []
        if example is not None:
            lines = [f"  {as_shown(self.prog)} {line}".rstrip() for line in example.split("\n")]
            parts.append("\n".join([f"example{'s' if len(lines) > 1 else ''}:", *lines]))
        self.epilog = "\n\n".join(parts) or None

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """argparse's, which all its other ways of parsing go through."""
        if (
            Parser._looked_for and self.add_help
        ):  # one without a help looks for a single option before the others
            raise _Found(self)
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Exit with status 2."""
        self.exit(2, printable(f"{self.prog}: error: {message} (see --help)") + "\n")


class _Found(BaseException):
    """Leaves the main() of a command with its parser."""

    def __init__(self, parser: Parser) -> None:
        super().__init__()
        self.parser = parser


def parser_of(main: Callable[[Sequence[str]], Any]) -> Parser:
    """The parser of the command whose `main` this is, which is called up to the point where it parses."""
    Parser._looked_for = True
    try:
        main([])
    except _Found as found:
        return found.parser
    finally:
        Parser._looked_for = False
    raise AssertionError(f"{main.__module__}.main parses nothing")


class _Formatter(argparse.HelpFormatter):
    def _format_action(self, action: argparse.Action) -> str:
        silent = action.default in (None, argparse.SUPPRESS) or isinstance(
            action.default, (bool, list, tuple)
        )
        if not silent and action.help != argparse.SUPPRESS and _SHOWN not in (action.help or ""):
            default = f"{_SHOWN}: %(default)s"
            action.help = f"{action.help} ({default})" if action.help else default
        return super()._format_action(action)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n\n".join(
            part
            if "\n  " in part or part.startswith("  ")
            else super(_Formatter, self)._fill_text(part, width, indent)
            for part in text.strip("\n").split("\n\n")
        )


def as_shown(prog: str) -> str:
    """What starts the program that calls itself `prog`, perhaps with a subcommand, from the user's folder."""
    file, _, rest = prog.partition(" ")
    if not file.endswith(".py"):
        return prog.replace("python ", "python3 ", 1)  # as Debian calls it
    script = sys.argv[0] if os.path.basename(sys.argv[0]) == file else f"tools/{file}"
    return f"python3 {shlex.quote(script)} {rest}".rstrip()
