"""Converted weights compute what they did: beside PyTorch's networks, MXNet's model zoo, GluonCV's CIFAR nets."""

from __future__ import annotations

import pathlib
import tarfile
from typing import Any

import numpy as np
import pytest

from gluon_resnet._mxnet import mx
from gluon_resnet.cli.convert import main
from gluon_resnet.data import decode
from gluon_resnet.models.parameters import write_arrays
from gluon_resnet.models.registry import split_variant
from gluon_resnet.models.saved import load_network
from tests.support.gluoncv_cifar import CifarNet
from tests.support.pictures import picture

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
STATISTICS = ["--rgb-mean", "123.675,116.28,103.53", "--rgb-std", "58.395,57.12,57.375"]


def pixels(size: int, images: int = 2) -> np.ndarray:
    """Different pictures, float32 from 0 to 255."""
    return np.stack([picture(size, size, seed).transpose(2, 0, 1) for seed in range(images)]).astype(
        np.float32
    )


def normalized(images: np.ndarray) -> np.ndarray:
    return (images - np.reshape(MEAN, (3, 1, 1)).astype("f4")) / np.reshape(STD, (3, 1, 1)).astype("f4")


def assert_alike(prefix: pathlib.Path, images: np.ndarray, expected: np.ndarray) -> None:
    """Logits within 1e-4 of the largest; and not by being all alike."""
    _, net = load_network(prefix)
    found = net(mx.nd.array(images)).asnumpy()
    assert np.ptp(expected, axis=0).max() > 0.01 * np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def torch_parity(
    folder: pathlib.Path, depth: int, size: int, projection: str = "", legacy: bool = False, images: int = 2
) -> None:
    torch = pytest.importorskip("torch")
    from tests.support.torch_resnet import random_net

    net = random_net(depth, 10, projection)
    path = folder / "net.pth"
    torch.save(net.state_dict(), path, _use_new_zipfile_serialization=not legacy)
    prefix = folder / "ours"
    assert (
        main([str(path), "--network", f"resnet{depth}", "--model-prefix", str(prefix), *STATISTICS]) is None
    )
    inputs = pixels(size, images)
    with torch.no_grad():
        expected = net(torch.from_numpy(normalized(inputs))).numpy()
    assert_alike(prefix, inputs, expected)


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
def test_torchvisions_networks_keep_their_logits(tmp_path: pathlib.Path, depth: int) -> None:
    torch_parity(tmp_path, depth, size=65, legacy=depth == 34)


def test_torchvisions_resnet50_keeps_its_logits_at_224(tmp_path: pathlib.Path) -> None:
    torch_parity(tmp_path, 50, size=224)


@pytest.mark.parametrize(("depth", "projection"), [(20, ""), (44, ""), (20, "shortcut")])
def test_akamasters_networks_keep_their_logits(tmp_path: pathlib.Path, depth: int, projection: str) -> None:
    torch_parity(tmp_path, depth, size=32, projection=projection, legacy=True)


def randomized(net: Any) -> Any:
    """The Gluon network with random weights, statistics and, where convolutions have them, biases."""
    random = np.random.default_rng(7)
    net.initialize()
    net(mx.nd.zeros((1, 3, 32, 32)))
    for parameter_name, parameter in net.collect_params().items():
        shape = parameter.shape
        value = random.normal(0, 0.2, shape)
        if parameter_name.endswith("weight"):
            value = random.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
        elif parameter_name.endswith(("gamma", "var")):
            value = (
                random.uniform(0.3, 0.7, shape)
                if "gamma" in parameter_name
                else random.uniform(0.5, 1.5, shape)
            )
        parameter.set_data(mx.nd.array(value))
    return net


WAYS_TO_SAVE = ("save_parameters", "export", "collect_params")


def saved(net: Any, saved_by: str, folder: pathlib.Path) -> str:
    path = folder / "zoo.params"
    if saved_by == "save_parameters":
        net.save_parameters(str(path))
    elif saved_by == "export":  # resnetv10_conv0_weight, with arg: and aux: in front
        net.hybridize()
        net(mx.nd.zeros((1, 3, 32, 32)))
        net.export(str(folder / "zoo"))
        path = folder / "zoo-0000.params"
    else:  # as Gluon wrote them before load_parameters: conv0_weight
        net.collect_params().save(str(path), strip_prefix=net.prefix)
    return str(path)


@pytest.mark.parametrize("saved_by", WAYS_TO_SAVE)
@pytest.mark.parametrize("name", ["resnet18_v1", "resnet50_v1", "resnet18_v2", "resnet50_v2"])
def test_mxnets_model_zoo_keeps_its_logits(tmp_path: pathlib.Path, name: str, saved_by: str) -> None:
    net = randomized(getattr(mx.gluon.model_zoo.vision, name)(classes=10))
    prefix = tmp_path / "ours"
    main([saved(net, saved_by, tmp_path), "--network", name, "--model-prefix", str(prefix)])
    images = pixels(65)
    assert_alike(prefix, images, net(mx.nd.array(normalized(images))).asnumpy())
    card, _ = load_network(prefix)
    assert (card.network, card.variant, card.shortcut) == (*split_variant(name), None)


