"""For tests of evaluation: a dozen images in record files, and the networks that they are put through."""

from __future__ import annotations

import pathlib

import numpy as np

from gluon_resnet._mxnet import mx
from gluon_resnet.data import RecordFile
from gluon_resnet.evaluation import Member, Tally
from gluon_resnet.models.saved import load_network
from tests.support.deployed import Model
from tests.support.pictures import encode, picture, write_records

NETWORKS = {"resnet8": (32, 38), "resnet18": (48, 55)}  # size and resize
SCALES = {"resnet8": (32, 37, 50), "resnet18": (48, 60, 75)}
# Odd sizes; smaller than any input, wide, tall; four of the same.
SIZES = [(75, 100), (101, 77), (20, 31), (40, 150), (170, 45), (64, 64), (71, 99), (75, 100)] + 4 * [(66, 83)]
LABELS = [3, 0, 11, 7, 7, 1, 2, 5, 9, 4, 8, 6]


def dozen() -> list[np.ndarray]:
    """The images, RGB."""
    return [picture(height, width, seed) for seed, (height, width) in enumerate(SIZES)]


def write_dozen(folder: pathlib.Path) -> list[RecordFile]:
    """Two record files of the images as PNG, which every decoder decodes alike."""
    payloads = [encode(image, ".png") for image in dozen()]
    first = write_records(folder / "first.rec", payloads[:7], LABELS[:7])
    return [RecordFile(first), RecordFile(write_records(folder / "second.rec", payloads[7:], LABELS[7:]))]


def member(model: Model, devices: int = 1) -> Member:
    """The checkpoint, loaded anew: nothing that a test does to it is seen by another."""
    return Member("net", *load_network(model.checkpoint, 3, [mx.cpu(index) for index in range(devices)]))


def answers(tally: Tally) -> tuple[list[int], list[int], int]:
    return tally.labels.tolist(), tally.predictions.tolist(), tally.topk_wrong
