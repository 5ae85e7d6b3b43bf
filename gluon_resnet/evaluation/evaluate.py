"""The loop over batches: every image goes through every network once, and is counted."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from typing import Any, Callable, NamedTuple, Optional

import numpy as np
from scipy.special import log_softmax, logsumexp

from gluon_resnet._mxnet import mx
from gluon_resnet.data import RecordFile
from gluon_resnet.data.labels import check_labels, label_error
from gluon_resnet.errors import ModelError, UsageError
from gluon_resnet.evaluation.crops import CropScorer
from gluon_resnet.evaluation.members import Member
from gluon_resnet.evaluation.scales import ScaleScorer
from gluon_resnet.evaluation.scorer import Images, Scorer
from gluon_resnet.evaluation.tally import Tally
from gluon_resnet.evaluation.whole_images import SCALES
from gluon_resnet.training.progress import Progress

PROTOCOLS = ("1-crop", "10-crop", "multi-scale")


def evaluate(
    members: Sequence[Member],
    files: Sequence[RecordFile],
    protocol: str = "1-crop",
    *,
    scales: Sequence[int] = SCALES,
    batch_size: int = 64,
    threads: Optional[int] = None,
    contexts: Optional[Sequence[Any]] = None,
    progress: Optional[Progress] = None,
) -> Tally:
    """Count the errors of a network, or of several as an ensemble, over all images of `files`.

    The probabilities of an ensemble are the mean of its networks' (He et al. 2015, Table 5), each of which sees
    the images as its own card says. The counts are the same for any batch size, contexts and threads: an image
    whose count depends on rounding is run through the networks once more, alone, and that result counts.

    Args:
        members: the networks, which have the same number of classes (see members.class_names).
        files: the record files; each image of each file counts once.
        protocol: one of PROTOCOLS: see CropScorer and ScaleScorer.
        scales: the shorter sides for multi-scale testing, in pixels.
        batch_size: the number of images at once, over all contexts.
        threads: the number of decoding threads; by default one for each processor.
        contexts: the devices that have the parameters of all members (default: the CPU).
        progress: a display of the progress.

    Raises:
        UsageError: a network does not support the protocol, or an argument is out of range.
        DataError: a record cannot be decoded, or its label is not one of the classes; it names the record.
        ModelError: scores are not finite.
    """
    if protocol not in PROTOCOLS:
        raise UsageError(f"protocol: expected one of {', '.join(PROTOCOLS)}, found {protocol!r}")
    if batch_size < 1:
        raise UsageError(f"batch_size: expected at least 1, found {batch_size}")
    contexts = list(contexts or [mx.cpu()])
    check_labels(files, len(members[0].card.classes))  # any left for lack of time are checked below
    scorers: list[Scorer] = [
        ScaleScorer(member, scales, files, batch_size, threads)
        if protocol == "multi-scale"
        else CropScorer(member, protocol == "10-crop", files, batch_size, threads)
        for member in members
    ]
    counter = _Counter(members, scorers, files, contexts)
    with ExitStack() as stack:
        sources = [stack.enter_context(closing(iter(scorer))) for scorer in scorers]
        followed = (progress or Progress(every=0)).follow(zip(*sources), protocol, len(scorers[0]))
        waiting = None
        for batch in stack.enter_context(closing(followed)):
            queued = counter.queue(batch)
            if waiting is not None:  # while the device works on the batch just queued
                counter.count(waiting)
            waiting = queued
        if waiting is not None:
            counter.count(waiting)
    return counter.tally


class _Queued(NamedTuple):
    """A batch whose computation is under way."""

    batch: Sequence[Images]  # one for each network
    labels: np.ndarray
    first: int  # the position of its first image among all
    scores: list[Callable[[], np.ndarray]]


class _Counter:
    """Turns batches into counts."""

    def __init__(
        self,
        members: Sequence[Member],
        scorers: Sequence[Scorer],
        files: Sequence[RecordFile],
        contexts: Sequence[Any],
    ) -> None:
        self.tally = Tally(len(members[0].card.classes))
        self._members, self._scorers, self._files, self._contexts = members, scorers, files, contexts
        self._next = 0

    def queue(self, batch: Sequence[Images]) -> _Queued:
        first, labels = self._next, self._labels(batch[0].labels)
        self._next += len(labels)
        rows = slice(0, len(labels))
        queued = [s.scores(images, rows, self._contexts) for s, images in zip(self._scorers, batch)]
        return _Queued(batch, labels, first, queued)

    def count(self, queued: _Queued) -> None:
        scores = [waited() for waited in queued.scores]
        for member, array in zip(self._members, scores):
            bad = np.flatnonzero(~np.isfinite(array).all(axis=(0, 2)))
            if bad.size:
                where = self._place(queued.first + int(bad[0]))
                raise ModelError(f"{member.name}: the scores for {where} are not finite")
        means = average(scores)
        scale = np.max([np.abs(array).max(axis=(0, 2)) for array in scores], axis=0)
        for row in np.flatnonzero(self.tally.doubtful(queued.labels, means, scale)):
            alone = slice(row, row + 1)
            pairs = zip(self._scorers, queued.batch)
            means[row] = average([s.scores(images, alone, self._contexts[:1])() for s, images in pairs])[0]
        self.tally.add(queued.labels, means)

    def _labels(self, values: np.ndarray) -> np.ndarray:
        """The labels as (n,), int64; DataError unless each image has a single label, from 0 to classes - 1."""
        classes = self.tally.classes
        if values.size != len(values):
            raise label_error(*self._record(self._next), classes)
        values = values.reshape(-1)
        wrong = np.flatnonzero(~((values >= 0) & (values < classes) & (values == np.floor(values))))
        if wrong.size:
            raise label_error(*self._record(self._next + int(wrong[0])), classes)
        return values.astype(np.int64)

    def _place(self, index: int) -> str:
        """How messages name the record of image `index` among all."""
        file, position = self._record(index)
        return f"{file.path}: record with key {file.key(position)} at offset {file.offset(position)}"

    def _record(self, index: int) -> tuple[RecordFile, int]:
        """The file of image `index` among all, and its position in that file."""
        for file in self._files:
            if index < len(file.images):
                return file, file.images[index]
            index -= len(file.images)
        raise IndexError(index)


def average(scores: Sequence[np.ndarray]) -> np.ndarray:
    """The logarithms of the probabilities averaged over networks and their views, float64 (n, classes).

    `scores` are those before the softmax, (views, n, classes) for each network. Logarithms keep the order of
    classes whose probability is too small for float64.
    """
    each = [_mean(log_softmax(views.astype(np.float64), axis=2)) for views in scores]
    return _mean(np.stack(each))


def _mean(logarithms: np.ndarray) -> np.ndarray:
    """The logarithm of the mean, over the first axis, of the numbers whose logarithms are given."""
    if len(logarithms) == 1:  # so that the result is exact
        return logarithms[0]
    return logsumexp(logarithms, axis=0) - np.log(len(logarithms))