@pytest.mark.parametrize("saved_by", WAYS_TO_SAVE)
@pytest.mark.parametrize("version", [1, 2])
def test_gluoncvs_cifar_nets_keep_their_logits(
    tmp_path: pathlib.Path, version: int, saved_by: str, capsys: pytest.CaptureFixture[str]
) -> None:
    net = randomized(CifarNet(20, version))
    path, prefix = saved(net, saved_by, tmp_path), tmp_path / "ours"
    main([path, "--network", "resnet20", "--model-prefix", str(prefix), *STATISTICS])
    assert f"resnet20_gluoncv_v{version} of GluonCV's cifar_resnet*_v{version}" in capsys.readouterr().err
    images = pixels(32)
    assert_alike(prefix, images, net(mx.nd.array(normalized(images))).asnumpy())
    card, _ = load_network(prefix)
    assert (card.network, card.variant, card.shortcut) == ("resnet20", f"gluoncv_v{version}", None)


@pytest.mark.parametrize("version", [1, 2])
def test_gluoncvs_cifar_nets_come_back_with_their_logits(tmp_path: pathlib.Path, version: int) -> None:
    net, prefix, back = randomized(CifarNet(20, version)), tmp_path / "ours", str(tmp_path / "back.params")
    path = saved(net, "save_parameters", tmp_path)
    main([path, "--network", "resnet20", "--model-prefix", str(prefix), *STATISTICS])
    main([back, "--to", "gluoncv", "--model-prefix", str(prefix)])
    again = CifarNet(20, version)
    again.load_parameters(back)
    names = again._collect_params_with_prefix()
    assert sorted(names) == sorted(net._collect_params_with_prefix())
    # What v2 normalizes the image with is in the card now, and printed for other programs.
    for name, parameter in net._collect_params_with_prefix().items():
        if version == 1 or not name.startswith("features.0."):
            assert names[name].data().asnumpy().tobytes() == parameter.data().asnumpy().tobytes(), name
    card, images = load_network(prefix)[0], pixels(32)
    mean, std = (np.reshape(values, (3, 1, 1)) for values in (card.mean, card.std))
    expected = net(mx.nd.array(normalized(images))).asnumpy()
    found = again(mx.nd.array((images - mean) / std)).asnumpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_gluoncvs_v1b_is_torchvisions_net_in_gluons_words(tmp_path: pathlib.Path) -> None:
    torch = pytest.importorskip("torch")
    from tests.support.torch_resnet import random_net

    net = random_net(50)
    words = {"weight": "gamma", "bias": "beta"}
    arrays = {}
    for name, tensor in net.state_dict().items():
        layer, word = name.rsplit(".", 1)
        if word != "num_batches_tracked":
            is_norm = f"{layer}.running_mean" in net.state_dict()
            arrays[f"{layer}.{words.get(word, word) if is_norm else word}"] = tensor.numpy()
    write_arrays(tmp_path / "v1b.params", arrays)
    main([str(tmp_path / "v1b.params"), "--network", "resnet50", "--model-prefix", str(tmp_path / "ours")])
    images = pixels(65)
    with torch.no_grad():
        assert_alike(tmp_path / "ours", images, net(torch.from_numpy(normalized(images))).numpy())
    assert load_network(tmp_path / "ours")[0].variant == "v1b"


# The errors are those of PyTorch with the same weights and preprocessing (README.md beside the data).
@pytest.mark.parametrize(
    ("name", "network", "error"),
    [
        ("resnet20-12fca82f.th", "resnet20", 18.97),
        pytest.param("resnet32-d509ac18.th", "resnet32", 17.44, marks=pytest.mark.slow),
    ],
)
def test_akamasters_weights_err_on_as_many_of_cifar10s_test_images_as_in_pytorch(
    real_data: pathlib.Path, tmp_path: pathlib.Path, name: str, network: str, error: float
) -> None:
    prefix = str(tmp_path / "ours")
    main([str(real_data / name), "--network", network, "--model-prefix", prefix, *STATISTICS])
    _, net = load_network(prefix)
    net.hybridize(static_alloc=True)
    with tarfile.open(real_data / "cifar10_test.tar.gz") as tar:
        files = [(pathlib.PurePath(m.name).parent.name, tar.extractfile(m).read()) for m in tar if m.isfile()]
    classes = sorted({label for label, _ in files})
    assert (len(files), len(classes)) == (10_000, 10)
    labels = np.array([classes.index(label) for label, _ in files])
    images = np.stack([decode(payload) for _, payload in files]).transpose(0, 3, 1, 2)
    batches = [mx.nd.array(images[start : start + 500], dtype="float32") for start in range(0, 10_000, 500)]
    found = np.concatenate([net(batch).asnumpy().argmax(1) for batch in batches])
    assert abs((found != labels).sum() - 100 * error) <= 5
