"""gluon-resnet completion: what bash offers behind our commands."""

from __future__ import annotations

import importlib
import shlex
import shutil
import subprocess
import sys

import pytest

from gluon_resnet.cli import completion
from gluon_resnet.cli.commands import COMMANDS
from gluon_resnet.cli.parser import parser_of

pytest.importorskip("shtab")


@pytest.fixture(scope="module")
def script() -> str:
    return completion.completion("bash")


def offered(script: str, *words: str) -> list[str]:
    """What bash offers for the last word."""
    function = "_shtab_gluon_resnet" if words[0] == "gluon-resnet" else "_gluon_resnet_tool"
    text = f"{script}\ncompopt() {{ :; }}\nCOMP_WORDS=({shlex.join(words)})\nCOMP_CWORD={len(words) - 1}\n{function}\n"
    text += 'printf "%s\\n" "${COMPREPLY[@]}"\n'
    done = subprocess.run(["bash"], input=text, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.split()


def test_each_command_with_its_options_and_their_values(script: str, tmp_path) -> None:
    assert sorted(offered(script, "gluon-resnet", "")) == sorted(COMMANDS)
    assert offered(script, "gluon-resnet", "qua") == ["quantize"]
    assert offered(script, "gluon-resnet", "train", "--data-nth") == ["--data-nthreads"]
    assert {"resnet50", "vgg16"} <= set(offered(script, "gluon-resnet", "train", "--network", ""))
    assert offered(script, "gluon-resnet", "reproduce", "tab") == ["table1"]
    (tmp_path / "train.rec").touch()
    assert offered(script, "gluon-resnet", "train", "--data-train", f"{tmp_path}/tr") == [
        f"{tmp_path}/train.rec"
    ]


def test_a_tool_is_completed_as_its_command(script: str) -> None:
    assert offered(script, "tools/train.py", "--data-nth") == ["--data-nthreads"]
    assert offered(script, "./reproduce.py", "cif") == ["cifar10"]
    done = subprocess.run(
        ["bash"],
        input=f"{script}\ncomplete -p train.py gluon-resnet",
        capture_output=True,
        text=True,
        check=True,
    )
    assert "-F _gluon_resnet_tool train.py" in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_the_parser_of_each_command_is_found(name: str) -> None:
    parser = parser_of(importlib.import_module(f"gluon_resnet.cli.{name}").main)
    assert parser.prog.endswith(f"{name}.py")


def test_what_cannot_be_imported_is_told(monkeypatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "gluon_resnet.cli.summary", None)
    text = completion.completion("bash")
    assert "without the options of summary: " in capsys.readouterr().err
    assert "summary" in offered(text, "gluon-resnet", "su")
    monkeypatch.setitem(sys.modules, "shtab", None)
    with pytest.raises(Exception, match=r"pip install 'gluon-resnet\[completion\]'"):
        completion.completion("bash")


@pytest.mark.skipif(shutil.which("zsh") is None, reason="there is no zsh")
def test_zsh_reads_its_script() -> None:
    subprocess.run(["zsh", "-n"], input=completion.completion("zsh"), text=True, check=True)
