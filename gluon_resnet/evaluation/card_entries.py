"""What training and evaluation write into a model card: the data, and the errors on it."""

from __future__ import annotations

import os
import platform

from gluon_resnet.data import Loader
from gluon_resnet.data._native import LIBJPEG_TURBO
from gluon_resnet.evaluation.intervals import interval
from gluon_resnet.provenance import DataSet, MeasuredError, now
from gluon_resnet.versions import versions


def data_set(loader: Loader) -> DataSet:
    """The description of a loader's records, the same for every loader of the same records."""
    files = tuple(os.path.basename(file.path) for file in loader.files)
    return DataSet(files, loader.num_records, loader.fingerprint)


def measured_error(
    data: DataSet, protocol: str, epoch: int, top1_wrong: int, top_k: int, topk_wrong: int
) -> MeasuredError:
    """The errors of the network after `epoch` epochs, measured now, given the numbers of wrong images of `data`."""
    return MeasuredError(
        data=data,
        protocol=protocol,
        epoch=epoch,
        date=now(),
        top1_error=100 * top1_wrong / data.images,
        top1_interval=interval(top1_wrong, data.images),
        top_k=top_k,
        topk_error=100 * topk_wrong / data.images,
        topk_interval=interval(topk_wrong, data.images),
    )


def card_versions() -> dict[str, str]:
    """The versions of the software that a network was made with."""
    return {**versions(), "libjpeg-turbo": LIBJPEG_TURBO, "python": platform.python_version()}
