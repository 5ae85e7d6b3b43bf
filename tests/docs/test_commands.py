"""Every command of the pages is one that can be typed: its program exists, and the real parser takes its arguments."""

from __future__ import annotations

import argparse
import importlib.util
import pathlib
import re
import shlex
import sys
from collections.abc import Sequence
from functools import partial
from typing import Callable

import pytest

from gluon_resnet.cli.parser import Parser
from tests.support.documents import PAGES, Block, blocks, commands, read, section, without_blocks
from tests.support.paths import ROOT

LANGUAGES = {"sh", "python", "json", "yaml", "cmake", "text"}
# How commands begin that no parser of ours reads, and why that is enough.
OTHERS = {
    "git clone URL": "this repository does not know its own address",
    "cd gluon-resnet": "goes with it",
    "mkdir -p data": "typed by test_readme.py",
    "ln -sfn demo/images/": "typed by test_readme.py",
    "cp FOLDER_VAL/": "typed by test_readme.py",
    "tar -czf cifar10_": "typed by test_readme.py",
    "cmake --install build/predict": "typed by test_readme.py",
    "cmake -S csrc -B build/predict": "compiles for minutes, as the Makefile does",
    "cmake --build build/predict": "the same",
    "pip install .[cpu,serve]": "the extras are compared with pyproject.toml, below",
    "pip download --no-deps mxnet": "loads 50 MB",
    "unzip -j mxnet": "deploy/test_cpp_predict.py unpacks so",
    "unzip mxnet": "the same, with headers",
    "export GLUON_RESNET_MXNET_LIBRARY=": "deploy/test_cpp_predict.py sets it",
    "curl": "typed by serving/test_tool.py",
    "echo {": "typed by serving/test_tool.py",
    "git tag --annotate vX.Y.Z": "a person makes releases",
    "sudo iptables": "changes the machine's firewall",
}


class Parsed(BaseException):
    """A command's arguments were taken; not an Exception, which commands may catch."""


@pytest.fixture
def only_parse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands end when they have parsed their arguments."""

    def ends(method: str) -> None:
        real = getattr(argparse.ArgumentParser, method)

        def parse(self: Parser, *arguments: object) -> None:
            real(self, *arguments)
            raise Parsed

        monkeypatch.setattr(argparse.ArgumentParser, method, parse)

    ends("parse_args")
    ends("parse_intermixed_args")


def takes(main: Callable[[], object], words: Sequence[str]) -> None:
    """Assert that the parser in `main` takes its arguments; `words` are what was typed."""
    try:
        main()
    except Parsed:
        return
    except SystemExit as error:
        raise AssertionError(shlex.join(words)) from error
    raise AssertionError(f"{shlex.join(words)}: nothing was parsed")


def check(command: str) -> None:
    """Assert that a command of a page can be typed."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars="|&;")
    lexer.whitespace_split = True
    part: list[str] = []
    for word in [*lexer, ";"]:
        if not set(word) <= set("|&;"):
            part.append(word)
        elif part:
            check_words(part)
            part = []


def check_words(words: list[str]) -> None:
    """The same for one command of a line."""
    while re.match(r"[A-Z_]+=", words[0]):
        words = words[1:]
    for number, word in enumerate(words):
        tool = re.fullmatch(r"tools/(\w+)\.py", word)
        of_package = words[number - 1 : number + 1] == ["-m", "gluon_resnet"]
        if not tool and not of_package:
            continue
        name, *rest = [tool[1], *words[number + 1 :]] if tool else words[number + 1 :]
        rest = [argument for argument in rest if argument != "..."]  # what the page leaves to the reader
        assert not tool or (ROOT / word).is_file()
        takes(partial(importlib.import_module(f"gluon_resnet.cli.{name}").main, rest), words)
        if "--" in rest:
            inner = rest[rest.index("--") + 1 :]  # another command, or options of the training
            check_words(inner if name == "launch" else ["python3", "tools/train.py", *inner])
        return
    if words[0] == "build/predict/predict":  # has the arguments of tools/predict.py
        takes(partial(importlib.import_module("gluon_resnet.cli.predict").main, words[1:]), words)
    elif words[0] == "make":
        for verb in (word for word in words[1:] if "=" not in word):
            assert re.search(rf"^{verb}:", read("Makefile"), re.MULTILINE), verb
    elif words[0] in ("python", ".venv/bin/python"):
        files = [word for word in words[1:] if re.fullmatch(r"(benchmarks|tests)/.*\.py", word)]
        assert files, words
        assert all((ROOT / file).is_file() for file in files), words
        if files[0].startswith("benchmarks/"):
            takes(partial(run_benchmark, files[0], words[words.index(files[0]) + 1 :]), words)
    elif words[0].startswith("scripts/"):
        assert (ROOT / words[0]).is_file(), words[0]
    elif words[0] == "cp" and len(words) == 3 and words[1].startswith("examples/"):
        assert (ROOT / words[1]).is_file(), words[1]
    else:
        assert any(" ".join(words).startswith(start) for start in OTHERS), words


