"""The model card: what is saved is read back, and anything else is refused with its path."""

from __future__ import annotations

import calendar
import copy
import dataclasses
import json
import re
import subprocess
import sys
import time

import numpy as np
import pytest

from gluon_resnet._mxnet import mx
from gluon_resnet.card import ModelCard
from gluon_resnet.deploy import PartialCard
from gluon_resnet.errors import ModelError, UsageError
from gluon_resnet.models import build_network
from gluon_resnet.models.saved import load_card, load_network, save_network
from gluon_resnet.provenance import DataSet, Exported, MeasuredError, Source, TrainedBy, TrainedOn, now
from tests.support.paths import ROOT

VALIDATION = DataSet(("val.rec",), 5000, "fedcba9876543210")
ERROR = MeasuredError(
    VALIDATION, "1-crop", 3, "2026-11-21T18:30:00Z", 50.0, (48.6, 51.4), 2, 12.5, (11.6, 13.4)
)
CARD = ModelCard(
    network="resnet20",
    classes=("cat", "Hühnerhabicht", "cat"),  # ImageNet has two cranes
    size=32,
    mean=(125.3, 123.0, 113.9),
    std=(63.0, 62.1, 66.7),
    resize=36,
    interpolation="area",
    shortcut="B",
    variant="v1",
    epoch=3,
    data=TrainedOn(DataSet(("train.rec", "more.rec"), 45_000, "0123456789abcdef"), VALIDATION),
    recipe=TrainedBy("cifar10", "train.py --lr 0.1", {"lr": 0.1, "lr_step_iterations": [32, 48]}),
    errors=(ERROR,),
    versions={"mxnet": "1.9.1"},
    source=Source("torchvision", "/a/b.pth", "0" * 64, "convert.py b.pth"),
    exported=Exported("1" * 64, {"mxnet": "1.9.1", "onnx": "opset 13"}),
    quantization={"mode": "entropy"},
)
JSON = {
    "format": "gluon-resnet model card 2",
    "network": "resnet20",
    "shortcut": "B",
    "variant": "v1",
    "classes": ["cat", "Hühnerhabicht", "cat"],
    "preprocessing": {
        "decoder": "libjpeg-turbo",
        "resize": 36,
        "interpolation": "area",
        "crop": "center",
        "size": 32,
        "channels": "RGB",
        "mean": [125.3, 123.0, 113.9],
        "std": [63.0, 62.1, 66.7],
        "per_pixel_mean": False,
    },
    "epoch": 3,
    "data": {
        "training": {"files": ["train.rec", "more.rec"], "images": 45_000, "fingerprint": "0123456789abcdef"},
        "validation": {"files": ["val.rec"], "images": 5000, "fingerprint": "fedcba9876543210"},
    },
    "recipe": {
        "name": "cifar10",
        "command": "train.py --lr 0.1",
        "settings": {"lr": 0.1, "lr_step_iterations": [32, 48]},
    },
    "errors": [
        {
            "data": {"files": ["val.rec"], "images": 5000, "fingerprint": "fedcba9876543210"},
            "protocol": "1-crop",
            "epoch": 3,
            "date": "2026-11-21T18:30:00Z",
            "top1_error": 50.0,
            "top1_interval": [48.6, 51.4],
            "top_k": 2,
            "topk_error": 12.5,
            "topk_interval": [11.6, 13.4],
        }
    ],
    "versions": {"mxnet": "1.9.1"},
    "source": {
        "project": "torchvision",
        "file": "/a/b.pth",
        "sha256": "0" * 64,
        "command": "convert.py b.pth",
    },
    "exported": {"sha256": "1" * 64, "formats": {"mxnet": "1.9.1", "onnx": "opset 13"}},
    "quantization": {"mode": "entropy"},
}


