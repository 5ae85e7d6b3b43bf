"""Graphs and parameters that no exporter writes: the same sentence in Python and in C++, and no process that dies."""

from __future__ import annotations

import json
import pathlib
import re
import struct
import subprocess
import sys

import numpy as np
import pytest

from gluon_resnet._mxnet import mx
from gluon_resnet.data._native import NativeGraph, graph_operators
from gluon_resnet.deploy.quantize import quantize
from gluon_resnet.deploy.symbol_file import SymbolFile
from gluon_resnet.models.parameters import read_arrays, write_arrays
from tests.support.deployed import Model, change_arrays, make_model, run_program
from tests.support.hostile_graphs import CASES, TEXTS, mutated
from tests.support.paths import ROOT
from tests.support.pictures import encode, picture, write_records

# Says for each line of standard input, a model's prefix, what tools/predict.py says of an image with it.
_PYTHON = """
import contextlib, io, sys
from gluon_resnet.cli.predict import main
from gluon_resnet.terminal import printable
for line in sys.stdin:
    prefix, image = line.split()
    errors = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors):
        try:
            status = main([prefix, image, "--batch-size", "1"]) or 0
        except Exception as error:
            status = 1
            print(f"predict: error: {printable(str(error))}", file=sys.stderr)
    print(status, repr(errors.getvalue()), flush=True)
"""


