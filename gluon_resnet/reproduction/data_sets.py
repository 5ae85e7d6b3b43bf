"""Data sets of small images in their usual forms, turned into the record files that a study trains on."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from typing import NamedTuple

from gluon_resnet.errors import UsageError
from gluon_resnet.reproduction.steps import Step

_PARTS = ("train", "test")
_ARCHIVES = ("cifar-10-binary.tar.gz", "cifar-10-python.tar.gz")
_FOLDERS = ("cifar-10-batches-bin", "cifar-10-batches-py")


class SmallImages(NamedTuple):
    """The record files, and the step that makes them."""

    train: str
    test: str
    packing: tuple[Step, ...]


def fashion_mnist_data(source: str, folder: str) -> SmallImages:
    """The data of `source`, packed into `folder` unless they are already record files.

    Args:
        source: a folder with fashion-mnist_train.rec and fashion-mnist_test.rec, or with the four IDX files.
        folder: the folder of the study.

    UsageError if there is none of these.
    """
    records = _records(os.path.join(source, "fashion-mnist"))
    if all(map(os.path.isfile, records)):
        return SmallImages(*records, ())
    if not glob.glob(os.path.join(glob.escape(source), "*idx3-ubyte*")):
        raise UsageError(
            f"--data {source}: expected a folder with Fashion-MNIST's IDX files, as Debian's package "
            "dataset-fashion-mnist has them, or with fashion-mnist_train.rec and fashion-mnist_test.rec"
        )
    prefix = os.path.join(folder, "data", "fashion-mnist")
    train, test = _records(prefix)
    packing = _packing("train and test", (train, test), [prefix, source, "--source", "idx"], folder)
    return SmallImages(train, test, (packing,))


def cifar10_data(source: str, folder: str) -> SmallImages:
    """The data of `source`, packed into `folder` unless they are already record files.

    Args:
        source: a folder with cifar10_train.rec and cifar10_test.rec, or with cifar10_train.tar.gz and
            cifar10_test.tar.gz of CLASS/NAME, or with such folders train/ and test/; or CIFAR-10's own batches or
            archive, or a folder with these.
        folder: the folder of the study.

        UsageError if there is none of these.
    """
    train, test = _records(os.path.join(source, "cifar10"))
    if os.path.isfile(train) and os.path.isfile(test):
        return SmallImages(train, test, ())
    prefix = os.path.join(folder, "data", "cifar10")
    train, test = _records(prefix)
    for pattern in ("cifar10_{}.tar.gz", "cifar10_{}.tar", "{}"):
        roots = [os.path.join(source, pattern.format(part)) for part in _PARTS]
        if all(map(os.path.exists, roots)):
            steps = (
                _packing(part, (record,), [record.removesuffix(".rec"), root, "--pass-through"], folder)
                for part, record, root in zip(_PARTS, (train, test), roots)
            )
            return SmallImages(train, test, tuple(steps))
    official = [os.path.join(source, name) for name in (*_ARCHIVES, *_FOLDERS)]
    batches = [os.path.join(source, f"data_batch_1{ending}") for ending in ("", ".bin")]
    found = [path for path in official if os.path.exists(path)]
    if os.path.isfile(source) or any(map(os.path.isfile, batches)):
        found = [source]
    if not found:
        raise UsageError(
            f"--data {source}: expected a folder with cifar10_train.rec and cifar10_test.rec, with "
            "cifar10_train.tar.gz and cifar10_test.tar.gz, with train/ and test/, or with CIFAR-10's own "
            f"{' or '.join(_ARCHIVES)}; or such an archive"
        )
    command = [prefix, found[0], "--source", "cifar10"]
    packing = _packing("train and test", (train, test), command, folder)
    return SmallImages(train, test, (packing,))


def _records(prefix: str) -> tuple[str, str]:
    return f"{prefix}_train.rec", f"{prefix}_test.rec"


def _packing(part: str, records: Sequence[str], arguments: Sequence[str], folder: str) -> Step:
    return Step(
        name=f"pack {part}",
        command=lambda: ("im2rec", *arguments),
        output=os.path.join(folder, "data", "im2rec.out"),
        done=lambda: all(map(os.path.isfile, records)),
    )
