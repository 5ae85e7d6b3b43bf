"""The Python predictor: the same answers in MXNet and in onnxruntime, for what it takes; and what it refuses."""

from __future__ import annotations

import itertools
import os
import pathlib
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from gluon_resnet._mxnet import mx
from gluon_resnet.data import decode
from gluon_resnet.deploy import PartialCard, Predictor
from gluon_resnet.deploy.backend import BACKENDS
from gluon_resnet.deploy.predictor import most_probable
from gluon_resnet.environment.processor import usable_processors
from gluon_resnet.errors import ImageError, ModelError, UsageError
from gluon_resnet.evaluation.crops import CropScorer
from gluon_resnet.evaluation.evaluate import average
from gluon_resnet.evaluation.members import Member
from tests.support.deployed import Model, make_model, write_images
from tests.support.evaluated import dozen, write_dozen
from tests.support.oracle_evaluation import ten_crop
from tests.support.pictures import encode, picture

TOLERANCE = 1e-4  # of a logit; those of these networks are of the order of 1 to 10
BOTH = pytest.mark.parametrize("backend", BACKENDS)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return make_model(tmp_path_factory.mktemp("model"), "resnet20", 32, 40, formats="both")


@pytest.fixture(scope="module", params=BACKENDS)
def predictor(request: pytest.FixtureRequest, model: Model) -> Predictor:
    return Predictor(model.prefix, backend=request.param, batch_size=4)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return write_images(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def inputs(model: Model, images: list[str]) -> np.ndarray:
    """20 inputs, made by the evaluation transform of one image after the other."""
    predictor = Predictor(model.prefix, threads=1)
    return np.stack([predictor.preprocess(image) for image in images * 2])


@pytest.fixture(scope="module")
def logits(model: Model, inputs: np.ndarray) -> np.ndarray:
    """What the network gave before it was exported, one input after the other."""
    return np.concatenate([model.net(mx.nd.array(row[None])).asnumpy() for row in inputs])


@BOTH
@pytest.mark.parametrize("threads", [1, 8])
@pytest.mark.parametrize("batch_size", [1, 7, 16, 17])
def test_logits_are_those_of_the_network_that_was_exported(
    model: Model, images: list[str], logits: np.ndarray, backend: str, batch_size: int, threads: int
) -> None:
    predictor = Predictor(model.prefix, backend=backend, batch_size=batch_size, threads=threads)
    found = predictor.logits(image for image in images * 2)
    assert (found.shape, found.dtype) == ((20, 12), np.float32)
    np.testing.assert_allclose(found, logits, rtol=0, atol=TOLERANCE)


def test_path_bytes_and_array_are_the_same(predictor: Predictor, images: list[str]) -> None:
    for path in images:
        payload = pathlib.Path(path).read_bytes()
        same = [path, pathlib.Path(path), payload, bytearray(payload), memoryview(payload), decode(payload)]
        found = np.stack([predictor.preprocess(image) for image in same])
        assert (found == found[0]).all()
        assert (found.dtype, found.shape[1:]) == (np.float32, (3, 32, 32))


def test_an_array_of_any_strides(predictor: Predictor) -> None:
    image = picture(70, 90)
    expected = predictor.preprocess(image)
    read_only = image.copy()
    read_only.flags.writeable = False
    for same in (np.asfortranarray(image), image[::-1][::-1], read_only, image[:, :, ::-1][:, :, ::-1]):
        assert (predictor.preprocess(same) == expected).all()


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 6, 9, 20])
def test_forward_takes_any_number(
    predictor: Predictor, inputs: np.ndarray, logits: np.ndarray, count: int
) -> None:
    found = predictor.forward(inputs[:count])
    assert (found.shape, found.dtype) == ((count, 12), np.float32)
    np.testing.assert_allclose(found, logits[:count], rtol=0, atol=TOLERANCE)


def test_forward_takes_inputs_of_any_strides(predictor: Predictor, inputs: np.ndarray) -> None:
    expected = predictor.forward(inputs[:4])
    nhwc = np.ascontiguousarray(inputs[:4].transpose(0, 2, 3, 1))
    assert (predictor.forward(nhwc.transpose(0, 3, 1, 2)) == expected).all()
    assert (predictor.forward(inputs[3::-1])[::-1] == expected).all()


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((1, 3, 32, 32)),
        np.zeros((1, 3, 32, 32), np.uint8),
        np.zeros((3, 32, 32), "f"),
        np.zeros((1, 32, 32, 3), "f"),
        np.zeros((1, 3, 32, 33), "f"),
        np.zeros((0, 3, 31, 32), "f"),
    ],
    ids=lambda array: f"{array.dtype} {array.shape}",
)
def test_forward_refuses_what_is_no_input(predictor: Predictor, wrong: np.ndarray) -> None:
    with pytest.raises(UsageError, match=r"float32 inputs of shape \(n, 3, 32, 32\), found ") as caught:
        predictor.forward(wrong)
    assert str(wrong.shape) in str(caught.value)


