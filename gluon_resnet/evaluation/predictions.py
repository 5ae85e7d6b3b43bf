"""The answers of networks, image by image: a small compressed file for comparing two evaluations in pairs."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from gluon_resnet.data import RecordFile
from gluon_resnet.errors import DataError
from gluon_resnet.evaluation.tally import Tally
from gluon_resnet.npz import read_npz

_TYPES = {"files": "i4", "keys": "i8", "labels": "i4", "classes": "i4", "probabilities": "f4"}


@dataclass(frozen=True, eq=False)
class Predictions:
    """The answers to the images of some record files, in the order of the files and of the records in each.

    All arrays are (n,):

    Attributes:
        files: int32, the index of the file that an image is in, from 0.
        keys: int64, the key of its record in that file.
        labels: int32, the labels.
        classes: int32, the class with the highest probability, or on a tie with the label the other class.
        probabilities: float32, the probability of that class, 0 to 1; an ensemble's is the mean over its networks.
    """

    files: np.ndarray
    keys: np.ndarray
    labels: np.ndarray
    classes: np.ndarray
    probabilities: np.ndarray

    @staticmethod
    def of(tally: Tally, records: Sequence[RecordFile]) -> Predictions:
        """The predictions of an evaluation over `records`, whose scores are logarithms of probabilities."""
        images = [np.asarray(file.images) for file in records]
        return Predictions(
            files=np.repeat(np.arange(len(images), dtype="i4"), [len(found) for found in images]),
            keys=np.array([file.key(i) for file, found in zip(records, images) for i in found], "i8"),
            labels=tally.labels.astype("i4"),
            classes=tally.predictions.astype("i4"),
            probabilities=np.exp(tally.best_scores).astype("f4"),
        )

    @property
    def wrong(self) -> np.ndarray:
        """Whether each answer is wrong, bool (n,), as Tally.top1_wrong counts it."""
        return self.classes != self.labels

    def same_images(self, other: Predictions) -> bool:
        """Whether `other` has the same records with the same labels, in the same order."""
        names = ("files", "keys", "labels")
        return all(np.array_equal(getattr(self, name), getattr(other, name)) for name in names)

    def to_bytes(self) -> bytes:
        """The content of a NumPy .npz file."""
        stream = io.BytesIO()
        np.savez_compressed(stream, **{field.name: getattr(self, field.name) for field in fields(self)})
        return stream.getvalue()

    @staticmethod
    def load(path: str) -> Predictions:
        """Read what `to_bytes` returns; DataError for anything else, OSError if the file cannot be read."""
        arrays = read_npz(path, _TYPES, "evaluate.py --predictions")
        for name, array in arrays.items():
            if array.dtype != _TYPES[name] or array.ndim != 1 or len(array) != len(arrays["keys"]):
                found = f"{array.dtype} {array.shape}"
                expected = f"{np.dtype(_TYPES[name])} ({len(arrays['keys'])},)"
                raise DataError(f"{path}: {name}: expected {expected}, found {found}", path)
        return Predictions(**arrays)
