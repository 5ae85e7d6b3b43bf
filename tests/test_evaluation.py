"""The testing protocols against a slow oracle, whatever the batches, devices and threads; what they refuse."""

from __future__ import annotations

import functools
import pathlib
import threading
from dataclasses import replace

import cv2
import numpy as np
import oracle
import oracle_evaluation
import pytest
from conftest import encode, picture, write_records
from deployed import Model, make_model

from gluon_resnet._mxnet import gluon, mx
from gluon_resnet.data import EvalTransform, Loader, RecordFile, decode
from gluon_resnet.deploy.predictor import load_graph
from gluon_resnet.errors import DataError, ImageError, ModelError, UsageError
from gluon_resnet.evaluation import PROTOCOLS, Member, Tally, evaluate, whole_images
from gluon_resnet.evaluation.crops import CropScorer
from gluon_resnet.evaluation.dense import fully_convolutional
from gluon_resnet.evaluation.evaluate import average
from gluon_resnet.evaluation.scales import ScaleScorer
from gluon_resnet.models import ModelCard, with_normalization
from gluon_resnet.models.saved import load_network
from gluon_resnet.training.trainer import Trainer

NETWORKS = {"resnet8": (32, 38), "resnet18": (48, 55)}  # size and resize
SCALES = {"resnet8": (32, 37, 50), "resnet18": (48, 60, 75)}
# Odd sizes; smaller than any input, wide, tall; four of the same.
SIZES = [(75, 100), (101, 77), (20, 31), (40, 150), (170, 45), (64, 64), (71, 99), (75, 100)] + 4 * [(66, 83)]
LABELS = [3, 0, 11, 7, 7, 1, 2, 5, 9, 4, 8, 6]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    folder = tmp_path_factory.mktemp("models")
    return {name: make_model(folder, name, *sizes) for name, sizes in NETWORKS.items()}


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    return [picture(height, width, seed) for seed, (height, width) in enumerate(SIZES)]


@pytest.fixture(scope="module")
def files(images, tmp_path_factory: pytest.TempPathFactory) -> list[RecordFile]:
    """Two record files of the images as PNG, which every decoder decodes alike."""
    folder, payloads = tmp_path_factory.mktemp("records"), [encode(image, ".png") for image in images]
    first = write_records(folder / "first.rec", payloads[:7], LABELS[:7])
    return [RecordFile(first), RecordFile(write_records(folder / "second.rec", payloads[7:], LABELS[7:]))]


def member(model: Model, devices: int = 1) -> Member:
    """The checkpoint, loaded anew: nothing that a test does to it is seen by another."""
    return Member("net", *load_network(model.checkpoint, 3, [mx.cpu(index) for index in range(devices)]))


def scorer(network: Member, protocol: str, files: list[RecordFile], batch_size: int = 5):
    if protocol == "multi-scale":
        return ScaleScorer(network, SCALES[network.card.network], files, batch_size)
    return CropScorer(network, protocol == "10-crop", files, batch_size)


def probabilities(networks: list[Member], protocol: str, files: list[RecordFile]) -> np.ndarray:
    scorers, rows = [scorer(network, protocol, files) for network in networks], []
    for batches in zip(*scorers):
        every = slice(0, len(batches[0].labels))
        scores = [s.scores(batch, every, [mx.cpu()])() for s, batch in zip(scorers, batches)]
        rows.append(np.exp(average(scores)))
    return np.concatenate(rows)


@pytest.fixture(scope="module")
def slow_probabilities(models, images):
    """Of a network under a protocol, by the oracle."""

    @functools.cache
    def compute(network: str, protocol: str) -> np.ndarray:
        return slowly(models[network], protocol, images)

    return compute


def slowly(model: Model, protocol: str, images: list[np.ndarray]) -> np.ndarray:
    card, net = load_network(model.checkpoint, 3)
    rows = {
        "1-crop": lambda image: oracle_evaluation.one_crop(net, card, image),
        "10-crop": lambda image: oracle_evaluation.ten_crop(net, card, image),
        "multi-scale": lambda image: oracle_evaluation.multi_scale(net, card, image, SCALES[card.network]),
    }
    return np.array([rows[protocol](image) for image in images])


