"""Counts, confusions and intervals, against scikit-learn, a formula, and training's meter."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix

from gluon_resnet._mxnet import mx
from gluon_resnet.evaluation.intervals import interval
from gluon_resnet.evaluation.tally import Confusion, Tally
from gluon_resnet.training.metrics import Meter


def drawn(images: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.integers(0, classes, images), random.standard_normal((images, classes))


def counted(labels: np.ndarray, scores: np.ndarray) -> Tally:
    tally = Tally(scores.shape[1])
    tally.add(labels, scores)
    return tally


@pytest.mark.parametrize("classes", [2, 7])
def test_confusions_are_those_of_scikit_learn(classes):
    labels, scores = drawn(200, classes)
    tally = Tally(classes)
    for begin in range(0, 200, 33):
        tally.add(labels[begin : begin + 33], scores[begin : begin + 33])
    expected = confusion_matrix(labels, scores.argmax(axis=1), labels=np.arange(classes))
    assert (tally.confusion_matrix() == expected).all()
    assert tally.images == 200
    assert tally.top1_wrong == 200 - np.trace(expected)
    for label, confusion in enumerate(tally.confusions()):
        others = np.delete(expected[label], label)
        assert (confusion.label, confusion.images) == (label, expected[label].sum())
        assert (confusion.wrong, confusion.times) == (others.sum(), others.max(initial=0))


def test_a_class_without_images_or_mistakes_is_confused_with_none():
    tally = counted(np.array([0, 2, 2, 2]), np.eye(4)[[0, 1, 3, 1]])
    assert tally.confusions()[:3] == [
        Confusion(0, 1, 0, None, 0),
        Confusion(1, 0, 0, None, 0),
        Confusion(2, 3, 3, 1, 2),
    ]


@pytest.mark.parametrize("classes", [1, 3, 5, 9])
def test_ties_count_as_in_training(classes):
    random = np.random.default_rng(classes)
    labels, scores = random.integers(0, classes, 500), random.integers(0, 3, (500, classes)).astype("float32")
    tally, meter = counted(labels, scores.astype(np.float64)), Meter(classes, 5)
    meter.add([(mx.nd.array(scores), mx.nd.zeros(500), mx.nd.array(labels))], "a batch")
    sums = meter.sums()
    assert (500 - tally.top1_wrong, 500 - tally.topk_wrong) == (sums.top1_right, sums.topk_right)
    assert (tally.predictions == labels).sum() == sums.top1_right
    best = scores[np.arange(500), tally.predictions] == scores.max(axis=1)
    assert best.all()


@pytest.mark.parametrize("classes", [1, 3, 9])
def test_confusions_in_training_are_those_of_the_test(classes):
    random = np.random.default_rng(classes)
    labels, scores = random.integers(0, classes, 500), random.integers(0, 3, (500, classes)).astype("float32")
    confusion = np.zeros((classes, classes), np.int64)
    meter = Meter(classes, 5, confusion=confusion)
    for begin in range(0, 500, 100):
        rows = [np.s_[begin : begin + 30], np.s_[begin + 30 : begin + 100]]  # of two devices
        meter.add(
            [(mx.nd.array(scores[r]), mx.nd.zeros(r.stop - r.start), mx.nd.array(labels[r])) for r in rows],
            "",
        )
    meter.sums()
    assert (confusion == counted(labels, scores).confusion_matrix()).all()


def test_an_interval_is_wilsons():
    for wrong, images in ((0, 10), (10, 10), (1897, 10000), (1, 3), (12500, 50000)):
        z, p = 1.959963984540054, wrong / images
        middle = (p + z * z / (2 * images)) / (1 + z * z / images)
        half = z * math.sqrt(p * (1 - p) / images + z * z / (4 * images**2)) / (1 + z * z / images)
        assert interval(wrong, images) == pytest.approx(
            (100 * (middle - half), 100 * (middle + half)), abs=1e-9
        )


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 8), st.integers(0, 2**32 - 1), st.sampled_from([0.0, 1e-5, 1e-3, 1.0]))
def test_who_is_not_in_doubt_counts_the_same_after_rounding(classes, seed, spread):
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, 30)
    scores = random.standard_normal((30, classes)) * spread
    scale = np.full(30, 10.0)
    doubt = Tally(classes).doubtful(labels, scores, scale)
    rounded = scores + random.uniform(-4.9e-4, 4.9e-4, scores.shape)
    for row in np.flatnonzero(~doubt):
        before, after = (counted(labels[row : row + 1], array[row : row + 1]) for array in (scores, rounded))
        assert before.predictions == after.predictions
        assert before.topk_wrong == after.topk_wrong
    assert doubt.all() or spread or classes == 1
