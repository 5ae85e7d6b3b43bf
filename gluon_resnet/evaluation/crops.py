"""1-crop and 10-crop testing: squares of the size that a network was trained with."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from typing import Any, Callable, Optional

import numpy as np

from gluon_resnet._mxnet import mx
from gluon_resnet.data import EvalTransform, Loader, RecordFile
from gluon_resnet.data.ten_crops import ten_crops
from gluon_resnet.errors import ModelError, UsageError
from gluon_resnet.evaluation.members import Member
from gluon_resnet.evaluation.scorer import Images, on_devices


class CropScorer:
    """The central crop of the evaluation transform, or ten crops (Krizhevsky et al. 2012, §4.1).

    The ten crops come from the image scaled so that its shorter side is the card's `resize`, and from its central
    square of that side: the four corners and the centre, of the card's `size`, and the mirror images of these five
    (He et al. 2015, Tables 2 and 3: "10-crop testing").

    Args:
        member: the network, which is hybridized.
        ten: whether to use ten crops.
        files: the record files.
        batch_size: the number of images per batch, over all contexts; ten crops are ten such batches in sequence.
        threads: the number of loader threads; by default one for each processor.
        shuffle: whether the records come in a random order, always the same, and not in that of the files.

    Raises:
        UsageError: ten crops are asked of a network whose card has no `resize` greater than `size`.
        ModelError: there is no transform such as the card describes.
    """

    def __init__(
        self,
        member: Member,
        ten: bool,
        files: Sequence[RecordFile],
        batch_size: int,
        threads: Optional[int] = None,
        shuffle: bool = False,
    ) -> None:
        card = member.card
        if ten and (card.resize is None or card.resize <= card.size):
            raise UsageError(
                f"{member.name}: ten crops need images larger than its input of {card.size} pixels, but its "
                f"card has resize {card.resize}: choose 1-crop"
            )
        side = card.resize if ten else card.size
        try:
            transform = EvalTransform(card.resize, side or card.size, card.interpolation)
        except UsageError as error:
            raise ModelError(f"{member.name}: {error}") from None
        self._net, self._size, self._ten = member.net, card.size, ten
        self._net.hybridize(static_alloc=True, static_shape=True)
        self._loader = Loader(
            list(files),
            batch_size,
            transform,
            shuffle=shuffle,
            threads=threads,
            dtype="uint8",
            last_batch="keep",
        )

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Generator[Images, None, None]:
        for batch in self._loader:
            yield Images(np.array(batch.label), mx.nd.from_dlpack(batch.__dlpack__()))

    def scores(self, images: Images, rows: slice, contexts: Sequence[Any]) -> Callable[[], np.ndarray]:
        queued = [
            [self._net(crop) for crop in self._crops(squares)]
            for squares in on_devices(images.pixels[rows], contexts)
        ]
        return lambda: np.concatenate(
            [np.stack([scores.asnumpy() for scores in crops]) for crops in queued], axis=1
        )

    def _crops(self, squares: Any) -> Iterable[Any]:
        return ten_crops(squares, self._size) if self._ten else (squares,)