def answers(tally: Tally) -> tuple[list[int], list[int], int]:
    return tally.labels.tolist(), tally.predictions.tolist(), tally.topk_wrong


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("network", NETWORKS)
def test_a_protocol_is_the_slow_one(models, files, slow_probabilities, network, protocol):
    expected = slow_probabilities(network, protocol)
    np.testing.assert_allclose(probabilities([member(models[network])], protocol, files), expected, rtol=1e-3)
    tally = evaluate([member(models[network])], files, protocol, scales=SCALES[network])
    labels = np.array(LABELS)
    ranks = (expected >= expected[np.arange(12), labels][:, None]).sum(axis=1)
    assert answers(tally) == (LABELS, expected.argmax(axis=1).tolist(), int((ranks > 5).sum()))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_ensemble_averages_probabilities(models, files, slow_probabilities, protocol):
    each = [slow_probabilities(network, protocol) for network in models]
    found = probabilities([member(model) for model in models.values()], protocol, files)
    np.testing.assert_allclose(found, np.mean(each, axis=0), rtol=1e-3)
    pair = [member(model) for model in models.values()]
    tally = evaluate(pair, files, protocol, scales=SCALES["resnet18"], batch_size=7)
    if protocol != "multi-scale":  # there the two have other scales here
        assert tally.predictions.tolist() == np.mean(each, axis=0).argmax(axis=1).tolist()
    assert tally.labels.tolist() == LABELS


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_counts_do_not_depend_on_batches_devices_or_threads(models, files, protocol):
    one, three = member(models["resnet8"]), member(models["resnet8"], 3)
    contexts = [mx.cpu(index) for index in range(3)]
    reference = answers(evaluate([one], files, protocol, scales=(32, 50), batch_size=1, threads=1))
    assert reference[0] == LABELS
    for batch_size in (1, 5, 64):
        for threads in (1, 8):
            options = {"scales": (32, 50), "batch_size": batch_size, "threads": threads}
            assert answers(evaluate([one], files, protocol, **options)) == reference
            assert answers(evaluate([three], files, protocol, contexts=contexts, **options)) == reference


def test_scores_that_only_rounding_tells_apart_count_alike(models, tmp_path):
    pictures = [picture(50 + index % 7, 60, index) for index in range(40)]
    labels = [index % 12 for index in range(40)]
    path = write_records(tmp_path / "near.rec", [encode(image, ".png") for image in pictures], labels)
    network = member(models["resnet18"])
    squares = [oracle.evaluate(image, 55, 48) for image in pictures]
    features = np.array([oracle_evaluation.feature_map(network.net, s).mean(axis=(1, 2)) for s in squares])
    # Weights that differ by what is at right angles to the features of all these images: but for rounding, which
    # MXNet does otherwise from 16 images on, the classes have the same scores.
    random = np.random.default_rng(0).standard_normal((12, 512))
    across = random - random @ np.linalg.pinv(features) @ features
    network.net[1].output.weight.set_data(mx.nd.array(0.01 * across))
    network.net[1].output.bias.set_data(mx.nd.zeros(12))
    files = [RecordFile(path)]
    found = [answers(evaluate([network], files, "1-crop", batch_size=size)) for size in (1, 7, 16, 40)]
    assert found == found[:1] * 4
    assert len(set(found[0][1])) > 1


def test_training_counts_the_same_in_its_validation(models, files):
    card, net = load_network(models["resnet8"].checkpoint, 3)
    loader = Loader(files, 5, EvalTransform(card.resize, card.size))
    sums = Trainer(net, [mx.cpu()], 12).evaluate(loader)
    tally = evaluate([member(models["resnet8"])], files, "1-crop")
    assert (sums.images, sums.top1_right, sums.topk_right) == (
        12,
        12 - tally.top1_wrong,
        12 - tally.topk_wrong,
    )


def test_the_exported_graph_gives_the_same(models, files):
    model, contexts = models["resnet8"], [mx.cpu(0), mx.cpu(1)]
    graph = load_graph(f"{model.prefix}-symbol.json", f"{model.prefix}-0000.params", model.card, contexts)
    exported = Member("graph", model.card, graph)
    for protocol in ("1-crop", "10-crop"):
        found = evaluate([exported], files, protocol, contexts=contexts, batch_size=5)
        assert answers(found) == answers(evaluate([member(model)], files, protocol))
    with pytest.raises(UsageError, match="graph: .* name the checkpoint"):
        evaluate([exported], files, "multi-scale")


