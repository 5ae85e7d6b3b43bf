"""gluon-resnet and python -m gluon_resnet: the programs of tools/, by other names."""

from __future__ import annotations

import argparse
import errno
import importlib
import importlib.metadata
import os
import re
import subprocess
import sys
import sysconfig

import pytest

import gluon_resnet
from gluon_resnet.__main__ import COMMANDS, main
from gluon_resnet.card import note_of_fractions
from gluon_resnet.cli import command
from gluon_resnet.cli.arguments import colors, number, numbers
from gluon_resnet.cli.parser import Parser
from gluon_resnet.environment.extras import _MODULES, what_to_install
from tests.support.paths import ROOT


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "gluon_resnet", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_pip_is_told_of_the_script():
    (entry,) = re.findall(
        r"^\[project.scripts\]\n(.*?)  #", (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert entry == f'{command.BY_SCRIPT} = "{main.__module__}:{main.__name__}"'


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        ([], 0, "usage: gluon-resnet "),
        (["--version"], 0, f"gluon-resnet {gluon_resnet.__version__}\n"),
        (["compare", "--help"], 0, "\n  gluon-resnet compare "),
        (["launch", "--help"], 0, "\n  gluon-resnet launch -n 2 -s 1 -- gluon-resnet train --network "),
        (["tarin"], 2, "gluon-resnet: error: argument COMMAND: invalid choice: 'tarin'"),
        (["compare", "--bogus"], 2, "gluon-resnet compare: error: "),
        (
            ["launch", "-n", "1"],
            2,
            "gluon-resnet launch: error: there is no command: give one after --, like -- gluon-resnet train ...\n",
        ),
    ],
)
def test_the_installed_script_is_the_same_door_and_says_its_own_name(
    monkeypatch, capsys, arguments, status, said
):
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/gluon-resnet", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    output = capsys.readouterr()
    assert ended.value.code == status
    if status:
        assert output.err.startswith(said)
        assert (output.out, output.err.count("\n")) == ("", 1)
    else:
        assert said in output.out
        assert "python" not in output.out
        assert "tools/" not in output.out


def test_every_tool_is_a_command():
    assert {path.stem for path in (ROOT / "tools").glob("*.py")} <= set(COMMANDS)


def test_help_names_every_command():
    done = run("--help")
    assert done.returncode == 0
    assert all(f"\n  {name} " in done.stdout for name in COMMANDS)
    assert run("--version").stdout == f"gluon-resnet {gluon_resnet.__version__}\n"


def test_a_command_prints_what_its_tool_prints():
    arguments = ["resnet20", "--num-classes", "7"]
    tool = subprocess.run(
        [sys.executable, ROOT / "tools" / "summary.py", *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    done = run("summary", *arguments)
    assert (done.returncode, done.stdout) == (0, tool.stdout)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tarin"], "python -m gluon_resnet: error: argument COMMAND: invalid choice: 'tarin'"),
        (
            ["train", "--replay"],
            "python -m gluon_resnet train: error: argument --replay: expected one argument",
        ),
        (["train", "--bogus"], "python -m gluon_resnet train: error: "),
        (["summary", "resnet7"], "python -m gluon_resnet summary: error: "),
    ],
)
def test_bad_arguments_are_told_by_the_name_that_was_typed(arguments, message):
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(message)


def test_without_a_command_the_overview_is_printed():
    done = run()
    assert (done.returncode, done.stdout, done.stderr) == (0, run("--help").stdout, "")


@pytest.fixture(params=[*COMMANDS, "reproduce cifar10", "reproduce imagenet", "reproduce table1"])
def typed(request, monkeypatch):
    """A command, perhaps with its subcommand: its main(), and what is typed behind its name."""
    name, *words = request.param.split()
    monkeypatch.setattr(sys, "argv", [f"tools/{name}.py"])
    return importlib.import_module(f"gluon_resnet.cli.{name}").main, words