def run_benchmark(file: str, arguments: list[str]) -> None:
    """Call a program of benchmarks/, which reads its arguments from sys.argv."""
    spec = importlib.util.spec_from_file_location(pathlib.Path(file).stem, ROOT / file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    argv, sys.argv = sys.argv, [file, *arguments]
    try:
        module.main()
    finally:
        sys.argv = argv


@pytest.mark.usefixtures("only_parse")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_a_page_can_be_typed(page: pathlib.Path) -> None:
    for command in commands(read(page)):
        check(command)


@pytest.mark.usefixtures("only_parse")
@pytest.mark.parametrize(
    "command",
    [
        "python3 tools/train.py --network resnet20 --no-such-option 1",
        "python3 tools/no_such_tool.py",
        "python3 tools/launch.py -n 2 -- python3 tools/train.py --no-such-option",
        "python3 tools/reproduce.py cifar10 --data data -- --no-such-option",
        "python3 tools/card.py x && build/predict/predict x y --no-such-option",
        "make no-such-verb",
        "python -m gluon_resnet card",
        "python benchmarks/scaling.py --no-such-option",
        ".venv/bin/python -m pytest tests/test_no_such.py",
        "scripts/no_such.sh",
        "rm -rf /",
    ],
)
def test_a_command_that_does_not_work_is_found(command: str) -> None:
    with pytest.raises((AssertionError, ModuleNotFoundError)):
        check(command)


def test_every_exception_is_still_needed() -> None:
    typed = " ".join(command for page in PAGES for command in commands(read(page)))
    assert [start for start in OTHERS if start not in typed.replace("'", "")] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_stands_in_fences_of_a_known_language(page: pathlib.Path) -> None:
    text = read(page)
    assert {block.language for block in blocks(text)} <= LANGUAGES
    assert text.count("```") == 2 * len(blocks(text))
    assert re.findall(r"(?:^|\n\n)    \S.*", without_blocks(text)) == []


def test_the_readme_is_short() -> None:
    lines = read("README.md").splitlines()
    assert len(lines) <= 110
    assert max(map(len, lines)) <= 120


def test_every_extra_of_the_guide_exists_and_none_is_missing() -> None:
    told = re.findall(r"^\| `\[([\w-]+)\]` \|", section(read("docs/guide.md"), "Installation"), re.MULTILINE)
    project = read("pyproject.toml").split("[project.optional-dependencies]")[1].split("\n[", 1)[0]
    assert set(told) == set(re.findall(r"^([\w-]+) = \[", project, re.MULTILINE)) - {
        "beside-mxnet",  # is part of others
        *("dev", "docs", "fuzz"),  # for those who work on it
    }


def test_blocks_and_commands_are_found() -> None:
    text = "# A\n\n```sh\na \\\n  b\n\nc\n```\n\nd\n\n```python\ne\n```\n\n## F\n\ng\n\n## H\n\ni\n"
    assert blocks(text) == [Block("sh", "a \\\n  b\n\nc\n"), Block("python", "e\n")]
    assert commands(text) == ["a    b", "c"]
    assert section(text, "F") == "\ng\n\n"
