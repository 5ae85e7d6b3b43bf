"""The images that an INT8 network is calibrated on, as its float32 network sees them in an evaluation."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Optional

import numpy as np

from gluon_resnet.card import ModelCard
from gluon_resnet.data import EvalTransform, Loader, RecordFile
from gluon_resnet.data.labels import check_labels
from gluon_resnet.errors import DataError


class Calibration:
    """Some images of a record file, drawn at random, but always the same ones.

    Args:
        path: the path of the record file.
        card: the card of the network.
        batches, batch_size: the number of batches and of images in each; fewer if the file does not have enough.
        threads: the number of decoding threads; by default one for each processor.

    Attributes:
        file: the name of the record file, without its folder.
        fingerprint: the fingerprint of the records, as in `Loader`.
        batch_size: the size of each batch.
        images: the number of images in all batches.

    Raises:
        DataError: there are no images, or a label is not one of the network's classes.
        OSError: the file cannot be read.
    """

    def __init__(
        self, path: str, card: ModelCard, batches: int, batch_size: int, threads: Optional[int]
    ) -> None:
        records = RecordFile(path)
        found = len(records.images)
        if not found:
            raise DataError(f"{path}: there are no images to calibrate on")
        check_labels([records], len(card.classes))  # other labels mean records for another network
        self.file = os.path.basename(path)
        self.batch_size = min(batch_size, found)
        self.images = min(batches, found // self.batch_size) * self.batch_size
        self._loader = Loader(
            records,
            self.batch_size,
            EvalTransform(card.resize, card.size, card.interpolation),
            shuffle=True,  # records are often sorted by class
            threads=threads,
            last_batch="discard",
        )
        self.fingerprint = self._loader.fingerprint

    def __iter__(self) -> Iterator[np.ndarray]:
        """The batches: float32 (batch_size, 3, size, size). DataError for a bad record."""
        for _, batch in zip(range(self.images // self.batch_size), self._loader):
            yield batch.data.copy()
            batch.release()