def test_help_has_an_example_and_shows_defaults(typed, monkeypatch, capsys):
    main, words = typed
    asked = []
    print_help = Parser.print_help
    monkeypatch.setattr(Parser, "print_help", lambda self: (asked.append(self), print_help(self)))
    with pytest.raises(SystemExit) as ended:
        main([*words, "--help"])
    assert ended.value.code == 0
    (parser,) = asked
    text = capsys.readouterr().out
    assert re.search(rf"^examples?:\n  python3 tools/{parser.prog}( |$)", text, re.MULTILINE), text
    blocks = re.split(r"\n\n|\n  (?=-)", text)
    for action in parser._actions:
        has_default = type(action.default) in (str, int, float) and action.default != argparse.SUPPRESS
        if has_default and action.option_strings:
            (block,) = [block for block in blocks if block.startswith(action.option_strings[0] + " ")]
            assert "default" in block, block


def test_a_mistake_is_one_sentence(typed, capsys):
    main, words = typed
    with pytest.raises(SystemExit) as ended:
        main([*words, "--no-such-option"])
    assert ended.value.code == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert re.fullmatch(r"[a-z0-9]+\.py( \w+)?: error: [^\n]+ \(see --help\)\n", output.err), output.err


@pytest.mark.parametrize(
    ("program", "name"),
    [(["tools/train.py"], "train.py"), (["-m", "gluon_resnet", "train"], "python -m gluon_resnet train")],
)
def test_without_mxnet_a_command_says_what_to_install_in_one_sentence(tmp_path, program, name):
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['mxnet'] = None")
    done = subprocess.run(
        [sys.executable, *program, "--data-train", "x.rec"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == (
        f"{name}: error: this needs MXNet, which is not installed: pip install 'gluon-resnet[cpu]'\n"
    )


def test_where_mxnet_does_not_run_the_python_that_it_runs_on_is_told(monkeypatch):
    """There pip refuses [cpu], so that no message may name it alone; what else is missing has another extra."""
    monkeypatch.setattr(sys, "version_info", (3, 13, 0))
    way = "runs on Python 3.9 to 3.12, and this is Python 3.13: python3.12 -m pip install 'gluon-resnet[cpu]'"
    assert what_to_install("mxnet").startswith(f"this needs MXNet, which {way}")
    assert what_to_install("scipy.stats").startswith(f"this needs scipy, which comes with MXNet; MXNet {way}")
    assert "pip install 'gluon-resnet[plot]', or make" in what_to_install("tabulate")
    assert what_to_install("cv2").endswith("pip install gluon-resnet, or make setup in a checkout")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "there is not enough memory: "),
        (MemoryError("Unable to allocate 9. TiB for an array"), "there is not enough memory: "),
        (
            RuntimeError("[10:00:00] a.cc:7: Check failed: Failed to allocate CPU Memory"),
            "there is not enough",
        ),
        (OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), "there is not enough memory: "),
        (RuntimeError("can't start new thread"), "no more processes or threads can be started: "),
        (OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)), "no more processes or threads can be started: "),
    ],
)
def test_a_machine_that_has_no_more_to_give_is_told_in_one_sentence(capsys, error, said):
    def main(argv):
        raise error

    with pytest.raises(SystemExit) as stop:
        command.run(main)
    assert stop.value.code == 1
    assert f": error: {said}" in capsys.readouterr().err


def test_a_fault_of_the_program_is_not_taken_for_one_of_the_machine():
    def main(argv):
        raise RuntimeError("dictionary changed size during iteration")

    with pytest.raises(RuntimeError, match="dictionary changed size"):
        command.run(main)


