"""Batch normalization's statistics of trained networks, measured anew on records."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Any, Optional

from gluon_resnet._mxnet import mx
from gluon_resnet.data import RecordFile
from gluon_resnet.errors import UsageError
from gluon_resnet.evaluation.crops import CropScorer
from gluon_resnet.evaluation.members import Member, require_layers
from gluon_resnet.evaluation.scorer import on_devices
from gluon_resnet.models.batch_statistics import measure_statistics, normalizations
from gluon_resnet.training.distributed.engine import Engine
from gluon_resnet.training.distributed.running_statistics import RunningStatistics
from gluon_resnet.training.progress import Progress


def recompute_statistics(
    members: Sequence[Member],
    files: Sequence[RecordFile],
    *,
    batch_size: int = 64,
    threads: Optional[int] = None,
    contexts: Optional[Sequence[Any]] = None,
    progress: Optional[Progress] = None,
) -> None:
    """Replace the running statistics of all networks by those of all images of `files`.

    Each batch is normalized by its own statistics, as in training, so the result depends a little on `batch_size`, and
    records are shuffled, since a file may be sorted by class. Images are prepared as the card of each network says,
    without augmentation: the centre crop.

    Args:
        members: the networks, none of which is an exported graph.
        files: the record files, of training.
        batch_size: the number of images at once, over all contexts.
        threads: the number of decoding threads; by default one for each processor.
        contexts: the devices that have the parameters (default: the CPU).
        progress: a display of the progress.

    Raises:
        UsageError: a network is an exported graph, or has no batch normalization.
        DataError: a record cannot be decoded; it names the record.
    """
    for member in members:
        require_layers(member)
        if not normalizations(member.net):
            raise UsageError(f"{member.name}: {member.card.network} has no batch normalization")
    contexts = list(contexts or [mx.cpu()])
    for member in members:
        scorer = CropScorer(member, False, files, batch_size, threads, shuffle=True)
        followed = (progress or Progress(every=0)).follow(scorer, "statistics", len(scorer))
        with closing(followed):
            measured = measure_statistics(
                member.net, (on_devices(images.pixels, contexts) for images in followed)
            )
        member.net.hybridize(static_alloc=True, static_shape=True)
        RunningStatistics(member.net._collect_params_with_prefix(), contexts, Engine()).replace(measured)
