"""The fully convolutional form of a network, and the whole images that it takes."""

from __future__ import annotations

import threading
from dataclasses import replace

import cv2
import numpy as np
import pytest

from gluon_resnet._mxnet import gluon, mx
from gluon_resnet.data import EvalTransform, RecordFile, decode
from gluon_resnet.errors import UsageError
from gluon_resnet.evaluation import Member, whole_images
from gluon_resnet.evaluation.dense import fully_convolutional
from gluon_resnet.models import with_normalization
from tests.support.deployed import Model, make_model
from tests.support.evaluated import NETWORKS, member, write_dozen
from tests.support.pictures import encode, picture


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return make_model(tmp_path_factory.mktemp("model"), "resnet8", *NETWORKS["resnet8"])


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[RecordFile]:
    return write_dozen(tmp_path_factory.mktemp("records"))


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


def test_at_its_own_size_the_dense_network_is_the_network(model):
    network = member(model)
    x = mx.nd.array(np.random.default_rng(0).integers(0, 256, (2, 3, 32, 32)))
    before, names = network.net(x).asnumpy(), list(network.net.collect_params())
    np.testing.assert_allclose(fully_convolutional(network)(x).asnumpy(), before, rtol=1e-4, atol=1e-4)
    assert (network.net(x).asnumpy() == before).all()
    assert list(network.net.collect_params()) == names


def test_the_dense_network_follows_the_parameters(model):
    network = member(model)
    twin = fully_convolutional(network)
    network.net[1].output.weight.set_data(mx.nd.zeros((12, 64)))
    network.net[1].output.bias.set_data(mx.nd.arange(12))
    np.testing.assert_allclose(twin(mx.nd.ones((1, 3, 40, 50))).asnumpy(), [np.arange(12)], rtol=1e-6)


def test_a_mean_image_becomes_its_average(model):
    plain = member(model)
    card = replace(plain.card, per_pixel_mean=True)
    image = np.broadcast_to(np.reshape(card.mean, (3, 1, 1)), (3, 32, 32)).copy()
    image[:, ::2] += 20  # not what the dense network subtracts
    net = with_normalization(plain.net[1], image, card.std)
    net[0].initialize()
    x = mx.nd.array(np.random.default_rng(0).integers(0, 256, (2, 3, 45, 50)))
    found = fully_convolutional(Member("net", card, net))(x).asnumpy()
    np.testing.assert_allclose(found, fully_convolutional(plain)(x).asnumpy(), rtol=1e-5, atol=1e-5)


def test_a_network_that_ends_otherwise_has_no_dense_form(model):
    card, classifier = model.card, gluon.nn.HybridSequential()
    classifier.features = gluon.nn.HybridSequential()
    classifier.features.add(gluon.nn.Conv2D(4, 3), gluon.nn.Dense(8), gluon.nn.Dropout(0.5))
    classifier.output = gluon.nn.Dense(12)
    with pytest.raises(UsageError, match="net: .* ends with global average pooling .* resnet8 does not"):
        fully_convolutional(Member("net", card, with_normalization(classifier, card.mean, card.std)))


def test_a_batch_of_whole_images_left_early_leaves_no_thread(files):
    made = whole_images.batches(files, (32, 40), "linear", 2, 3)
    assert len(next(made)) == 2
    made.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ThreadPool")]
