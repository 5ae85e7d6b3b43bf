"""One spelling for each option in all command lines; those of earlier versions are taken, and shown nowhere."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Iterator

import pytest

from gluon_resnet.__main__ import COMMANDS
from gluon_resnet.cli.parser import Parser
from tests.support.deployed import run_program

SIZE, NAMES = ("--size", "40", "--image-shape", "3,40,40"), ("--classes", "names", "--class-names", "names")
# A command, what was written in earlier versions, and what is written now.
OLD = [
    *((tool, *option) for tool in ("predict", "serve", "quantize", "evaluate", "export") for option in (SIZE, NAMES)),
    *((tool, "--batch", "3", "--batch-size", "3") for tool in ("predict", "serve")),
    *((tool, "--model", "net", "--model-prefix", "net") for tool in ("serve", "quantize")),
    ("predict", "--topk", "3", "--top-k", "3"),
    ("serve", "--threads", "3", "--data-nthreads", "3"),
    ("mean", *SIZE),
    ("convert", "--mean", "1,2,3", "--rgb-mean", "1,2,3"),
    ("convert", "--std", "1,2,3", "--rgb-std", "1,2,3"),
    ("convert", "--classes-file", "names", "--class-names", "names"),
    *((tool, "--classes", "7", "--num-classes", "7") for tool in ("train", "summary")),
    *((f"reproduce {data}", "--epochs", "8", "--num-epochs", "8") for data in ("cifar10", "fashion-mnist", "imagenet")),
]  # fmt: skip
OF_THE_PROGRAM = [
    SIZE,
    NAMES,
    ("--batch", "3", "--batch-size", "3"),
    ("--topk", "3", "--top-k", "3"),
]


class _Captured(Exception):
    """Carries the parser of a command that was about to parse."""


def parsers(command: str) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """The parser of a command, and those of its subcommands, by what a user types."""

    def capture(parser: Parser, *_: object) -> None:
        raise _Captured(parser)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(_Captured) as caught:
        patch.setattr(Parser, "parse_args", capture)
        patch.setattr(Parser, "parse_intermixed_args", capture)
        importlib.import_module(f"gluon_resnet.cli.{command}").main([])
    (parser,) = caught.value.args
    yield command, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from ((f"{command} {name}", parser) for name, parser in action.choices.items())


def hidden(parser: argparse.ArgumentParser) -> set[str]:
    taken = parser._option_string_actions
    return {name for name, action in taken.items() if name not in action.option_strings}


def test_all_of_them_are_tested() -> None:
    found = {
        (name, old) for command in COMMANDS for name, parser in parsers(command) for old in hidden(parser)
    }
    assert found == {(name, old) for name, old, *_ in OLD}


@pytest.mark.parametrize(("command", "old", "value", "new", "today"), OLD)
def test_an_old_spelling_means_the_new_one(
    command: str, old: str, value: str, new: str, today: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = dict(parsers(command.split()[0]))[command]
    for action in parser._actions:
        action.required = False
    assert vars(parser.parse_known_args([old, value])[0]) == vars(parser.parse_known_args([new, today])[0])
    options = parser.format_help().replace(",", " ").split()
    assert new in options
    assert old not in options
    with pytest.raises(SystemExit):
        parser.parse_known_args([old])
    assert f"argument {new}: expected one argument" in capsys.readouterr().err


@pytest.mark.parametrize(("old", "value", "new", "today"), OF_THE_PROGRAM)
def test_the_cpp_program_takes_it_too(old: str, value: str, new: str, today: str) -> None:
    for option in (old, value), (new, today):
        done = run_program(*option, "MODEL")
        assert (done.returncode, done.stderr) == (2, "predict: error: expected images (see --help)\n")
    options = run_program("--help").stdout.split()
    assert new in options
    assert old not in options