class Models:
    """Copies of a model, each with another graph or other parameters."""

    def __init__(self, model: Model, folder: pathlib.Path) -> None:
        self.model, self.folder, self.prefixes = model, folder, []
        self.image = str(folder / "image.png")
        pathlib.Path(self.image).write_bytes(encode(picture(40, 40), ".png"))

    def add(self, graph: str | None = None, parameters: bytes | None = None, of: str | None = None) -> None:
        prefix = str(self.folder / str(len(self.prefixes)))
        changed = {
            "symbol.json": None if graph is None else graph.encode(),
            "0000.params": parameters,
            "model.json": None,
        }
        for end, content in changed.items():
            if content is None:
                pathlib.Path(f"{prefix}-{end}").symlink_to(f"{of or self.model.prefix}-{end}")
            else:
                pathlib.Path(f"{prefix}-{end}").write_bytes(content)
        self.prefixes.append(prefix)

    def in_python(self) -> list[tuple[int, str]]:
        """The exit status and what is told, of one process for all."""
        lines = "".join(f"{prefix} {self.image}\n" for prefix in self.prefixes)
        done = subprocess.run(
            [sys.executable, "-c", _PYTHON],
            input=lines,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        found = [line.split(" ", 1) for line in done.stdout.splitlines()]
        assert len(found) == len(self.prefixes), (
            f"{self.prefixes[len(found)]} ends the process: {done.stderr}"
        )
        assert done.returncode == 0
        return [(int(status), eval(text)) for status, text in found]

    def in_cpp(self) -> list[tuple[int, str]]:
        found = [run_program(prefix, self.image, "--batch-size", "1") for prefix in self.prefixes]
        return [(done.returncode, done.stderr) for done in found]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return make_model(tmp_path_factory.mktemp("model"), "resnet8", 32, 40)


@pytest.fixture(scope="module")
def graph(model: Model) -> str:
    return pathlib.Path(f"{model.prefix}-symbol.json").read_text()


@pytest.fixture(scope="module")
def int8(model: Model) -> str:
    """The prefix of the model in INT8."""
    records = write_records(
        pathlib.Path(f"{model.prefix}.rec"),
        [encode(picture(40, 40, seed), ".png") for seed in range(4)],
        [0] * 4,
    )
    quantize(model.prefix, f"{model.prefix}-int8", records, mode="naive", batches=1, batch_size=4)
    return f"{model.prefix}-int8"


@pytest.fixture
def models(model: Model, tmp_path: pathlib.Path) -> Models:
    return Models(model, tmp_path)


def test_each_case_has_its_sentence_in_both_languages(models: Models, graph: str) -> None:
    words = []
    for make, sentence in CASES.values():
        content = json.loads(graph)
        make(content)
        models.add(json.dumps(content))
        words.append(sentence)
    for text, sentence in TEXTS.values():
        models.add(text)
        words.append(sentence)
    python, cpp = models.in_python(), models.in_cpp()
    assert python == cpp
    for prefix, (status, told), sentence in zip(models.prefixes, python, words):
        assert (status, told.count("\n")) == (1, 1), sentence
        assert told.startswith(f"predict: error: {prefix}-symbol.json: ")
        assert sentence in told


def compare_mutations(models: Models, graph: str, of: str | None, seeds: range) -> None:
    content = json.loads(graph)
    for seed in seeds:
        models.add(mutated(content, seed), of=of)
    python, cpp = models.in_python(), models.in_cpp()
    for seed, mine, theirs in zip(seeds, python, cpp):
        assert mine == theirs, f"seed {seed}"
        assert mine[0] in (0, 1)
        assert mine[1].count("\n") <= 2
    refused = [told for status, told in python if status]
    assert len(refused) > len(seeds) // 2


@pytest.mark.parametrize("count", [60, pytest.param(400, marks=pytest.mark.slow)])
def test_mutated_graphs_are_refused_in_the_same_words(models: Models, graph: str, count: int) -> None:
    compare_mutations(models, graph, None, range(count))


@pytest.mark.parametrize("count", [40, pytest.param(400, marks=pytest.mark.slow)])
def test_mutated_graphs_of_int8_are_refused_in_the_same_words(models: Models, int8: str, count: int) -> None:
    compare_mutations(
        models, pathlib.Path(f"{int8}-symbol.json").read_text(), int8, range(1000, 1000 + count)
    )


def header(shape: tuple[int, ...], flag: int = 0) -> bytes:
    return struct.pack(f"<Iii{len(shape)}q3i", 0xF993FAC9, 0, len(shape), *shape, 1, 0, flag)


def file_of(*arrays: bytes, names: tuple[bytes, ...] = (b"arg:a",)) -> bytes:
    start = struct.pack("<3Q", 0x112, 0, len(arrays)) + b"".join(arrays)
    return start + struct.pack("<Q", len(names)) + b"".join(struct.pack("<Q", len(n)) + n for n in names)


PARAMETERS = {
    "none of many": (file_of(header((0, 2**62, 2**62))), "impossible array of shape (0, 4611686018427387904"),
    "40 dimensions": (file_of(header((0,) * 40)), "expected a dense array"),
    "32 dimensions": (file_of(header((0, *(2**40,) * 31))), "impossible array of shape (0, 1099511627776"),
    "negative": (file_of(header((-1, -4)) + bytes(16)), "impossible array of shape (-1, -4)"),
    "overflow": (
        file_of(header((2**33, 2**33)) + bytes(16)),
        "impossible array of shape (8589934592, 8589934592)",
    ),
    "terabyte": (file_of(header((2**40,))), "bytes of values of an array of shape (1099511627776,)"),
    "type": (file_of(header((1,), 9) + bytes(4)), "impossible data type 9"),
    "sparse": (file_of(struct.pack("<Iii", 0xF993FAC9, 1, 1)), "expected a dense array"),
    "arrays": (struct.pack("<3Q", 0x112, 0, 2**60), "impossible number of arrays: 1152921504606846976"),
    "names": (file_of(header((1,)) + bytes(4), names=()), "expected 1 names, found 0"),
    "same name": (
        file_of(*[header((1,)) + bytes(4)] * 2, names=(b"a", b"a")),
        "there are two parameters named a",
    ),
    "no UTF-8": (file_of(header((1,)) + bytes(4), names=(b"\xff",)), "a name is not UTF-8"),
    "escape": (file_of(header((1,)) + bytes(4), names=(b"a\x1b[31m",)), "parameter a\\u001b[31m"),
    "long name": (struct.pack("<4Q", 0x112, 0, 0, 0) + bytes(8), "bytes follow the end"),
    "cut header": (struct.pack("<QI", 0x112, 0), "expected 16 bytes of the header, found 12"),
    "cut shape": (struct.pack("<3QIii", 0x112, 0, 1, 0xF993FAC9, 0, 3) + bytes(9), "of an array's shape"),
}


def test_impossible_parameters_have_the_same_sentence_in_both_languages(models: Models, graph: str) -> None:
    # A graph without parameters, so that one too many is what is wrong with a file that is whole.
    content = {
        "nodes": [
            {"op": "null", "name": "data", "inputs": []},
            {"op": "mean", "name": "m", "attrs": {"axis": "(2, 3)"}, "inputs": [[0, 0, 0]]},
            {"op": "Concat", "name": "c", "attrs": {"num_args": "4"}, "inputs": [[1, 0, 0]] * 4},
        ],
        "heads": [[2, 0, 0]],
    }
    for parameters, _ in PARAMETERS.values():
        models.add(json.dumps(content), parameters)
    python, cpp = models.in_python(), models.in_cpp()
    assert python == cpp
    for prefix, (status, told), (_, words) in zip(models.prefixes, python, PARAMETERS.values()):
        assert (status, told.count("\n")) == (1, 1)
        assert told.startswith(f"predict: error: {prefix}-0000.params: ")
        assert words in told


def test_types_of_parameters_have_the_same_sentence(models: Models, tmp_path: pathlib.Path) -> None:
    arrays = read_arrays(f"{models.model.prefix}-0000.params")
    write_arrays(tmp_path / "a.params", {**arrays, "arg:resnet8_dense0_bias": np.zeros(12, "d")})
    models.add(parameters=(tmp_path / "a.params").read_bytes())
    python = models.in_python()
    assert python == models.in_cpp()
    assert "parameter arg:resnet8_dense0_bias: expected float32, found float64" in python[0][1]


@pytest.mark.parametrize("options", [[], ["--json"], ["--logits"]], ids=str)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_outputs_that_are_not_finite_are_told_for_each_image(
    model: Model, tmp_path: pathlib.Path, value: float, options: list[str]
) -> None:
    models = Models(model, tmp_path)
    models.add()
    path = f"{models.prefixes[0]}-0000.params"
    content = pathlib.Path(path).read_bytes()
    pathlib.Path(path).unlink()
    pathlib.Path(path).write_bytes(content)
    change_arrays(path, {"arg:resnet8_dense0_bias": np.full(12, value, "f")})
    arguments = [models.prefixes[0], models.image, "none.jpg", *options]
    tool = [sys.executable, str(ROOT / "tools" / "predict.py"), *arguments]
    done = [run_program(*arguments), subprocess.run(tool, capture_output=True, text=True, check=False)]
    for found in done:
        assert found.returncode == 1
        assert found.stderr == (
            f"predict: {models.image}: the network's outputs for it are not finite\n"
            "predict: none.jpg: No such file or directory\n"
            "predict: 2 of 2 images could not be predicted\n"
        )
    assert done[0].stdout == done[1].stdout
    if options == ["--json"]:
        first = json.loads(done[0].stdout.splitlines()[0])
        assert first == {"image": models.image, "error": "the network's outputs for it are not finite"}


def test_what_mxnet_is_given_is_what_was_checked(model: Model, int8: str) -> None:
    for path in (f"{model.prefix}-symbol.json", f"{int8}-symbol.json"):
        ours, theirs = (json.loads(s.tojson())["nodes"] for s in (SymbolFile(path).symbol, mx.sym.load(path)))
        assert [(n["op"], n["name"], n["inputs"]) for n in ours] == [
            (n["op"], n["name"], n["inputs"]) for n in theirs
        ]


@pytest.mark.parametrize(
    "name",
    ["alexnet", "densenet121", "inceptionv3", "mobilenetv2_1.0", "resnet18_v1", "squeezenet1.0", "vgg11_bn"],
)
def test_the_networks_of_mxnets_model_zoo_are_known(name: str, tmp_path: pathlib.Path) -> None:
    net = mx.gluon.model_zoo.vision.get_model(name)
    symbol = net(mx.sym.var("data"))
    path = str(tmp_path / "net-symbol.json")
    symbol.save(path)
    size = 299 if name == "inceptionv3" else 224
    file = SymbolFile(path)
    shapes = file.shapes(size)
    names = [*symbol.list_arguments(), *symbol.list_auxiliary_states()]
    known = dict(zip(names, [*shapes.arguments, *shapes.states]))
    del known["data"]
    file.check_results(size, known)
    assert file.symbol.tojson().count('"name"') == symbol.tojson().count('"name"')


def test_attributes_of_other_trainings_are_left_out() -> None:
    """insightface's and GluonCV's graphs, Python 2's numbers, and MXNet's older words for attributes."""
    nodes = [
        {"op": "null", "name": "data", "attr": {"__ctx_group__": "stage1", "lr_mult": "2"}, "inputs": []},
        {
            "op": "null",
            "name": "w",
            "attr": {"__init__": '["zero", {}]', "__shape__": "(4L, 3L, 1L, 1L)"},
            "inputs": [],
        },
        {
            "op": "Convolution",
            "name": "c",
            "param": {"kernel": "[1,1]", "num_filter": "4L", "no_bias": "1", "workspace": "256"},
            "attr": {"weight_lr_mult": "1", "mirror_stage": "True"},
            "inputs": [[0, 0], [1, 0]],
            "backward_source_id": -1,
        },
        {"op": "_minus_scalar", "name": "m", "attr": {"scalar": "127.5"}, "inputs": [[2, 0]]},
    ]
    text = json.dumps({"nodes": nodes, "arg_nodes": [0, 1], "heads": [[3, 0]]}).encode()
    found = json.loads(NativeGraph(text).json())["nodes"]
    assert [node.get("attrs") for node in found] == [
        None,
        {"__shape__": "(4, 3, 1, 1)"},
        {"kernel": "(1, 1)", "no_bias": "True", "num_filter": "4"},
        {"scalar": "127.5"},
    ]


def test_the_operators_are_mxnets_and_the_guides() -> None:
    page = (ROOT / "docs" / "model_card.md").read_text(encoding="utf-8")
    section = page.split("\n## Which graphs are read\n", 1)[1].split("\n## ", 1)[0]
    listed = [
        name for line in section.splitlines() if line.startswith("|") for name in re.findall(r"`(\w+)`", line)
    ]
    assert sorted(listed) == graph_operators()
    for name in graph_operators():
        assert mx.operator.get_operator_arguments(name) is not None