@pytest.mark.parametrize(
    "card",
    [
        CARD,
        ModelCard("plain18", ("a",), 224, (0, 0, 0), (1, 1, 1)),
        dataclasses.replace(CARD, network="resnet50", variant="v1b", resize=None),
        dataclasses.replace(CARD, mean=tuple(np.float32([0.5, 1, 2])), versions={}),
        dataclasses.replace(CARD, data=TrainedOn(VALIDATION), recipe=None, source=None, epoch=None),
        dataclasses.replace(CARD, exported=None, quantization=None),
        dataclasses.replace(CARD, errors=(), decoder=None),
        PartialCard(32, 40, ("a", "b"), "cubic").of_graph(2, "net"),
        dataclasses.replace(CARD, per_pixel_mean=True),
        dataclasses.replace(CARD, variant="v2"),
        dataclasses.replace(CARD, variant="gluoncv_v1"),
        dataclasses.replace(CARD, network="bn_inception", shortcut=None),
        dataclasses.replace(CARD, network="vgg19_bn", shortcut=None, size=224),
    ],
)
def test_what_is_saved_is_read_back(tmp_path, card):
    path = tmp_path / "net-model.json"
    card.save(path)
    assert ModelCard.load(path) == card
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_is_the_documented_one(tmp_path):
    path = tmp_path / "net-model.json"
    CARD.save(path)
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content == JSON
    assert list(content) == list(JSON)
    assert list(content["preprocessing"]) == list(JSON["preprocessing"])


def test_the_page_about_the_file_names_every_key():
    page = (ROOT / "docs" / "model_card.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`\.?(\w+)`", page))
    inner = [JSON["preprocessing"], JSON["data"], JSON["data"]["training"], JSON["errors"][0]]
    inner += [JSON["recipe"], JSON["source"], JSON["exported"]]
    assert set(JSON).union(*inner) <= named


def test_it_builds_the_network_with_its_normalization():
    net = build_network(CARD)
    net.initialize()
    assert net(mx.nd.full((2, 3, 32, 32), 128, dtype="uint8")).shape == (2, 3)
    np.testing.assert_array_equal(net[0].std.data().asnumpy().ravel(), np.float32(CARD.std))
    assert any("shortcut" in name for name in net.collect_params())  # option B


def test_a_mean_image_is_saved_with_the_parameters(tmp_path):
    card = dataclasses.replace(CARD, per_pixel_mean=True)
    image = np.random.default_rng(0).uniform(0, 255, (3, 32, 32)).astype("float32")
    net = build_network(card, image)
    net.initialize()
    save_network(tmp_path / "new" / "net", 3, card, net)
    loaded_card, loaded = load_network(tmp_path / "new" / "net")
    assert loaded_card == card
    np.testing.assert_array_equal(loaded[0].mean.data().asnumpy(), image)
    np.testing.assert_array_equal(build_network(card)[0].mean.shape, image.shape)
    with pytest.raises(UsageError, match=r"mean_image: expected shape \(3, 32, 32\), found \(3, 32, 33\)"):
        build_network(card, np.zeros((3, 32, 33)))
    with pytest.raises(UsageError, match="a mean per channel"):
        build_network(CARD, image)


def test_a_network_is_loaded_at_the_epoch_asked_for(tmp_path):
    for epoch in (1, 2):
        net = build_network(CARD)
        net.initialize()
        net[1].output.bias.set_data(mx.nd.full(3, epoch))
        save_network(tmp_path / "net", epoch, CARD, net)
    for epoch, expected in ((None, 2), (1, 1), (2, 2)):
        _, net = load_network(tmp_path / "net", epoch)
        assert net[1].output.bias.data().asnumpy().tolist() == [expected] * 3
    with pytest.raises(UsageError, match=r"no .*other-NNNN.params: train first"):
        load_network(tmp_path / "other")


def changed(*keys, value):
    content = copy.deepcopy(JSON)
    inner = content
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    return json.dumps(content)


def without(*keys):
    content = json.loads(changed(*keys, value=None))
    inner = content
    for key in keys[:-1]:
        inner = inner[key]
    del inner[keys[-1]]
    return json.dumps(content)


def without_shortcut(network):
    return json.dumps({**JSON, "network": network, "shortcut": None})


