"""The testing protocols against a slow oracle, whatever the batches, devices and threads."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from gluon_resnet._mxnet import mx
from gluon_resnet.card import ModelCard
from gluon_resnet.data import EvalTransform, Loader, RecordFile
from gluon_resnet.deploy.graph import load_graph
from gluon_resnet.errors import UsageError
from gluon_resnet.evaluation import PROTOCOLS, Member, evaluate
from gluon_resnet.evaluation.crops import CropScorer
from gluon_resnet.evaluation.evaluate import average
from gluon_resnet.evaluation.scales import ScaleScorer
from gluon_resnet.models import build_network
from gluon_resnet.models.saved import load_network
from gluon_resnet.training.trainer import Trainer
from tests.support import oracle, oracle_evaluation
from tests.support.deployed import Model, make_model
from tests.support.evaluated import LABELS, NETWORKS, SCALES, answers, dozen, member, write_dozen
from tests.support.pictures import encode, picture, write_records


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    folder = tmp_path_factory.mktemp("models")
    return {name: make_model(folder, name, *sizes) for name, sizes in NETWORKS.items()}


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
def files(tmp_path_factory: pytest.TempPathFactory) -> list[RecordFile]:
    return write_dozen(tmp_path_factory.mktemp("records"))


@pytest.fixture(scope="module")
def slow_probabilities(models):
    """Of a network under a protocol, by the oracle."""

    @functools.cache
    def compute(network: str, protocol: str) -> np.ndarray:
        return slowly(models[network], protocol, dozen())

    return compute


def slowly(model: Model, protocol: str, images: list[np.ndarray]) -> np.ndarray:
    card, net = load_network(model.checkpoint, 3)
    rows = {
        "1-crop": lambda image: oracle_evaluation.one_crop(net, card, image),
        "10-crop": lambda image: oracle_evaluation.ten_crop(net, card, image),
        "multi-scale": lambda image: oracle_evaluation.multi_scale(net, card, image, SCALES[card.network]),
    }
    return np.array([rows[protocol](image) for image in images])


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


def test_a_probability_that_float64_cannot_hold_keeps_its_order():
    scores = np.array([[[0, -1000, -2000, -3000]], [[0, -1000, -2000, -3000]]], np.float32)
    mean = average([scores])
    assert mean[0].tolist() == pytest.approx([0, -1000, -2000, -3000])


def test_one_class_is_always_right(files, tmp_path):
    card = ModelCard(network="resnet8", classes=("all",), size=32, mean=(0.0,) * 3, std=(1.0,) * 3)
    net = build_network(card)
    net.initialize()
    path = write_records(tmp_path / "one.rec", [record.payload for record in files[0]], [0] * 7)
    tally = evaluate([Member("net", card, net)], [RecordFile(path)])
    assert (tally.images, tally.top1_wrong, tally.topk_wrong, tally.top_k) == (7, 0, 0, 1)
