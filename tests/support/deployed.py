"""For tests of deployment: small networks whose weights mean something, images of all kinds, the C++ program."""

from __future__ import annotations

import fcntl
import functools
import importlib.util
import io
import json
import pathlib
import shutil
import subprocess
from typing import Any, Callable, NamedTuple

import cv2
import numpy as np
import pytest
from PIL import Image

from gluon_resnet._mxnet import mx
from gluon_resnet.card import ModelCard
from gluon_resnet.deploy.export import export
from gluon_resnet.models import build_network
from gluon_resnet.models.parameters import read_arrays, save_parameters, write_arrays
from tests.support.paths import ROOT
from tests.support.pictures import encode, picture


class Model(NamedTuple):
    card: ModelCard
    net: Any  # as it was before the export
    checkpoint: str  # prefix of a run that did 3 epochs
    prefix: str  # of the exported files


def make_model(
    folder: pathlib.Path,
    network: str,
    size: int,
    resize: int,
    per_pixel_mean: bool = False,
    together: int = 4,
    prepare: Callable[[Any], None] = lambda net: None,
    formats: str = "mxnet",
    **options: Any,
) -> Model:
    """A network of 12 classes whose batch normalization has seen 5 batches of pictures, saved and exported.

    `together` is the size of the batches, `prepare` changes the weights before, `formats` are as of `export`, `options`
    the card's.
    """
    card = ModelCard(
        network=network,
        classes=tuple(f"class {label}" for label in range(12)),
        size=size,
        resize=resize,
        mean=(123.0, 117.0, 104.0),
        std=(58.0, 57.0, 57.5),
        per_pixel_mean=per_pixel_mean,
        **options,
    )
    mx.random.seed(1)
    random = np.random.default_rng(1)
    net = build_network(card, random.uniform(0, 255, (3, size, size)) if per_pixel_mean else None)
    net.initialize()
    for name, parameter in net.collect_params().items():
        if name.endswith(("gamma", "beta")):
            shift = 1 if name.endswith("gamma") else 0
            parameter.set_data(mx.nd.array(shift + random.uniform(-0.3, 0.3, parameter.shape)))
    prepare(net)
    batches = [
        mx.nd.array([picture(size, size, together * n + i).transpose(2, 0, 1) for i in range(together)])
        for n in range(5)
    ]
    if any(name.endswith("running_mean") for name in net.collect_params()):
        for batch in batches:
            with mx.autograd.record():
                net(batch)
    # Else all images would be of the class with the largest bias.
    logits = mx.nd.concat(*map(net, batches), dim=0).asnumpy()
    scale = 1.5 / logits.std(axis=0).mean()
    output = net[1].output
    output.weight.set_data(output.weight.data() * scale)
    output.bias.set_data(mx.nd.array(-logits.mean(axis=0) * scale))
    checkpoint, prefix = str(folder / f"run-{network}"), str(folder / network)
    card.save(f"{checkpoint}-model.json")
    save_parameters(net, f"{checkpoint}-0003.params")
    export(checkpoint, 3, prefix, formats)
    return Model(card, net, checkpoint, prefix)


def write_convolution_read_twice(folder: pathlib.Path) -> str:
    """The prefix of a network without card, of 8x8 images, which MXNet's fusion changes."""
    convolution = mx.sym.Convolution(mx.sym.var("data"), kernel=(3, 3), pad=(1, 1), num_filter=4, name="c")
    normalized = mx.sym.BatchNorm(convolution, fix_gamma=False, name="b")
    pooled = mx.sym.mean(mx.sym.relu(normalized) + convolution, axis=(2, 3))
    symbol = mx.sym.FullyConnected(pooled, num_hidden=5, name="d")
    random = np.random.default_rng(0)
    shapes, _, state_shapes = symbol.infer_shape(data=(1, 3, 8, 8))
    arrays = {f"arg:{n}": random.normal(size=s) for n, s in zip(symbol.list_arguments(), shapes)}
    del arrays["arg:data"]
    states = zip(symbol.list_auxiliary_states(), state_shapes)
    arrays.update((f"aux:{name}", random.uniform(1, 2, shape)) for name, shape in states)
    prefix = str(folder / "twice")
    symbol.save(f"{prefix}-symbol.json")
    write_arrays(f"{prefix}-0000.params", {name: array.astype(np.float32) for name, array in arrays.items()})
    return prefix


