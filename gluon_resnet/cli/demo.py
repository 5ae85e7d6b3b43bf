"""`make demo`: the whole path on scikit-learn's scanned digits, with the commands that a user would type."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any, Callable, Optional

import cv2
import numpy as np

from gluon_resnet.card import ModelCard
from gluon_resnet.cli import export, im2rec, predict, train
from gluon_resnet.cli.command import run
from gluon_resnet.cli.parser import Parser
from gluon_resnet.environment.checkout import is_checkouts_own
from gluon_resnet.errors import EnvironmentProblem, GluonResnetError
from gluon_resnet.runs.files.history import read_epochs
from gluon_resnet.terminal import say

VALIDATION = 360  # out of 1,797 digits


def main(argv: Optional[Sequence[str]] = None) -> Optional[int]:
    """Write, pack, train, export and predict in one folder; GluonResnetError if a step fails."""
    parser = Parser(prog="demo", description=__doc__)
    parser.add_argument("--folder", default="demo", help="folder, which is emptied first")
    parser.add_argument("--num-epochs", default="10")
    parser.add_argument("--predictor", default="build/predict/predict", help="the C++ program")
    args = parser.parse_args(argv)

    began = time.perf_counter()
    shutil.rmtree(args.folder, ignore_errors=True)
    images = {part: os.path.join(args.folder, "images", part) for part in ("train", "val")}
    packed = {part: os.path.join(args.folder, part) for part in images}
    say(f"1,797 digits, scanned and labeled, as images in {images['train']}/ and {images['val']}/")
    examples = write_digits(images)

    for part, folder in images.items():
        _call(im2rec.main, "im2rec", [packed[part], folder, "--encoding", ".png"])
    prefix = os.path.join(args.folder, "resnet20")
    records = ["--data-train", f"{packed['train']}.rec", "--data-val", f"{packed['val']}.rec"]
    recipe = ["--recipe", "cifar10", "--random-mirror", "0", "--batch-size", "64", "--lr", "0.1"]
    length = ["--num-epochs", args.num_epochs, "--lr-step-epochs", f"{int(args.num_epochs) * 2 // 3}"]
    network = ["--network", "resnet20", "--model-prefix", prefix]
    _call(train.main, "train", [*network, *records, *recipe, "--warmup-epochs", "1", *length])
    exported = os.path.join(args.folder, "digits")
    _call(export.main, "export", ["--model-prefix", prefix, "--epoch", "best", "--output", exported])
    python_command = [exported, examples[0]]
    _call(predict.main, "predict", python_command)
    command = [args.predictor, exported, examples[1]]
    print(f"\n$ {shlex.join(command)}", flush=True)
    if subprocess.run(command, check=False).returncode:
        raise GluonResnetError(f"{args.predictor} failed; to build it, type make predict")

    card = ModelCard.load(f"{exported}-model.json")
    speed = read_epochs(f"{prefix}-log.jsonl")[-1].images_per_second
    python = "python3" if is_checkouts_own() else shlex.quote(sys.executable)
    print(
        f"""
Done in {time.perf_counter() - began:.0f} s: the exported network, from the best epoch, {card.epoch}, is wrong on \
{card.errors[0].top1_error:.2f} % of {VALIDATION} digits that it was not trained on.

  trained at        {speed:.0f} images/s
  error curves      {prefix}-curves.png
  log               {prefix}-log.jsonl
  model             {exported}-symbol.json, {exported}-0000.params, {exported}-model.json

Next, your own pictures, with one folder per class:

  mkdir -p data
  {python} tools/im2rec.py data/train FOLDER --resize 256
  {python} tools/train.py --network resnet18 --data-train data/train.rec"""
    )
    return None


def write_digits(folders: dict[str, str]) -> list[str]:
    """Write scikit-learn's digits, 8x8 pixels in 17 grays, as 32x32 PNG files CLASS/NNNN.png; return two of 'val'."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise EnvironmentProblem(
            "the digits are in scikit-learn: pip install 'gluon-resnet[demo]'"
        ) from error
    digits = load_digits()
    validation = set(np.random.default_rng(0).permutation(len(digits.target))[:VALIDATION].tolist())
    written: dict[str, list[str]] = {part: [] for part in folders}
    for number, (image, label) in enumerate(zip(digits.images, digits.target)):
        part = "val" if number in validation else "train"
        path = os.path.join(folders[part], str(label), f"{number:04d}.png")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        pixels = cv2.resize(np.rint(image * 255 / 16).astype(np.uint8), (32, 32))
        if not cv2.imwrite(path, pixels):
            raise GluonResnetError(f"{path}: cannot be written")
        written[part].append(path)
    return [written["val"][0], written["val"][-1]]


def _call(command: Callable[[Sequence[str]], Any], name: str, arguments: list[str]) -> None:
    sys.argv = [f"tools/{name}.py", *arguments]  # how the commands call themselves, in messages and files
    print(f"\n$ python3 {shlex.join(sys.argv)}", flush=True)
    if command(arguments):
        raise GluonResnetError(f"tools/{name}.py failed")


if __name__ == "__main__":
    run(main)