@pytest.mark.parametrize("interpolation", whole_images.INTERPOLATIONS)
def test_whole_images_have_the_pixels_of_the_evaluation_transform(interpolation):
    for seed, (height, width) in enumerate([(375, 500), (500, 333), (60, 60), (257, 256), (1200, 801)]):
        payload = encode(picture(height, width, seed))
        expected = EvalTransform(256, 224, interpolation)(payload, dtype="uint8", layout="NHWC")
        resized = whole_images.resized(decode(payload), 256, interpolation)
        top, left = (resized.shape[0] - 224) // 2, (resized.shape[1] - 224) // 2
        found = resized[top : top + 224, left : left + 224]
        assert found.shape == (224, 224, 3)
        assert cv2.absdiff(found, expected).max() <= 1


def test_at_its_own_size_the_dense_network_is_the_network(models):
    network = member(models["resnet18"])
    x = mx.nd.array(np.random.default_rng(0).integers(0, 256, (2, 3, 48, 48)))
    before, names = network.net(x).asnumpy(), list(network.net.collect_params())
    np.testing.assert_allclose(fully_convolutional(network)(x).asnumpy(), before, rtol=1e-4, atol=1e-4)
    assert (network.net(x).asnumpy() == before).all()
    assert list(network.net.collect_params()) == names


def test_the_dense_network_follows_the_parameters(models):
    network = member(models["resnet8"])
    twin = fully_convolutional(network)
    network.net[1].output.weight.set_data(mx.nd.zeros((12, 64)))
    network.net[1].output.bias.set_data(mx.nd.arange(12))
    np.testing.assert_allclose(twin(mx.nd.ones((1, 3, 40, 50))).asnumpy(), [np.arange(12)], rtol=1e-6)


def test_a_mean_image_becomes_its_average(models):
    plain = member(models["resnet8"])
    card = replace(plain.card, per_pixel_mean=True)
    image = np.broadcast_to(np.reshape(card.mean, (3, 1, 1)), (3, 32, 32)).copy()
    image[:, ::2] += 20  # not what the dense network subtracts
    net = with_normalization(plain.net[1], image, card.std)
    net[0].initialize()
    x = mx.nd.array(np.random.default_rng(0).integers(0, 256, (2, 3, 45, 50)))
    found = fully_convolutional(Member("net", card, net))(x).asnumpy()
    np.testing.assert_allclose(found, fully_convolutional(plain)(x).asnumpy(), rtol=1e-5, atol=1e-5)


def test_a_network_that_ends_otherwise_has_no_dense_form(models):
    card, classifier = models["resnet8"].card, gluon.nn.HybridSequential()
    classifier.features = gluon.nn.HybridSequential()
    classifier.features.add(gluon.nn.Conv2D(4, 3), gluon.nn.Dense(8), gluon.nn.Dropout(0.5))
    classifier.output = gluon.nn.Dense(12)
    with pytest.raises(UsageError, match="net: .* ends with global average pooling .* resnet8 does not"):
        fully_convolutional(Member("net", card, with_normalization(classifier, card.mean, card.std)))


def test_scales_below_the_input_and_crops_of_nothing_are_refused(models, files):
    network = member(models["resnet8"])
    with pytest.raises(UsageError, match="shorter side of 31 pixels are smaller than its input of 32"):
        evaluate([network], files, "multi-scale", scales=(64, 31))
    for resize in (None, 32):
        without = replace(network, card=replace(network.card, resize=resize))
        with pytest.raises(UsageError, match=f"its card has resize {resize}: choose 1-crop"):
            evaluate([without], files, "10-crop")
    with pytest.raises(UsageError, match="expected one of 1-crop, 10-crop, multi-scale, found '5-crop'"):
        evaluate([network], files, "5-crop")
    with pytest.raises(ModelError, match="interpolation"):
        strange = replace(network.card, interpolation="magic")
        evaluate([replace(network, card=strange)], files, "multi-scale")