def write_images(folder: pathlib.Path) -> list[str]:
    """Ten files of different kinds and sizes, one of them narrow, one smaller than a CIFAR crop."""

    def pillow(image: np.ndarray, form: str, mode: str, **options: Any) -> bytes:
        stream = io.BytesIO()
        Image.fromarray(image).convert(mode).save(stream, form, **options)
        return stream.getvalue()

    upside_down = Image.Exif()
    upside_down[0x0112] = 6
    sampling = cv2.IMWRITE_JPEG_SAMPLING_FACTOR
    files = {
        "gray.jpg": encode(picture(300, 260, 1)[:, :, 0]),
        "420.jpg": encode(picture(375, 500, 2), ".jpg", sampling, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420),
        "444.jpg": encode(picture(257, 255, 3), ".jpg", sampling, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
        "progressive.jpg": encode(picture(240, 320, 4), ".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        "cmyk.jpg": pillow(picture(150, 200, 5), "JPEG", "CMYK"),
        "turned.jpg": pillow(picture(333, 222, 6), "JPEG", "RGB", exif=upside_down),
        "narrow.jpg": encode(picture(40, 400, 7)),
        "alpha.png": encode(np.dstack([picture(280, 300, 8), picture(280, 300, 9)[:, :, 0]]), ".png"),
        "palette.png": pillow(picture(90, 70, 10), "PNG", "P"),
        "small.png": encode(picture(20, 24, 11), ".png"),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return [str(folder / name) for name in files]


@functools.cache  # a failure, too: not every test builds again
def build() -> tuple[str, str]:
    """Build the C++ program where `make predict` does: its path, and what went wrong."""
    folder = ROOT / "build" / "predict"
    folder.mkdir(parents=True, exist_ok=True)
    mxnet = importlib.util.find_spec("mxnet").submodule_search_locations[0]
    configure = ["-S", str(ROOT / "csrc"), "-B", str(folder), "-DCMAKE_BUILD_TYPE=Release"]
    with open(folder / "lock", "w") as lock:  # test processes run side by side
        fcntl.flock(lock, fcntl.LOCK_EX)
        for arguments in ([*configure, f"-DMXNET_ROOT={mxnet}"], ["--build", str(folder)]):
            done = subprocess.run(["cmake", *arguments], capture_output=True, text=True, check=False)
            if done.returncode:
                return "", done.stdout + done.stderr
    return str(folder / "predict"), ""


def program() -> str:
    """The path of the C++ program."""
    if shutil.which("cmake") is None:
        pytest.skip("the C++ program is built by cmake, which is not installed")
    path, problem = build()
    assert path, problem
    return path


def run_program(*arguments: str, **options: Any) -> subprocess.CompletedProcess:
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.run([program(), *arguments], text=True, check=False, timeout=600, **options)


def read_json(path: str) -> dict[str, Any]:
    return json.loads(pathlib.Path(path).read_text())


def truncate(path: str, size: int) -> None:
    content = pathlib.Path(path).read_bytes()
    pathlib.Path(path).write_bytes(content[:size])


def change_arrays(path: str, changes: dict[str, Any]) -> None:
    """Replace arrays of a .params file; None removes one."""
    arrays = {**read_arrays(path), **changes}
    write_arrays(path, {name: array for name, array in arrays.items() if array is not None})


def change_json(path: str, changes: dict[str, Any]) -> None:
    """Replace values of a JSON file; a dotted name is of an inner object."""
    content = read_json(path)
    for name, value in changes.items():
        *outer, last = name.split(".")
        functools.reduce(dict.__getitem__, outer, content)[last] = value
    pathlib.Path(path).write_text(json.dumps(content))


WEIGHT = "arg:resnet20_dense0_weight"

# What can be wrong with an exported resnet20, and words that its message must have, in Python and in C++.
DAMAGES = {
    "missing parameter": (
        lambda p: change_arrays(f"{p}-0000.params", {WEIGHT: None}),
        "-0000.params",
        WEIGHT,
    ),
    "extra parameter": (
        lambda p: change_arrays(f"{p}-0000.params", {"arg:extra": np.zeros(3, "f")}),
        "-0000.params",
        "arg:extra",
    ),
    "wrong shape": (
        lambda p: change_arrays(f"{p}-0000.params", {WEIGHT: np.zeros((12, 32), "f")}),
        "-0000.params",
        f"{WEIGHT}: expected shape (12, 64), found (12, 32)",
    ),
    "empty params": (lambda p: truncate(f"{p}-0000.params", 0), "-0000.params", "at byte 0"),
    "params cut in a header": (lambda p: truncate(f"{p}-0000.params", 30), "-0000.params", "at byte 16"),
    "params cut in the middle": (lambda p: truncate(f"{p}-0000.params", 500000), "-0000.params", "expected"),
    "params cut in a name": (lambda p: truncate(f"{p}-0000.params", -5), "-0000.params", "of a name"),
    "no params": (lambda p: pathlib.Path(f"{p}-0000.params").unlink(), "-0000.params", "No such file"),
    "empty graph": (lambda p: truncate(f"{p}-symbol.json", 0), "-symbol.json", "not JSON"),
    "graph cut": (lambda p: truncate(f"{p}-symbol.json", 9000), "-symbol.json", "not JSON"),
    "graph without nodes": (
        lambda p: change_json(f"{p}-symbol.json", {"nodes": 3}),
        "-symbol.json",
        "a list of nodes",
    ),
    "graph without head": (
        lambda p: change_json(f"{p}-symbol.json", {"heads": []}),
        "-symbol.json",
        "one output",
    ),
    "graph with a wild head": (
        lambda p: change_json(f"{p}-symbol.json", {"heads": [[99999, 0, 0]]}),
        "-symbol.json",
        "a head refers to node 99999",
    ),
    "graph of another network": (
        lambda p: mx.sym.FullyConnected(mx.sym.var("data"), num_hidden=12, name="other").save(
            f"{p}-symbol.json"
        ),
        "-0000.params",
        "arg:other_",
    ),
    "no card": (lambda p: pathlib.Path(f"{p}-model.json").unlink(), "-model.json", "No such file"),
    "card cut": (lambda p: truncate(f"{p}-model.json", 100), "-model.json", "not a model card"),
    "card with fewer classes": (
        lambda p: change_json(f"{p}-model.json", {"classes": ["a", "b"]}),
        "-symbol.json",
        "(1, 12)",
    ),
    "card of another format": (
        lambda p: change_json(f"{p}-model.json", {"format": "x"}),
        "-model.json",
        "format",
    ),
    "card for BGR": (
        lambda p: change_json(f"{p}-model.json", {"preprocessing.channels": "BGR"}),
        "-model.json",
        "channels",
    ),
    "card with an impossible resize": (
        lambda p: change_json(f"{p}-model.json", {"preprocessing.resize": 8}),
        "-model.json",
        "resize",
    ),
    "card with a fractional size": (
        lambda p: change_json(f"{p}-model.json", {"preprocessing.size": 32.5}),
        "-model.json",
        "size",
    ),
    "card with an unknown interpolation": (
        lambda p: change_json(f"{p}-model.json", {"preprocessing.interpolation": "best"}),
        "-model.json",
        "interpolation",
    ),
}


def damaged_copy(prefix: str, folder: pathlib.Path, damage: str) -> tuple[str, str, str]:
    """Copy the exported files and damage them; (prefix, path at fault, words of the message)."""
    copy = str(folder / "model")
    for end in ("-symbol.json", "-0000.params", "-model.json"):
        shutil.copy(prefix + end, copy + end)
    change, fault, words = DAMAGES[damage]
    change(copy)
    return copy, copy + fault, words