@pytest.mark.parametrize("count", [0, 1, 9])
def test_features_are_what_the_last_layer_takes(
    model: Model, predictor: Predictor, images: list[str], inputs: np.ndarray, count: int
) -> None:
    found = predictor.features(images[:count])
    assert (found.shape, found.dtype) == ((count, 64), np.float32)
    normalize, classifier = model.net
    for row, image in zip(found, inputs):
        expected = classifier.features(normalize(mx.nd.array(image[None]))).asnumpy().reshape(-1)
        np.testing.assert_allclose(row, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("crops", ["1-crop", "10-crop"])
def test_probabilities_are_those_of_evaluation(
    model: Model, predictor: Predictor, tmp_path: pathlib.Path, crops: str
) -> None:
    files = write_dozen(tmp_path)
    scorer = CropScorer(Member("net", model.card, model.net), crops == "10-crop", files, batch_size=5)
    scores = [scorer.scores(batch, slice(0, len(batch.labels)), [mx.cpu()])() for batch in scorer]
    expected = np.exp(np.concatenate([average([views]) for views in scores]))
    payloads = (record.payload for file in files for record in file)
    found = predictor.probabilities(payloads, crops)
    assert (found.shape, found.dtype) == ((12, 12), np.float64)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-12)
    assert predictor.probabilities([], crops).shape == (0, 12)


def test_ten_crops_are_the_slow_ones(model: Model, predictor: Predictor) -> None:
    expected = [ten_crop(model.net, model.card, image) for image in dozen()]
    # The oracle's resized pixels differ by a level here and there.
    np.testing.assert_allclose(predictor.probabilities(dozen(), "10-crop"), expected, rtol=0, atol=0.02)


def test_ten_crops_need_a_larger_image(model: Model, images: list[str]) -> None:
    predictor = Predictor(model.prefix, card=PartialCard(32, 32))
    with pytest.raises(UsageError, match="ten crops need images larger .* 32 .*choose 1-crop"):
        predictor.probabilities(images, "10-crop")
    with pytest.raises(UsageError, match="crops: expected one of 1-crop, 10-crop, found '9-crop'"):
        predictor.probabilities(images, "9-crop")


def test_predict_gives_names_with_the_softmax(predictor: Predictor, images: list[str]) -> None:
    logits = predictor.logits(images[:1])[0].astype(np.float64)
    softmax = np.exp(logits) / np.exp(logits).sum()
    found = predictor.predict(images[0], k=3)
    assert [name for name, _ in found] == [f"class {label}" for label in np.argsort(-softmax)[:3]]
    np.testing.assert_allclose([p for _, p in found], np.sort(softmax)[::-1][:3], rtol=1e-5)
    assert len(predictor.predict(images[0])) == 5
    everything = predictor.predict(images[0], k=99)
    assert len(everything) == 12
    assert sum(p for _, p in everything) == pytest.approx(1)


def test_top_is_predict_for_many(predictor: Predictor, images: list[str]) -> None:
    found = predictor.top(iter(images), k=3)
    for best, image in zip(found, images):
        expected = predictor.predict(image, k=3)
        assert [name for name, _ in best] == [name for name, _ in expected]
        np.testing.assert_allclose([p for _, p in best], [p for _, p in expected], rtol=1e-4)
    assert len(found) == 10
    assert predictor.top([]) == []


def test_a_probability_that_float64_cannot_hold_keeps_its_order() -> None:
    scores = np.array([-3000.0, -1000, 0, -2000, -3000])
    assert most_probable(scores, 9) == [(2, 1), (1, 0), (3, 0), (0, 0), (4, 0)]


def test_bad_images(predictor: Predictor, images: list[str], tmp_path: pathlib.Path) -> None:
    payload = encode(picture(60, 60))[:500]
    (tmp_path / "cut.jpg").write_bytes(payload)
    with pytest.raises(ImageError, match=r"cut\.jpg: .*Premature end") as caught:
        predictor.predict(tmp_path / "cut.jpg")
    assert caught.value.path == str(tmp_path / "cut.jpg")
    for bad in (payload, b"", b"GIF89a", memoryview(b"\xff\xd8")):
        with pytest.raises(ImageError):
            predictor.logits([*images, bad, *images])
    with pytest.raises(FileNotFoundError):
        predictor.logits([*images, str(tmp_path / "none.jpg")])
    with pytest.raises(IsADirectoryError):
        predictor.predict(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ImageError, match=r"pipe: expected a regular file, found a pipe$"):  # and no waiting
        predictor.predict(tmp_path / "pipe")
    arrays = (np.zeros((8, 8, 3), "f"), np.zeros((8, 8), np.uint8), np.zeros((0, 8, 3), np.uint8))
    for wrong in (*arrays, np.zeros((8, 8, 4), np.uint8), None, 7):
        with pytest.raises(UsageError, match="uint8"):
            predictor.predict(wrong)
    assert predictor.logits(images).shape == (10, 12)  # nothing is left behind


def test_what_a_predictor_is_called(predictor: Predictor) -> None:
    assert re.fullmatch(r"Predictor\('.*', backend='(mxnet|onnx)', 12 classes, 32 pixels\)", repr(predictor))


