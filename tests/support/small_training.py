"""Record files that a network of 8 layers learns in seconds, and the options to train it on them."""

from __future__ import annotations

import pathlib

import numpy as np

from gluon_resnet.data import RecordFile
from tests.support.pictures import encode, write_records

CLASSES = ("top", "bottom", "red", "blue")


def pack(path: pathlib.Path, count: int, seed: int, label=lambda index: index % 4) -> str:
    """Noise, brighter in the half or the color that the label says."""
    random, payloads = np.random.default_rng(seed), []
    for index in range(count):
        image = random.integers(0, 90, (16, 16, 3), dtype=np.uint8)
        part = (np.s_[:8], np.s_[8:], np.s_[..., 0], np.s_[..., 2])[index % 4]
        image[part] += 120
        payloads.append(encode(image, ".png"))
    path.with_suffix(".classes").write_text("".join(f"{name}\n" for name in CLASSES))
    return write_records(path, payloads, [label(index) for index in range(count)])


def break_image(path: str, index: int) -> str:
    """Make the image of one record undecodable; the path."""
    with open(path, "r+b") as stream:
        stream.seek(RecordFile(path).offset(index) + 8 + 24)
        stream.write(bytes(16))
    return path


def training_options(folder: pathlib.Path) -> list[str]:
    """Options for a small network, at last ``--data-train``, 132 records, ``--data-val``, 50 records."""
    train, validation = pack(folder / "train.rec", 132, 0), pack(folder / "val.rec", 50, 1)
    network = "--recipe cifar10 --network resnet --num-layers 8 --image-shape 3,16,16 --random-mirror 0"
    training = "--batch-size 32 --lr 0.05 --data-nthreads 1"
    return [*f"{network} {training}".split(), "--data-train", train, "--data-val", validation]
