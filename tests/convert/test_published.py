"""Pretrained weights by name: downloaded once, checked, and the right network with its normalization."""

from __future__ import annotations

import hashlib
import os
import pathlib
from collections.abc import Iterator

import numpy as np
import pytest

from gluon_resnet._mxnet import mx
from gluon_resnet.card import ModelCard
from gluon_resnet.cli.convert import main as convert
from gluon_resnet.cli.train import main as train
from gluon_resnet.convert import PUBLISHED, published, published_file
from gluon_resnet.convert.published import Published
from gluon_resnet.errors import EnvironmentProblem, ModelError, UsageError
from gluon_resnet.model_zoo import get_model
from gluon_resnet.models import build_network
from gluon_resnet.models.parameters import read_arrays
from gluon_resnet.models.saved import load_network, save_network
from tests.support.small_training import training_options
from tests.support.weights_server import FileServer, serving


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A ResNet-18 of 1000 classes with random weights, as torchvision writes one."""
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("weights")
    card = published.published_card("resnet18", "v1b", "none", "0" * 64, "none")
    net = build_network(card)
    net.initialize()
    save_network(folder / "source", 0, card, net)
    convert([str(folder / "a.pth"), "--to", "torchvision", "--model-prefix", str(folder / "source")])
    return (folder / "a.pth").read_bytes()


@pytest.fixture
def server(weights: bytes, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """Serves these weights as torchvision's; what is downloaded comes into tmp_path/home."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    digest = hashlib.sha256(weights).hexdigest()[:8]
    with serving(weights) as running:
        monkeypatch.setattr(published, "_ADDRESS", running.address)
        monkeypatch.setitem(PUBLISHED, "resnet18", Published(f"resnet18-{digest}.pth", len(weights) / 2**20))
        monkeypatch.setenv("GLUON_RESNET_HOME", str(tmp_path / "home"))
        yield running


def test_the_table_is_torchvisions() -> None:
    """Digits as in torchvision/models/resnet.py; lengths that these networks' float32 have."""
    assert [file.file for file in PUBLISHED.values()] == [
        "resnet18-f37072fd.pth",
        "resnet34-b627a593.pth",
        "resnet50-0676ba61.pth",
        "resnet101-63fe2227.pth",
        "resnet152-394f9c45.pth",
    ]
    assert published._ADDRESS == "https://download.pytorch.org/models/"
    parameters = [11_689_512, 21_797_672, 25_557_032, 44_549_160, 60_192_808]
    for file, count in zip(PUBLISHED.values(), parameters):
        assert 4 * count < file.longest < 4 * count * 1.006
        assert (file.digest, len(file.digest)) == (file.file.split("-")[1][:8], 8)


def test_the_folder_is_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GLUON_RESNET_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/somebody")
    assert published.home() == "/somebody/.cache/gluon_resnet"
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert published.home() == "/cache/gluon_resnet"
    monkeypatch.setenv("GLUON_RESNET_HOME", "/shared")
    assert published.home() == "/shared"