def test_one_path_is_not_a_list_of_images(predictor: Predictor, images: list[str]) -> None:
    for one in (images[0], pathlib.Path(images[0]), b"\xff\xd8"):
        with pytest.raises(UsageError, match="expected a list of images, found one"):
            predictor.logits(one)


def test_a_stream_is_drawn_on_as_far_as_two_batches_ahead(predictor: Predictor) -> None:
    drawn = 0

    def stream() -> Iterator[np.ndarray]:
        nonlocal drawn
        for drawn in itertools.count(1):
            yield picture(40, 40, drawn % 5)

    batches = predictor.batches(stream(), lambda image: image)
    for taken in range(1, 40):
        assert len(next(batches)) == 4
        assert drawn <= 4 * (taken + 1)
    batches.close()


def test_what_the_stream_raises_ends_it(predictor: Predictor, images: list[str]) -> None:
    def stream() -> Iterator[str]:
        yield from images
        raise KeyError("camera")

    with pytest.raises(KeyError, match="camera"):
        predictor.logits(stream())


def test_many_threads_share_a_predictor(predictor: Predictor, images: list[str], logits: np.ndarray) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda count: predictor.logits(images[:count]), list(range(11)) * 4))
    for rows, count in zip(found, list(range(11)) * 4):
        np.testing.assert_allclose(rows, logits[:count], rtol=0, atol=TOLERANCE)


def test_a_predictor_that_is_gone_leaves_no_threads(model: Model, images: list[str]) -> None:
    Predictor(model.prefix, threads=8).logits(images)  # MXNet starts its own
    before = {thread for thread in threading.enumerate() if "gluon_resnet-decode" in thread.name}
    predictor = Predictor(model.prefix, threads=8)
    predictor.logits(images)
    started = {t for t in threading.enumerate() if "gluon_resnet-decode" in t.name} - before
    assert 1 <= len(started) <= 8
    del predictor
    for thread in started:
        thread.join(600)
        assert not thread.is_alive()


def test_arguments_out_of_range(model: Model) -> None:
    with pytest.raises(UsageError, match="batch_size: expected at least 1, found 0"):
        Predictor(model.prefix, batch_size=0)
    with pytest.raises(UsageError, match="threads: expected at least 1, found 0"):
        Predictor(model.prefix, threads=0)
    with pytest.raises(UsageError, match="backend: expected one of mxnet, onnx, found 'torch'"):
        Predictor(model.prefix, backend="torch")


def test_threads_are_as_many_as_processors_may_be_used(model: Model) -> None:
    assert Predictor(model.prefix).threads == usable_processors()
    assert Predictor(model.prefix, threads=3).threads == 3


@BOTH
def test_a_model_without_card(
    model: Model, images: list[str], logits: np.ndarray, tmp_path: pathlib.Path, backend: str
) -> None:
    for end in ("-symbol.json", "-0000.params", ".onnx"):
        (tmp_path / f"bare{end}").symlink_to(model.prefix + end)
    prefix = tmp_path / "bare"
    with pytest.raises(FileNotFoundError, match="bare-model.json"):
        Predictor(prefix, backend=backend)
    given = Predictor(prefix, backend=backend, card=model.card)
    assert given.card == model.card
    bare = Predictor(prefix, backend=backend, card=PartialCard(32, resize=40))
    assert bare.card.classes == tuple(map(str, range(12)))
    for predictor in (given, bare):
        np.testing.assert_allclose(predictor.logits(images), logits[:10], rtol=0, atol=TOLERANCE)
    names = tuple("abcdefghijkl")
    named = Predictor(prefix, backend=backend, card=PartialCard(32, 40, names))
    assert named.predict(images[0], 1)[0][0] == names[logits[0].argmax()]
    with pytest.raises(ModelError, match=r"\b2\b.*\b12\b"):
        Predictor(prefix, backend=backend, card=PartialCard(32, 40, ("a", "b")))
    with pytest.raises(UsageError, match=r"resize: .* from size \(32\) .*, found 31"):
        Predictor(prefix, backend=backend, card=PartialCard(32, 31))


def test_a_network_without_a_last_layer_has_no_features(tmp_path: pathlib.Path) -> None:
    symbol = mx.sym.mean(mx.sym.var("data"), axis=(2, 3))
    symbol.save(str(tmp_path / "mean-symbol.json"))
    mx.nd.save(str(tmp_path / "mean-0000.params"), {})
    predictor = Predictor(tmp_path / "mean", card=PartialCard(8))
    image = np.full((8, 8, 3), (10, 20, 30), np.uint8)
    assert predictor.logits([image]).tolist() == [[10, 20, 30]]
    with pytest.raises(
        ModelError, match=r"mean-symbol\.json: the network does not end with a fully connected layer"
    ):
        predictor.features([image])


def test_a_real_photograph_is_the_same_in_both(
    model: Model, imagenet_images: list[tuple[str, bytes]]
) -> None:
    payloads = [payload for _, payload in imagenet_images[::20]]
    found = [Predictor(model.prefix, backend=backend).logits(payloads) for backend in BACKENDS]
    np.testing.assert_allclose(*found, rtol=0, atol=TOLERANCE)
