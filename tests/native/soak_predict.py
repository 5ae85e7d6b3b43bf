"""Many predictions of a tiny network by the C++ program, as scripts/check_predict.sh starts it.

    soak_predict.py FOLDER PREDICTIONS COMMAND...

Writes a model and images, good and bad ones, to FOLDER, starts COMMAND (build/predict/predict, or valgrind and its
options before that) with names on its standard input, reads its answers, and prints its resident memory after a tenth
of the predictions and after all. Exits with 1 where an answer is wrong or the program ends otherwise than it should.
"""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys

import cv2
import numpy as np
import psutil

from gluon_resnet._mxnet import mx
from gluon_resnet.models.parameters import write_arrays

CLASSES = 5
SIZE = 16
ROUND = 100  # predictions


def write_model(prefix: str) -> None:
    """Kinds of layers that oneDNN fuses, and some that it does not, so small that valgrind gets through them."""
    data = mx.sym.var("data") / 255
    x = mx.sym.Convolution(data, kernel=(3, 3), pad=(1, 1), num_filter=8, no_bias=True, name="conv")
    x = mx.sym.Activation(mx.sym.BatchNorm(x, fix_gamma=False, name="bn"), act_type="relu")
    x = mx.sym.Convolution(x, kernel=(3, 3), pad=(1, 1), num_filter=8, name="conv2") + x
    x = mx.sym.Pooling(
        mx.sym.Activation(x, act_type="relu"), global_pool=True, pool_type="avg", kernel=(1, 1)
    )
    graph = mx.sym.FullyConnected(x, num_hidden=CLASSES, name="output")
    random = np.random.default_rng(0)
    shapes, _, states = graph.infer_shape(data=(1, 3, SIZE, SIZE))
    arrays = {f"arg:{name}": shape for name, shape in zip(graph.list_arguments(), shapes) if name != "data"}
    arrays.update({f"aux:{name}": shape for name, shape in zip(graph.list_auxiliary_states(), states)})
    write_arrays(
        f"{prefix}-0000.params",
        {name: random.uniform(0.1, 1, shape).astype("f") for name, shape in arrays.items()},
    )
    graph.save(f"{prefix}-symbol.json")


def write_images(folder: pathlib.Path) -> list[str]:
    """Twenty names; the last two are of bad images."""
    random = np.random.default_rng(1)
    names = []
    for i in range(18):
        pixels = random.integers(0, 256, (17 + i, 40 - i, 3), dtype=np.uint8)
        names.append(str(folder / f"{i}{'.png' if i % 3 else '.jpg'}"))
        assert cv2.imwrite(names[-1], pixels)
    content = pathlib.Path(names[0]).read_bytes()
    (folder / "cut.jpg").write_bytes(content[: len(content) // 2])
    return [*names, str(folder / "cut.jpg"), str(folder / "none.png")]


def main() -> int:
    folder, predictions, command = pathlib.Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    folder.mkdir(parents=True, exist_ok=True)
    write_model(str(folder / "tiny"))
    names = write_images(folder)
    options = [
        "--stdin",
        "--json",
        "--batch-size=7",
        "--threads=5",
        f"--image-shape=3,{SIZE},{SIZE}",
        str(folder / "tiny"),
    ]
    pipe = subprocess.PIPE
    with (
        open(folder / "errors", "w+") as errors,
        subprocess.Popen([*command, *options], stdin=pipe, stdout=pipe, stderr=errors, text=True) as process,
    ):
        first: dict[str, str] = {}
        tenth = None
        for done in range(0, predictions, ROUND):
            asked = [names[(done + i) % len(names)] for i in range(ROUND)]
            process.stdin.write("".join(f"{name}\n" for name in asked))
            process.stdin.flush()
            for name in asked:
                answer = json.loads(process.stdout.readline() or "null")
                if answer is None:
                    print((folder / "errors").read_text(), end="")
                    return 1
                best = answer["error"] if "error" in answer else answer["classes"][0]["name"]
                if answer["image"] != name or first.setdefault(name, best) != best:
                    print(f"{name}: expected {first.get(name)}, found {answer}")
                    return 1
            resident = psutil.Process(process.pid).memory_info().rss >> 10
            if tenth is None and done + ROUND >= predictions // 10:
                tenth = resident
        process.stdin.close()
        process.wait()
        errors.seek(0)
        said = errors.read().splitlines()
    bad = predictions // ROUND * sum(name in names[-2:] for name in asked)
    expected = f"predict: {bad} of {predictions} images could not be predicted"
    others = [line for line in said if not line.startswith(f"predict: {folder}")]
    print("".join(f"{line}\n" for line in others if line != expected), end="")
    print(f"resident after {predictions // 10} and {predictions} predictions: {tenth} and {resident} KiB")
    return 0 if process.returncode == 1 and others == [expected] else 1


if __name__ == "__main__":
    sys.exit(main())