PRE = "preprocessing"
BAD = {
    "empty": ("", "JSON"),
    "not JSON": ("network: resnet20", "JSON"),
    "not UTF-8": (b"\xff\xfe{}", "JSON"),
    "cut off": (json.dumps(JSON)[:-20], "JSON"),
    "two": (json.dumps(JSON) * 2, "JSON"),
    "too deep": ("[" * 100_000, "JSON"),
    "a list": ("[]", "keys"),
    "null": ("null", "keys"),
    "unknown key": (changed("author", value="me"), "keys"),
    "unknown preprocessing key": (changed(PRE, "scale", value=1), "keys"),
    "preprocessing is text": (changed(PRE, value="none"), "preprocessing"),
    "another format": (changed("format", value="gluon-resnet model card 1"), "format"),
    "network is a number": (changed("network", value=20), "network"),
    "network is a list": (changed("network", value=["resnet20"]), "network"),
    "shortcut is a list": (changed("shortcut", value=["A"]), "shortcut"),
    "no variant": (changed("variant", value=None), "variant"),
    "no classes": (changed("classes", value=[]), "classes"),
    "classes are a number": (changed("classes", value=10), "classes"),
    "classes are text": (changed("classes", value="abc"), "classes"),
    "a class is a number": (changed("classes", value=["a", 1]), "classes"),
    "size is text": (changed(PRE, "size", value="32"), "size"),
    "size is a fraction": (changed(PRE, "size", value=32.5), "size"),
    "size is true": (changed(PRE, "size", value=True), "size"),
    "size is 0": (changed(PRE, "size", value=0), "size"),
    "no size": (changed(PRE, "size", value=None), "size"),
    "resize is negative": (changed(PRE, "resize", value=-1), "resize"),
    "interpolation": (changed(PRE, "interpolation", value=None), "interpolation"),
    "BGR": (changed(PRE, "channels", value="BGR"), "channels"),
    "two means": (changed(PRE, "mean", value=[1, 2]), "mean"),
    "mean is a number": (changed(PRE, "mean", value=1), "mean"),
    "mean is text": (changed(PRE, "mean", value=["1", "2", "3"]), "mean"),
    "mean is true": (changed(PRE, "mean", value=[True, 1, 1]), "mean"),
    "mean is NaN": (changed(PRE, "mean", value=[float("nan"), 1, 1]), "NaN"),
    "mean is infinite": (changed(PRE, "mean", value=[1, 1, 7.25]).replace("7.25", "1e999"), "mean"),
    "std is NaN": (changed(PRE, "std", value=[1, 1, float("nan")]), "NaN"),
    "std is infinite": (changed(PRE, "std", value=[1, 1, float("inf")]), "Infinity"),
    "std is 0": (changed(PRE, "std", value=[1, 0, 1]), "std"),
    "std is negative": (changed(PRE, "std", value=[1, 1, -1]), "std"),
    "std is 0 in float32": (changed(PRE, "std", value=[1, 1, 1e-60]), "std"),
    "per_pixel_mean is a number": (changed(PRE, "per_pixel_mean", value=1), "per_pixel_mean"),
    "std is huge": (changed(PRE, "std", value=[1, 1, 10**400]), "std"),
    "size is more than an image has": (changed(PRE, "size", value=1 << 15), "size"),
    "another crop": (changed(PRE, "crop", value="corner"), "crop"),
    "decoder is a number": (changed(PRE, "decoder", value=1), "decoder"),
    "half a character": (changed("classes", value=["a", "\ud800"]), "classes"),
    "a number of a million digits": (
        changed(PRE, "size", value=7).replace("7,", "7" * 10**6 + ","),
        "digits",
    ),
    "a number of 300 digits": (changed(PRE, "size", value=10**300), "size"),
    "longer than any card": (json.dumps(JSON) + " " * (1 << 24), "at most 16777216 bytes"),
    "epoch is negative": (changed("epoch", value=-1), "epoch"),
    "epoch is true": (changed("epoch", value=True), "epoch"),
    "data is a list": (changed("data", value=[]), "data: expected the keys training, validation"),
    "no training data": (changed("data", "training", value=None), "training"),
    "unknown key of data": (changed("data", "test", value=None), "data"),
    "no files": (changed("data", "training", "files", value=[]), "files"),
    "files are text": (changed("data", "training", "files", value="a.rec"), "files"),
    "no images": (changed("data", "training", "images", value=0), "images"),
    "a fingerprint of 15 digits": (changed("data", "training", "fingerprint", value="0" * 15), "fingerprint"),
    "recipe is text": (changed("recipe", value="cifar10"), "recipe"),
    "recipe without a name": (changed("recipe", "name", value=""), "name"),
    "settings are a list": (changed("recipe", "settings", value=[]), "settings"),
    "settings too deep": (json.dumps(JSON).replace("[32, 48]", "[" * 700 + "]" * 700), "JSON"),
    "a setting is NaN": (changed("recipe", "settings", value={"lr": float("nan")}), "NaN"),
    "a setting is infinite": (json.dumps(JSON).replace('"lr": 0.1', '"lr": 1e999'), "settings"),
    "errors are an object": (changed("errors", value={}), "errors"),
    "an error is a number": (changed("errors", value=[8.75]), "errors"),
    "an error of 101 %": (changed("errors", 0, "top1_error", value=101), "top1_error"),
    "an error of nothing": (changed("errors", 0, "topk_error", value=None), "topk_error"),
    "an error is infinite": (json.dumps(JSON).replace("12.5", "1e999"), "topk_error"),
    "an interval of one end": (changed("errors", 0, "top1_interval", value=[1]), "top1_interval"),
    "an interval that shrinks": (changed("errors", 0, "top1_interval", value=[2, 1]), "top1_interval"),
    "an interval is a number": (changed("errors", 0, "topk_interval", value=1), "topk_interval"),
    "an error on nothing": (changed("errors", 0, "data", value=None), "data"),
    "no protocol": (changed("errors", 0, "protocol", value=None), "protocol"),
    "an error of no epoch": (changed("errors", 0, "epoch", value=None), "epoch"),
    "top 0": (changed("errors", 0, "top_k", value=0), "top_k"),
    "a local time": (changed("errors", 0, "date", value="2026-11-21T18:30:00"), "date"),
    "the 31st of November": (changed("errors", 0, "date", value="2026-11-31T18:30:00Z"), "date"),
    "date is a number": (changed("errors", 0, "date", value=20261121), "date"),
    "versions are a list": (changed("versions", value=["1.9.1"]), "versions"),
    "a version is a number": (changed("versions", value={"mxnet": 1.9}), "versions"),
    "source is text": (changed("source", value="torchvision"), "source"),
    "sha256 is short": (changed("source", "sha256", value="0" * 63), "sha256"),
    "formats are a list": (changed("exported", "formats", value=["onnx"]), "formats"),
    "exported without a checkpoint": (changed("exported", "sha256", value=None), "sha256"),
    "exported is text": (changed("exported", value="onnx"), "exported"),
    "quantization is text": (changed("quantization", value="entropy"), "quantization"),
    "source without a command": (without("source", "command"), "source"),
    **{f"without {key}": (without(key), key) for key in JSON},
    **{f"without {key}": (without(PRE, key), key) for key in JSON[PRE]},
    **{f"an error without {key}": (without("errors", 0, key), key) for key in JSON["errors"][0]},
}
# What another version may know.
UNKNOWN = {
    "unknown network": (changed("network", value="vgg15"), "no network 'vgg15'"),
    "a size that the network cannot take": (without_shortcut("vgg16"), "224 pixels of vgg16"),
    "unknown shortcut": (changed("shortcut", value="D"), "shortcut"),
    "shortcut of a plain net": (changed("network", value="plain20"), "without shortcuts"),
    "unknown variant": (changed("variant", value="v3"), "variant"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_hostile_card_is_refused_with_its_path(tmp_path, name):
    text, says = BAD[name]
    path = tmp_path / "bad-model.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ModelError, match=says) as raised:
        ModelCard.load(path)
    assert raised.value.path == str(path)
    message = str(raised.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert len(message) < 1000


@pytest.mark.parametrize("name", UNKNOWN)
def test_a_card_of_a_network_that_does_not_exist_is_read_and_not_built(tmp_path, name):
    text, says = UNKNOWN[name]
    path = tmp_path / "bad-model.json"
    path.write_text(text)
    card = ModelCard.load(path)
    with pytest.raises(UsageError, match=says):
        build_network(card)
    with pytest.raises(ModelError, match=rf"bad-model.json: .*{says}") as raised:
        load_card(tmp_path / "bad")
    assert raised.value.path == str(path)


def test_a_card_is_read_without_mxnet(tmp_path):
    CARD.save(tmp_path / "net-model.json")
    code = (
        "import sys; from gluon_resnet.card import ModelCard; card = ModelCard.load(sys.argv[1]); "
        "print(card.network, *(name for name in ('mxnet', 'gluon_resnet.models') if name in sys.modules))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "net-model.json"], capture_output=True, text=True, check=True
    )
    assert out.stdout == "resnet20\n"


def test_a_missing_card_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none-model\.json"):
        ModelCard.load(tmp_path / "none-model.json")


@pytest.mark.parametrize(
    "values",
    [
        {"network": 20},
        {"classes": ["a", "b"]},
        {"classes": ()},
        {"std": (1.0, 0.0, 1.0)},
        {"mean": [1.0, 2.0, 3.0]},
        {"mean": (1.0, float("nan"), 1.0)},
        {"size": 32.0},
        {"data": VALIDATION},
        {"recipe": {"name": "cifar10"}},
        {"errors": [ERROR]},
        {"errors": ({},)},
        {"versions": {"mxnet": None}},
        {"source": "torchvision"},
        {"exported": {}},
        {"quantization": {"mean": (1, 2)}},
    ],
)
def test_a_card_that_could_not_be_read_back_is_not_made(values):
    with pytest.raises(UsageError):
        dataclasses.replace(CARD, **values)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, (1, 2), {1: 2}, b"", "\ud800"])
def test_settings_that_json_cannot_hold_are_refused(value):
    for settings in ({"x": value}, {"x": [1, {"y": value}]}):
        with pytest.raises(UsageError, match="settings"):
            TrainedBy("cifar10", "train.py", settings)


def test_a_card_that_cannot_be_written_leaves_the_old_one(tmp_path):
    path = tmp_path / "net-model.json"
    dataclasses.replace(CARD, epoch=4).save(path)
    CARD.recipe.settings["x"] = float("nan")  # behind its back
    try:
        with pytest.raises(ValueError):
            CARD.save(path)
    finally:
        del CARD.recipe.settings["x"]
    assert ModelCard.load(path).epoch == 4
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_takes_the_place_of_that_of_the_same_test():
    again = dataclasses.replace(ERROR, top1_error=49.0, date="2026-11-22T00:00:00Z")
    assert CARD.with_error(again).errors == (again,)
    for other in (
        dataclasses.replace(again, epoch=2),
        dataclasses.replace(again, protocol="10-crop"),
        dataclasses.replace(again, data=CARD.data.training),
    ):
        assert CARD.with_error(other).errors == (ERROR, other)


def test_the_card_of_an_epoch_has_its_errors_alone():
    second = dataclasses.replace(ERROR, epoch=2)
    card = CARD.with_error(second)
    assert card.at_epoch(2) == dataclasses.replace(CARD, epoch=2, errors=(second,))
    assert card.at_epoch(3) == CARD
    assert card.at_epoch(7) == dataclasses.replace(CARD, epoch=7, errors=())


def test_how_long_converted_weights_were_trained_is_not_known() -> None:
    converted = dataclasses.replace(CARD, epoch=None, errors=())  # it has a source
    assert converted.at_epoch(0) == converted
    assert converted.at_epoch(2).epoch == 2  # trained on


def test_the_time_of_a_measurement_is_utc(monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        date = calendar.timegm(time.strptime(now(), "%Y-%m-%dT%H:%M:%SZ"))
    finally:
        monkeypatch.undo()
        time.tzset()
    assert abs(date - time.time()) < 600


def test_the_names_of_imagenet_21k_fit(tmp_path):
    names = tuple(f"a class with a long name {label}" for label in range(21_841))
    card = dataclasses.replace(CARD, classes=names)
    card.save(tmp_path / "net-model.json")
    assert ModelCard.load(tmp_path / "net-model.json") == card
