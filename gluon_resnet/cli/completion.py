"""gluon-resnet completion: what a shell needs to complete our commands, their options and the values of these."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import Optional

from gluon_resnet.cli.command import BY_SCRIPT, program
from gluon_resnet.cli.commands import COMMANDS
from gluon_resnet.cli.parser import Parser, parser_of
from gluon_resnet.errors import EnvironmentProblem
from gluon_resnet.terminal import tell

# Files of tools/ are completed as the commands that they are.
_TOOLS_IN_BASH = """
_gluon_resnet_tool() {
  local tool=${COMP_WORDS[0]##*/}
  COMP_WORDS=(gluon-resnet "${tool%.py}" "${COMP_WORDS[@]:1}")
  COMP_CWORD=$((COMP_CWORD + 1))
  _shtab_gluon_resnet
}
complete -o bashdefault -F _gluon_resnet_tool """


def main(argv: Optional[Sequence[str]] = None) -> Optional[int]:
    """Print as `argv` says (default: the command line); the exit status, None for success."""
    parser = Parser(
        prog=program("completion"),
        example="bash >~/.gluon-resnet.bash\nzsh >~/.zsh/_gluon-resnet",
        description="Print a script by which the shell completes gluon-resnet, its commands, their options, and "
        "values and files behind these. In bash, source it in ~/.bashrc: it completes tools/train.py and the others, "
        "too. In zsh, put it into a folder of $fpath.",
        allow_abbrev=False,
    )
    parser.add_argument("shell", choices=("bash", "zsh"), help="for which shell")
    args = parser.parse_args(argv)
    sys.stdout.write(completion(args.shell))
    return None


def completion(shell: str) -> str:
    """The script for ``bash`` or ``zsh``.

    Commands that cannot be imported here are completed without their options, and told.
    """
    try:
        import shtab
    except ImportError:
        raise EnvironmentProblem("shtab writes completions: pip install 'gluon-resnet[completion]'") from None
    top = argparse.ArgumentParser(prog=BY_SCRIPT)
    top.add_argument("--version", action="version", help="show the version and exit")
    commands = top.add_subparsers()
    incomplete = {}
    for name, text in COMMANDS.items():
        bare = commands.add_parser(name, help=text)
        try:
            parser: argparse.ArgumentParser = parser_of(
                importlib.import_module(f"gluon_resnet.cli.{name}").main
            )
        except ImportError as error:
            incomplete[name] = error
            parser = bare
        commands.choices[name] = parser
        _complete_values(parser, shtab.FILE)
    if incomplete:
        reason = next(iter(incomplete.values()))
        tell(f"{program('completion')}: without the options of {', '.join(incomplete)}: {reason}")
    script: str = shtab.complete(top, shell)
    if shell == "bash":
        script += _TOOLS_IN_BASH + " ".join(f"{name}.py" for name in COMMANDS)
    return f"{script}\n"


def _complete_values(parser: argparse.ArgumentParser, file: object) -> None:
    """Let a shell offer names where a network is asked for, and files for other texts that are one of no choices."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                _complete_values(inner, file)
        elif action.dest in ("network", "networks"):
            action.choices = _networks()
        elif action.nargs != 0 and action.choices is None and action.type in (None, str):
            action.complete = file  # type: ignore[attr-defined]


def _networks() -> list[str]:
    try:
        from gluon_resnet.models.registry import model_names
    except ImportError:  # without MXNet nothing takes them
        return []
    return model_names()
