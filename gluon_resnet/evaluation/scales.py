"""Fully convolutional testing at several scales."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from typing import Any, Callable, NamedTuple, Optional

import numpy as np

from gluon_resnet._mxnet import mx
from gluon_resnet.data import RecordFile
from gluon_resnet.errors import ModelError, UsageError
from gluon_resnet.evaluation import whole_images
from gluon_resnet.evaluation.dense import fully_convolutional
from gluon_resnet.evaluation.members import Member
from gluon_resnet.evaluation.scorer import Images
from gluon_resnet.terminal import shown

_MAX_SIDE = 1 << 14  # pixels, as for a crop


class ScaleScorer:
    """The whole image at several scales, and its mirror images (He et al. 2015, §3.4; Table 4).

    "We adopt the fully-convolutional form as in [41, 13], and average the scores at multiple scales (images are
    resized such that the shorter side is in {224, 256, 384, 480, 640})." The paper does not say whether images
    are mirrored, nor which scores are averaged. As in [41] (Simonyan & Zisserman 2014, §3.2) scores before the
    softmax are averaged over the positions in an image (see dense.py), and softmax outputs over an image and its
    mirror image, and over the scales.

    Args:
        member: the network.
        scales: the shorter sides in pixels, none below the card's `size`.
        files: the record files.
        batch_size: the number of images of `size` whose pixels, over all contexts, may go through the network at once
            (or a single image may). The images of three such batches of records are in memory at all scales: one being
            counted, one being computed, and one prepared ahead.
        threads: the number of threads that decode and resize; by default one for each processor.

    Raises:
        UsageError: a scale is too small or too large, or the network has no such form.
    """

    def __init__(
        self,
        member: Member,
        scales: Sequence[int],
        files: Sequence[RecordFile],
        batch_size: int,
        threads: Optional[int] = None,
    ) -> None:
        card = member.card
        if min(scales) < card.size:
            raise UsageError(
                f"{member.name}: images with a shorter side of {min(scales)} pixels are smaller than its input of "
                f"{card.size}: choose other scales"
            )
        if max(scales) > _MAX_SIDE:
            raise UsageError(f"scales: expected at most {_MAX_SIDE} pixels, found {max(scales)}")
        if card.interpolation not in whole_images.INTERPOLATIONS:
            raise ModelError(
                f"{member.name}: its card has an unknown interpolation, {shown(card.interpolation)}"
            )
        self._net = fully_convolutional(member)
        self._card, self._scales, self._files, self._batch_size = card, scales, files, batch_size
        self._threads = threads or len(os.sched_getaffinity(0))

    def __len__(self) -> int:
        return -(-sum(len(file.images) for file in self._files) // self._batch_size)

    def __iter__(self) -> Generator[Images, None, None]:
        made = whole_images.batches(
            self._files, self._scales, self._card.interpolation, self._batch_size, self._threads
        )
        with closing(made):
            for batch in made:
                yield Images(np.array([image.label for image in batch]), [image.sizes for image in batch])

    def scores(self, images: Images, rows: slice, contexts: Sequence[Any]) -> Callable[[], np.ndarray]:
        """See Scorer; it waits for all but the last job of each context, so that memory stays bounded."""
        pixels = images.pixels[rows]
        scores = np.empty((2 * len(self._scales), len(pixels), len(self._card.classes)), np.float32)
        pending: list[tuple[_Job, Any]] = []

        def finish(left: int) -> None:
            while len(pending) > left:
                job, result = pending.pop(0)
                scores[job.view, job.rows] = result.asnumpy()

        for number, job in enumerate(self._jobs(pixels, len(contexts))):
            finish(len(contexts) - 1)
            stack = np.stack([pixels[row][job.view // 2] for row in job.rows])
            stack = stack[:, :, ::-1] if job.view % 2 else stack
            batch = mx.nd.array(np.ascontiguousarray(stack.transpose(0, 3, 1, 2)), dtype="uint8")
            context = contexts[number % len(contexts)]
            pending.append((job, self._net(batch.as_in_context(context))))

        def result() -> np.ndarray:
            finish(0)
            return scores

        return result

    def _jobs(self, pixels: Sequence[Sequence[np.ndarray]], parts: int) -> Iterator[_Job]:
        """Images of one size at a time; a scale's view 2i is the image itself, and 2i + 1 its mirror image."""
        most = self._batch_size * self._card.size**2 // parts
        for scale in range(len(self._scales)):
            groups: dict[tuple[int, ...], list[int]] = {}
            for row, sizes in enumerate(pixels):
                groups.setdefault(sizes[scale].shape, []).append(row)
            for (height, width, _), rows in groups.items():
                count = max(1, most // (height * width))
                for begin in range(0, len(rows), count):
                    for view in (2 * scale, 2 * scale + 1):
                        yield _Job(view, rows[begin : begin + count])


class _Job(NamedTuple):
    """Some images of the same size, for one forward pass."""

    view: int
    rows: list[int]