def test_threads_of_the_core_that_cannot_be_started_are_told(record_path):
    """Here there is no room for their stacks, as under a limit of processes, which root does not have."""
    program = """
import resource, sys
from gluon_resnet.cli.command import run
from gluon_resnet.data import EvalTransform, Loader
loader = Loader(sys.argv[1], 1, EvalTransform(size=32), threads=256)
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + (256 << 20),) * 2)
run(lambda argv: print(len(list(loader))))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, record_path], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("-c: error: no more processes or threads can be started: ")
    assert len(done.stderr.splitlines()) == 1


def test_the_command_that_files_record_starts_the_program_again(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["tools/train.py", "--resume"])
    assert command.program("train") == "train.py"
    assert command.as_typed(["--prefix", "a b"]) == "python3 tools/train.py --prefix 'a b'"
    monkeypatch.setattr(sys, "argv", ["python -m gluon_resnet train", "--resume"])
    assert command.program("train") == "python -m gluon_resnet train"
    assert command.as_typed(["--prefix", "a b"]) == "python3 -m gluon_resnet train --prefix 'a b'"
    assert command.beside("evaluate") == [sys.executable, "-m", "gluon_resnet", "evaluate"]
    monkeypatch.setattr(sys, "argv", ["gluon-resnet train", "--resume"])
    assert command.program("train") == "gluon-resnet train"
    assert command.as_typed(["--prefix", "a b"]) == "gluon-resnet train --prefix 'a b'"
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    assert command.beside("evaluate") == [sys.executable, "-m", "gluon_resnet", "evaluate"]
    (tmp_path / "gluon-resnet").touch()
    assert command.beside("evaluate") == [sys.executable, str(tmp_path / "gluon-resnet"), "evaluate"]


def test_every_package_of_an_extra_is_named_with_it():
    """As pyproject.toml has them, by the modules that the packages bring."""
    modules = importlib.metadata.packages_distributions() if sys.version_info >= (3, 10) else {}
    required = importlib.metadata.requires("gluon-resnet") or []
    for extra, names in _MODULES.items():
        assert f"'gluon-resnet[{extra}]'" in what_to_install(f"{names[0]}.inner")
        wanted = {extra, "beside-mxnet"} if extra == "cpu" else {extra}
        packages = {
            re.match(r"[\w.-]+", line)[0].lower()
            for line in required
            if any(f'"{e}"' in line for e in wanted)
        }
        for name in names:
            found = {package.lower() for package in modules.get(name, ())}
            assert not found or found & packages, (extra, name, found, packages)
    assert what_to_install("cv2").endswith("pip install gluon-resnet, or make setup in a checkout")


def test_what_is_missing_is_told_with_its_extra_in_one_sentence(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['tabulate'] = None")
    done = subprocess.run(
        [sys.executable, "tools/summary.py", "resnet20"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "summary.py: error: this needs tabulate, which is not installed: pip install 'gluon-resnet[cpu]', "
        "or make setup in a checkout\n"
    )


@pytest.mark.parametrize(
    ("mean", "std", "told"),
    [
        ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "--rgb-mean and --rgb-std are taken"),
        ((0.485, 0.456, 0.406), None, "--rgb-mean is taken"),
        ((0, 0, 0), (0.2, 0.2, 0.2), "--rgb-std is taken"),
        ((0, 0, 0), (1, 1, 1), None),
        (None, None, None),
        ((123.68, 116.779, 103.939), (58.4, 57.1, 57.4), None),
    ],
)
def test_a_mean_of_pixels_from_0_to_1_is_told(mean, std, told):
    note = note_of_fractions(("--rgb-mean", "--rgb-std"), mean, std)
    assert note is None if told is None else note.startswith(told)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        *(
            (kind, text)
            for kind in (number(float, 0), numbers(float), colors)
            for text in ("nan", "inf", "-inf")
        ),
        *((number(int, 1), text) for text in ("0", "1.5", "nan", "")),
        *((numbers(int, 3), text) for text in ("1,2", "1,2,-3", "1,2,3,4")),
        *((colors, text) for text in ("1,2,nan", "1,2", "a,b,c")),
    ],
)
def test_numbers_are_finite_and_in_their_range(kind, text):
    with pytest.raises((argparse.ArgumentTypeError, ValueError)):
        kind(text)


def test_colors_may_be_negative():
    assert colors("-1,0.5,2") == (-1, 0.5, 2)