BAD_RECORDS = {
    "truncated": (lambda p, n: ([*p[:5], encode(picture(300, 300))[:3000], *p[6:]], n), "Premature end"),
    "no image": (lambda p, n: ([*p[:5], b"what?", *p[6:]], n), "record with key 5"),
    "label 99": (lambda p, n: (p, [*n[:5], 99, *n[6:]]), "label 99 is not one of 0 to 11"),
    "label -1": (lambda p, n: (p, [*n[:5], -1, *n[6:]]), "label -1 is not one of 0 to 11"),
    "half a label": (lambda p, n: (p, [*n[:5], 0.5, *n[6:]]), "label 0.5 is not one of 0 to 11"),
    "no label": (lambda p, n: (p, [*n[:5], float("nan"), *n[6:]]), "label nan is not one of 0 to 11"),
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("damage", BAD_RECORDS)
def test_a_bad_record_is_named(models, files, tmp_path, damage, protocol):
    change, words = BAD_RECORDS[damage]
    payloads, labels = change([record.payload for record in files[0]], LABELS[:7])
    path = write_records(tmp_path / "bad.rec", payloads, labels)
    offset = RecordFile(path).offset(5)
    with pytest.raises(
        DataError, match=f"bad.rec: record with key 5 at offset {offset}: .*{words}|{words}"
    ) as info:
        bad = [files[1], RecordFile(path)]
        evaluate([member(models["resnet8"])], bad, protocol, scales=(32,), batch_size=4, threads=2)
    assert f"bad.rec: record with key 5 at offset {offset}" in str(info.value)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ThreadPool")]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_records_with_two_labels_are_refused(models, files, tmp_path, protocol):
    payloads = [record.payload for record in files[0]]
    path = write_records(tmp_path / "two.rec", payloads, [[1.0, 2.0]] * 7)
    with pytest.raises(DataError, match=r"two\.rec: record with key 0 at offset 0: expected one label"):
        evaluate([member(models["resnet8"])], [RecordFile(path)], protocol, scales=(32,))


@pytest.mark.parametrize("shape", [(1, 5000), (5000, 1), (20, 321)])
def test_a_strip_does_not_take_all_memory(models, tmp_path, shape):
    payloads = [encode(picture(40, 50)), encode(picture(*shape), ".png")]
    path = write_records(tmp_path / "strip.rec", payloads)
    with pytest.raises(ImageError, match=r"strip\.rec: record with key 1 .* more than 16 times the other"):
        evaluate([member(models["resnet8"])], [RecordFile(path)], "multi-scale")


def test_an_image_as_long_as_allowed_counts(models, tmp_path):
    path = write_records(tmp_path / "long.rec", [encode(picture(20, 320))])
    network = member(models["resnet8"])
    assert evaluate([network], [RecordFile(path)], "multi-scale", scales=(32, 40)).images == 1


def test_a_batch_of_whole_images_left_early_leaves_no_thread(files):
    made = whole_images.batches(files, (32, 40), "linear", 2, 3)
    assert len(next(made)) == 2
    made.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ThreadPool")]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_scores_that_are_no_numbers_are_an_error(models, files, protocol):
    network = member(models["resnet8"])
    network.net[1].output.bias.set_data(mx.nd.array([np.inf] * 12))
    with pytest.raises(
        ModelError, match=r"net: its scores for .*first\.rec: record with key 0 at .* not finite"
    ):
        evaluate([network], files, protocol, scales=(32,))


def test_a_probability_that_float64_cannot_hold_keeps_its_order():
    scores = np.array([[[0, -1000, -2000, -3000]], [[0, -1000, -2000, -3000]]], np.float32)
    mean = average([scores])
    assert mean[0].tolist() == pytest.approx([0, -1000, -2000, -3000])


def test_one_class_is_always_right(files, tmp_path):
    card = ModelCard(network="resnet8", classes=("all",), size=32, mean=(0.0,) * 3, std=(1.0,) * 3)
    net = card.build()
    net.initialize()
    path = write_records(tmp_path / "one.rec", [record.payload for record in files[0]], [0] * 7)
    tally = evaluate([Member("net", card, net)], [RecordFile(path)])
    assert (tally.images, tally.top1_wrong, tally.topk_wrong, tally.top_k) == (7, 0, 0, 1)


def test_the_oracle_sees_the_images_of_the_records(images, files):
    payloads = [record.payload for file in files for record in file]
    assert all((oracle.decode(payload) == image).all() for payload, image in zip(payloads, images))
    assert pathlib.Path(files[0].path).name == "first.rec"
