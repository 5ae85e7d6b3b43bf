"""What an evaluation refuses: records, networks, arguments, and images that are too long."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest

from gluon_resnet._mxnet import mx
from gluon_resnet.data import RecordFile
from gluon_resnet.errors import DataError, ImageError, ModelError, UsageError
from gluon_resnet.evaluation import PROTOCOLS, evaluate
from tests.support.deployed import Model, make_model
from tests.support.evaluated import LABELS, NETWORKS, member, write_dozen
from tests.support.pictures import encode, picture, write_records


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return make_model(tmp_path_factory.mktemp("model"), "resnet8", *NETWORKS["resnet8"])


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[RecordFile]:
    return write_dozen(tmp_path_factory.mktemp("records"))


def test_scales_below_the_input_and_crops_of_nothing_are_refused(model, files):
    network = member(model)
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
def test_a_bad_record_is_named(model, files, tmp_path, damage, protocol):
    change, words = BAD_RECORDS[damage]
    payloads, labels = change([record.payload for record in files[0]], LABELS[:7])
    path = write_records(tmp_path / "bad.rec", payloads, labels)
    offset = RecordFile(path).offset(5)
    with pytest.raises(
        DataError, match=f"bad.rec: record with key 5 at offset {offset}: .*{words}|{words}"
    ) as info:
        bad = [files[1], RecordFile(path)]
        evaluate([member(model)], bad, protocol, scales=(32,), batch_size=4, threads=2)
    assert f"bad.rec: record with key 5 at offset {offset}" in str(info.value)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ThreadPool")]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_records_with_two_labels_are_refused(model, files, tmp_path, protocol):
    payloads = [record.payload for record in files[0]]
    path = write_records(tmp_path / "two.rec", payloads, [[1.0, 2.0]] * 7)
    with pytest.raises(DataError, match=r"two\.rec: record with key 0 at offset 0: expected one label"):
        evaluate([member(model)], [RecordFile(path)], protocol, scales=(32,))


@pytest.mark.parametrize("shape", [(1, 5000), (5000, 1), (20, 321)])
def test_a_strip_does_not_take_all_memory(model, tmp_path, shape):
    payloads = [encode(picture(40, 50)), encode(picture(*shape), ".png")]
    path = write_records(tmp_path / "strip.rec", payloads)
    with pytest.raises(ImageError, match=r"strip\.rec: record with key 1 .* more than 16 times the other"):
        evaluate([member(model)], [RecordFile(path)], "multi-scale")


def test_an_image_as_long_as_allowed_counts(model, tmp_path):
    path = write_records(tmp_path / "long.rec", [encode(picture(20, 320))])
    network = member(model)
    assert evaluate([network], [RecordFile(path)], "multi-scale", scales=(32, 40)).images == 1


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_scores_that_are_no_numbers_are_an_error(model, files, protocol):
    network = member(model)
    network.net[1].output.bias.set_data(mx.nd.array([np.inf] * 12))
    with pytest.raises(
        ModelError, match=r"net: the scores for .*first\.rec: record with key 0 at .* not finite"
    ):
        evaluate([network], files, protocol, scales=(32,))