def test_convert_downloads_once_and_get_model_computes_the_same(
    server: FileServer, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prefix = str(tmp_path / "net")
    argv = ["--from", "torchvision", "--network", "resnet18", "--model-prefix", prefix]
    convert(argv)
    name = PUBLISHED["resnet18"].file
    assert f"downloading {server.address}{name} to {tmp_path}/home/{name}" in capsys.readouterr().err
    card = ModelCard.load(f"{prefix}-model.json")
    assert (card.network, card.size, card.resize, len(card.classes)) == ("resnet18", 224, 256, 1000)
    assert (card.mean, card.std) == (published.IMAGENET_MEAN, published.IMAGENET_STD)
    net = get_model("resnet18", pretrained=True)
    assert len(server.requests) == 1
    image = mx.nd.array(np.random.default_rng(0).uniform(-2, 2, (1, 3, 32, 32)))
    expected = load_network(prefix)[1][1](image).asnumpy()
    assert np.array_equal(net(image).asnumpy(), expected)
    os.unlink(f"{prefix}-0000.params")
    (tmp_path / "home" / name).write_bytes(b"another file")
    with pytest.raises(ModelError, match=f"{name}: expected a file whose SHA-256 begins with .*: remove it"):
        convert(argv)


def test_training_begins_with_the_weights_and_their_preprocessing(
    server: FileServer, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = training_options(tmp_path)
    data = data[data.index("--data-train") :]
    prefix = str(tmp_path / "new")
    options = "--network resnet18 --pretrained imagenet --freeze --num-iterations 1 --batch-size 2 "
    options += "--image-shape 3,32,32"
    assert train([*options.split(), *data, "--model-prefix", prefix]) is None
    name = PUBLISHED["resnet18"].file
    assert f"note: downloading {server.address}{name} to" in capsys.readouterr().err
    card = ModelCard.load(f"{prefix}-model.json")
    assert (card.variant, card.mean, card.size) == ("v1", published.IMAGENET_MEAN, 32)
    assert card.resize == 37  # 256 of 224
    assert card.source is not None
    assert (card.source.project, card.source.command) == ("torchvision", "--pretrained imagenet")
    convert(["--from", "torchvision", "--network", "resnet18", "--model-prefix", str(tmp_path / "own")])
    found, own = read_arrays(f"{prefix}-0001.params"), read_arrays(tmp_path / "own-0000.params")
    for key, array in own.items():
        assert np.array_equal(found[key], array) == ("output" not in key), key


def test_offline_the_address_and_the_place_are_told(server: FileServer, tmp_path: pathlib.Path) -> None:
    server.answer = lambda handler, _: handler.send_error(503)
    name = PUBLISHED["resnet18"].file
    with pytest.raises(EnvironmentProblem) as caught:
        published_file("resnet18")
    path = tmp_path / "home" / name
    assert str(caught.value) == (
        f"{server.address}{name} cannot be downloaded: the server answered 503 Service Unavailable; "
        f"you can also copy the file to {path} by hand (GLUON_RESNET_HOME sets the folder)"
    )
    path.write_bytes(server.data)
    assert published_file("resnet18") == (str(path), hashlib.sha256(server.data).hexdigest())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("", "give --network, one of resnet18, resnet34"),
        ("--network resnet20", "no ImageNet weights are published for resnet20: choose one of resnet18"),
        ("--network vgg16", "published for vgg16"),
        ("--network resnet50_v1", "resnet50 are for variant v1b .* and variant v1 would be another"),
        ("--network resnet50 --variant v2", "and variant v2 would be another network: omit it"),
        ("--network resnet18 --shortcut A", "and shortcuts of option A would be another network"),
        ("--network ResNet50", "did you mean resnet50"),
    ],
)
def test_what_is_not_published_is_told_before_a_download(
    server: FileServer, tmp_path: pathlib.Path, options: str, message: str
) -> None:
    data = ["--data-train", "no.rec", "--model-prefix", str(tmp_path / "net")]
    with pytest.raises(UsageError, match=message):
        train(["--pretrained", "imagenet", *options.split(), *data])
    assert not server.requests
    if options:
        argv = [*options.split(), "--from", "torchvision", "--model-prefix", str(tmp_path / "net")]
        with pytest.raises(UsageError, match=message):
            convert(argv)


def test_names_that_mean_something_else_are_told(
    server: FileServer, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "imagenet-0003.params").write_bytes(b"")
    with pytest.raises(UsageError, match=r"a checkpoint here has that name, too: write \./imagenet"):
        train(["--pretrained", "imagenet", "--network", "resnet18", "--data-train", "no.rec"])
    for options in (["--from", "gluoncv"], []):
        with pytest.raises(UsageError, match="FILE is needed: only --from torchvision"):
            convert(["--network", "resnet18", "--model-prefix", "x", *options])
    for options in ({"classes": 10}, {"zero_gamma": True}):
        with pytest.raises(UsageError, match="pretrained weights are for 1000 classes"):
            get_model("resnet18", pretrained=True, **options)
    assert not server.requests
