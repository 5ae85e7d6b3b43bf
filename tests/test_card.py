"""The model card: what is saved is read back, and anything else is refused with its path."""

from __future__ import annotations

import copy
import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest

from gluon_resnet._mxnet import mx
from gluon_resnet.card import ModelCard
from gluon_resnet.errors import ModelError, UsageError
from gluon_resnet.models import build_network
from gluon_resnet.models.saved import load_card, load_network, save_network

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
    training={"command": "train.py --recipe cifar10", "epochs": 3, "errors": [50.0, 12.5]},
)
JSON = {
    "format": "gluon-resnet model card 1",
    "network": "resnet20",
    "shortcut": "B",
    "variant": "v1",
    "classes": ["cat", "Hühnerhabicht", "cat"],
    "preprocessing": {
        "resize": 36,
        "size": 32,
        "interpolation": "area",
        "channels": "RGB",
        "mean": [125.3, 123.0, 113.9],
        "std": [63.0, 62.1, 66.7],
        "per_pixel_mean": False,
    },
    "training": {"command": "train.py --recipe cifar10", "epochs": 3, "errors": [50.0, 12.5]},
}


@pytest.mark.parametrize(
    "card",
    [
        CARD,
        ModelCard("plain18", ("a",), 224, (0, 0, 0), (1, 1, 1)),
        dataclasses.replace(CARD, network="resnet50", variant="v1b", resize=None),
        dataclasses.replace(CARD, mean=tuple(np.float32([0.5, 1, 2])), training={}),
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
    assert json.loads(path.read_text(encoding="utf-8")) == JSON


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
    "another format": (changed("format", value="gluon-resnet model card 2"), "format"),
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
    "mean is infinite": (changed(PRE, "mean", value=[1, 1, 7]).replace("7", "1e999"), "mean"),
    "std is NaN": (changed(PRE, "std", value=[1, 1, float("nan")]), "NaN"),
    "std is infinite": (changed(PRE, "std", value=[1, 1, float("inf")]), "Infinity"),
    "std is 0": (changed(PRE, "std", value=[1, 0, 1]), "std"),
    "std is negative": (changed(PRE, "std", value=[1, 1, -1]), "std"),
    "std is 0 in float32": (changed(PRE, "std", value=[1, 1, 1e-60]), "std"),
    "per_pixel_mean is a number": (changed(PRE, "per_pixel_mean", value=1), "per_pixel_mean"),
    "std is huge": (changed(PRE, "std", value=[1, 1, 10**400]), "std"),
    "training is a list": (changed("training", value=[]), "training"),
    **{f"without {key}": (without(key), key) for key in JSON},
    **{f"without {key}": (without(PRE, key), key) for key in JSON[PRE]},
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
    ],
)
def test_a_card_that_could_not_be_read_back_is_not_made(values):
    with pytest.raises(UsageError):
        dataclasses.replace(CARD, **values)


def test_a_card_that_json_cannot_hold_leaves_the_old_one(tmp_path):
    path = tmp_path / "net-model.json"
    CARD.save(path)
    for bad in (float("nan"), {1, 2}):
        with pytest.raises((ValueError, TypeError)):
            dataclasses.replace(CARD, training={"x": bad}).save(path)
    assert ModelCard.load(path) == CARD
    assert list(tmp_path.iterdir()) == [path]
