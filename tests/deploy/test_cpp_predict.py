"""The C++ program: its command line, its output, its exit status, and what it says of damaged files."""

from __future__ import annotations

import importlib.util
import math
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import time
from typing import Callable

import numpy as np
import psutil
import pytest

from gluon_resnet._mxnet import gluon, mx
from gluon_resnet.data import EvalTransform
from gluon_resnet.deploy import PartialCard, Predictor
from gluon_resnet.environment.processor import processor_quota
from tests.support.deployed import (
    DAMAGES,
    Model,
    damaged_copy,
    make_model,
    program,
    run_program,
    write_convolution_read_twice,
    write_images,
)
from tests.support.paths import ROOT
from tests.support.pictures import write_records
from tests.support.predict_cases import CASES, PATIENCE, TOLERANCE, Setting, read_line


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return make_model(tmp_path_factory.mktemp("model"), "resnet20", 32, 40)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return write_images(tmp_path_factory.mktemp("images"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_as_tools_predict_py(
    case: Callable[[Setting], None], model: Model, images: list[str], tmp_path: pathlib.Path
) -> None:
    case(Setting([program()], model.prefix, images, tmp_path))


@pytest.mark.parametrize(
    "options", [[], ["--top-k", "2"], ["--json"], ["--logits"], ["--json", "--logits"]], ids=str
)
def test_prints_what_the_python_tool_prints(
    model: Model, images: list[str], tmp_path: pathlib.Path, options: list[str]
) -> None:
    contents = [pathlib.Path(path).read_bytes() for path in images[:4]]
    records = write_records(tmp_path / "a.rec", [*contents, b""], [1, 2.5, [3, 4.25], 1e9, 0.1])
    (tmp_path / 'a"b\\\x01\xe9.png').write_bytes(contents[0])
    arguments = [*options, model.prefix, *images, records, str(tmp_path), "none.jpg", "none.rec"]
    ours = run_program(*arguments)
    tool = [sys.executable, str(ROOT / "tools" / "predict.py"), *arguments]
    theirs = subprocess.run(tool, capture_output=True, text=True, check=False)
    assert ours.returncode == theirs.returncode == 1
    assert ours.stderr == theirs.stderr
    number = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")
    assert number.sub("#", ours.stdout) == number.sub("#", theirs.stdout)
    found, expected = ([float(n) for n in number.findall(text)] for text in (ours.stdout, theirs.stdout))
    np.testing.assert_allclose(
        found, expected, rtol=0, atol=0.011 if options in ([], ["--top-k", "2"]) else 1e-4
    )


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_models(model: Model, images: list[str], tmp_path: pathlib.Path, damage: str) -> None:
    prefix, fault, words = damaged_copy(model.prefix, tmp_path, damage)
    done = run_program(prefix, images[0])
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"predict: error: {fault}: ")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_what_mxnet_says_is_cut_to_one_line(model: Model, images: list[str], tmp_path: pathlib.Path) -> None:
    for end in ("-symbol.json", "-0000.params", "-model.json"):
        shutil.copy(model.prefix + end, tmp_path / f"copy{end}")
    symbol = tmp_path / "copy-symbol.json"
    pads = re.compile(r'"pad_width": "[^"]*"')
    symbol.write_text(pads.sub('"pad_width": "(0, 0, 0, 0, 0, 0, 0, 0)"', symbol.read_text()))
    done = run_program(str(tmp_path / "copy"), images[0])
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"predict: error: {symbol}: not a graph for 32x32 images: MXNet says: ")
    assert "Stack trace" not in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_int8_model(model: Model, images: list[str], tmp_path: pathlib.Path) -> None:
    files = f"{model.prefix}-symbol.json", f"{model.prefix}-0000.params"
    net = gluon.SymbolBlock.imports(files[0], ["data"], files[1])
    transform = EvalTransform(model.card.resize, model.card.size)
    inputs = np.stack([transform(pathlib.Path(path).read_bytes()) for path in images])
    net = mx.contrib.quantization.quantize_net(
        net,
        quantized_dtype="auto",
        calib_data=mx.io.NDArrayIter(inputs, batch_size=5),
        calib_mode="naive",
        num_calib_examples=10,
        ctx=mx.cpu(),
    )
    net.hybridize(static_alloc=True, static_shape=True)
    expected = net(mx.nd.array(inputs)).asnumpy()
    assert np.abs(expected - model.net(mx.nd.array(inputs)).asnumpy()).max() > 1e-3  # it is another network
    net.export(str(tmp_path / "int8"))
    shutil.copy(f"{model.prefix}-model.json", tmp_path / "int8-model.json")
    setting = Setting([program()], str(tmp_path / "int8"), images, tmp_path)
    for batch in ("1", "7", "16"):
        names, found = setting.logits("--batch-size", batch, *images)
        assert names == images
        np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("arguments", "variables", "threads"),
    [
        ((), {}, None),
        (("--threads", "3"), {}, 3),
        (("--threads", "8"), {}, 4),  # each of two predictors
        (("--threads", "8"), {"OMP_NUM_THREADS": "3"}, 3),
        ((), {"GLUON_RESNET_OMP_THREADS": "5"}, 5),
    ],
)
def test_number_of_threads_is_set_before_mxnet_is_loaded(
    model: Model, images: list[str], arguments: tuple[str, ...], variables: dict[str, str], threads: int
) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_"))}
    environment = {**environment, **variables, "OMP_DISPLAY_ENV": "verbose"}
    done = run_program(*arguments, model.prefix, images[0], env=environment)
    assert done.returncode == 0
    if threads is None:
        quota = processor_quota()
        usable = len(os.sched_getaffinity(0))
        usable = min(usable, math.ceil(quota or usable))
        predictors = math.ceil(usable / 4)
        threads = math.ceil(usable / predictors)
    assert f"OMP_NUM_THREADS = '{threads}'" in done.stderr
    assert "GOMP_SPINCOUNT = '1000'" in done.stderr


