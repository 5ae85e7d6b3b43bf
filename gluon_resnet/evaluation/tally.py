"""Counts of right and wrong answers, and what follows from the counts."""

from __future__ import annotations

from typing import NamedTuple, Optional

import numpy as np

# The scores of an image vary by float32 rounding with the number of images in its batch: by less than this fraction
# of the greatest of them, or of 1 (4e-7 was measured on ResNet-18 and -20).
_ROUNDING = 1e-4


class Confusion(NamedTuple):
    """The answers to the images of one class."""

    label: int
    images: int
    wrong: int
    most_frequent: Optional[int]  # the most frequent wrong answer, the first of equals
    times: int


class Tally:
    """The answers of an evaluation.

    An answer is right if no other class scores as high as the label or higher, and right within the top k if fewer
    than k classes do: a score equal to the label's counts as higher, as in training/metrics.py.

    Args:
        classes: the number of classes; k is 5, or this number if it is less.
    """

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self.top_k = min(5, classes)
        self._labels = [np.empty(0, np.int64)]
        self._predictions = [np.empty(0, np.int64)]
        self._best_scores = [np.empty(0)]
        self._topk_right = 0

    def add(self, labels: np.ndarray, scores: np.ndarray) -> None:
        """Count images with these `labels`, (n,), and `scores`, (n, classes), of which higher ones are better."""
        own, others = _split(labels, scores)
        rival = others.argmax(axis=1)
        taken = others[np.arange(len(labels)), rival] >= own[:, 0]
        self._labels.append(labels)
        predictions = np.where(taken, rival, labels)
        self._predictions.append(predictions)
        self._best_scores.append(scores[np.arange(len(labels)), predictions].astype(np.float64))
        self._topk_right += int(((others >= own).sum(axis=1) < self.top_k).sum())

    def doubtful(self, labels: np.ndarray, scores: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """The rows that `add` might count differently if the scores were rounded otherwise.

        `scale`, (n,), is the greatest absolute score before the softmax.
        """
        margin = _ROUNDING * np.maximum(scale, 1)[:, None]
        own, others = _split(labels, scores)
        least, most = (others > own + margin).sum(axis=1), (others >= own - margin).sum(axis=1)
        doubt = (least < self.top_k) != (most < self.top_k)
        if self.classes == 1:
            return doubt
        second, best = np.sort(np.partition(scores, -2, axis=1)[:, -2:]).T
        return doubt | (best - second <= margin[:, 0])

    @property
    def labels(self) -> np.ndarray:
        """The labels of all images, int64, in order."""
        return np.concatenate(self._labels)

    @property
    def predictions(self) -> np.ndarray:
        """The class with the highest score for each image; if the label ties with others, one of those."""
        return np.concatenate(self._predictions)

    @property
    def best_scores(self) -> np.ndarray:
        """The scores of `predictions`, float64."""
        return np.concatenate(self._best_scores)

    @property
    def images(self) -> int:
        """The number of images."""
        return len(self.labels)

    @property
    def top1_wrong(self) -> int:
        """The number of images whose label does not have the highest score."""
        return int((self.labels != self.predictions).sum())

    @property
    def topk_wrong(self) -> int:
        """The number of images whose label is not among the k highest scores."""
        return self.images - self._topk_right

    def confusions(self) -> list[Confusion]:
        """One entry for each class, in order."""
        return [self._confusion_of(label, row) for label, row in enumerate(self.confusion_matrix())]

    def confusion_matrix(self) -> np.ndarray:
        """int64 (classes, classes): the numbers of images with the row's label that were taken for the column's."""
        pairs = self.labels * self.classes + self.predictions
        return np.bincount(pairs, minlength=self.classes**2).reshape(self.classes, self.classes)

    @staticmethod
    def _confusion_of(label: int, row: np.ndarray) -> Confusion:
        images, others = int(row.sum()), row.copy()
        others[label] = 0
        rival = int(others.argmax())
        times = int(others[rival])
        return Confusion(label, images, int(others.sum()), rival if times else None, times)


def _split(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The label's score, (n, 1), and all scores, (n, classes), with the label's made lower than any."""
    rows = np.arange(len(labels))
    others = scores.copy()
    others[rows, labels] = -np.inf
    return scores[rows, labels][:, None], others