def test_affinity_limits_the_threads(model: Model, images: list[str]) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_"))}
    one = min(os.sched_getaffinity(0))
    done = subprocess.run(
        ["taskset", "-c", str(one), program(), model.prefix, images[0]],
        env={**environment, "OMP_DISPLAY_ENV": "verbose"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "OMP_NUM_THREADS = '1'" in done.stderr


def test_libmxnet_is_where_a_variable_says(model: Model, images: list[str], tmp_path: pathlib.Path) -> None:
    mxnet = importlib.util.find_spec("mxnet").submodule_search_locations[0]
    elsewhere = tmp_path / "moved" / "libmxnet.so"
    variables = {**os.environ, "GLUON_RESNET_MXNET_LIBRARY": str(elsewhere)}
    done = run_program(model.prefix, images[0], env=variables)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{elsewhere}: cannot open" in done.stderr
    assert "GLUON_RESNET_MXNET_LIBRARY" in done.stderr
    guide = (ROOT / "docs" / "cpp.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^ *unzip -j mxnet\S* (.*) -d ", guide, re.MULTILINE)
    elsewhere.parent.mkdir()
    for name in shlex.split(command):  # these are enough
        for path in pathlib.Path(mxnet).parent.glob(name):
            (elsewhere.parent / path.name).symlink_to(path)
    done = run_program(model.prefix, images[0], env=variables)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_network_that_mxnet_would_fuse_wrongly_is_refused(
    images: list[str], tmp_path: pathlib.Path
) -> None:
    prefix = write_convolution_read_twice(tmp_path)
    arguments = ["--image-shape", "3,8,8", "--logits", prefix, images[0]]
    done = run_program(*arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(
        f"predict: error: {prefix}-symbol.json: MXNet would fuse the convolution c,"
    )
    assert done.stderr.count("\n") == 1
    done = run_program(*arguments, env={**os.environ, "MXNET_SUBGRAPH_BACKEND": "default"})
    assert (done.returncode, done.stderr) == (0, "")
    found = [float(value) for value in done.stdout.splitlines()[1].split()]
    expected = Predictor(prefix, card=PartialCard(8)).logits(images[:1])[0]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


def test_memory_does_not_grow_with_a_list_without_end(model: Model, images: list[str]) -> None:
    setting = Setting([program()], model.prefix, images, pathlib.Path())
    with setting.started("--stdin", "--batch-size", "3", "--threads", "2", "--top-k", "1") as process:
        names = "".join(f"{image}\n" for image in images).encode()

        def resident_after(rounds: int) -> int:
            for _ in range(rounds):
                process.stdin.write(names)
                for _ in range(2 * len(images)):
                    read_line(process)
            return psutil.Process(process.pid).memory_info().rss

        before = resident_after(100)  # by then the pools of MXNet and of malloc are full, or nearly
        assert resident_after(200) - before < 16 << 20  # the inputs alone of as many images are 24 MB


def test_names_wait_while_nobody_takes_the_answers(model: Model, images: list[str]) -> None:
    setting = Setting([program()], model.prefix, images, pathlib.Path())
    with setting.started("--stdin", "--top-k", "12") as process:
        os.set_blocking(process.stdin.fileno(), False)
        names = f"{images[0]}\n".encode() * 64
        deadline = time.monotonic() + PATIENCE
        idle = 0
        while idle < 20 and time.monotonic() < deadline:
            try:
                idle = 0 if process.stdin.write(names) else idle + 1
            except BlockingIOError:
                idle += 1
            time.sleep(0.05)
        assert idle == 20, "it reads on and on"
