"""tools/convert.py --to: bit by bit there and back, or one sentence why not."""

from __future__ import annotations

import json
import os
import pathlib
from typing import Any

import numpy as np
import pytest

from gluon_resnet._mxnet import mx
from gluon_resnet.cli.convert import main
from gluon_resnet.convert import export_weights
from gluon_resnet.errors import UsageError
from gluon_resnet.models.parameters import read_arrays
from gluon_resnet.models.saved import load_network
from tests.support.foreign import STATISTICS, checkpoint, refusal


def read_json(path: str) -> Any:
    return json.loads(pathlib.Path(path).read_text())


@pytest.mark.parametrize(
    ("network", "source", "ending", "options"),
    [
        ("resnet18", "torchvision", "pth", {}),
        ("resnet50", "torchvision", "safetensors", {"variant": "v1b"}),
        ("resnet20", "akamaster", "th", {}),
        ("resnet20", "akamaster", "safetensors", {"shortcut": "B"}),
        ("resnet34", "gluoncv", "params", {}),
        ("resnet50", "gluoncv", "params", {}),
        ("resnet50", "gluoncv", "safetensors", {"variant": "v1b"}),
        ("resnet18", "gluoncv", "params", {"variant": "v2"}),
        ("resnet20", "gluoncv", "params", {"variant": "gluoncv_v1"}),
        ("resnet20", "gluoncv", "safetensors", {"variant": "gluoncv_v2"}),
    ],
)
def test_there_and_back_is_the_same_bit_by_bit(
    tmp_path: pathlib.Path, network: str, source: str, ending: str, options: dict[str, str]
) -> None:
    if ending in ("pth", "th"):
        pytest.importorskip("torch")
    prefix, file = checkpoint(tmp_path / "ours", network, **options), str(tmp_path / f"theirs.{ending}")
    assert main(["--model-prefix", prefix, "--to", source, file]) is None
    back = str(tmp_path / "back")
    assert main([file, "--network", network, "--model-prefix", back, *STATISTICS]) is None
    first, second = read_arrays(f"{prefix}-0000.params"), read_arrays(f"{back}-0000.params")
    assert list(first) == list(second)
    # The image's own normalization in GluonCV's v2 nets cannot be without any effect, but for rounding.
    if options.get("variant") in ("v2", "gluoncv_v2"):
        np.testing.assert_allclose(first.pop("0.std"), second.pop("0.std"), rtol=1e-6)
    for name, array in first.items():
        assert second[name].tobytes() == array.tobytes(), name
    cards = [read_json(f"{name}-model.json") for name in (prefix, back)]
    assert [card["network"] for card in cards] == [network] * 2
    assert cards[0]["variant"] == cards[1]["variant"]
    assert cards[0]["shortcut"] == cards[1]["shortcut"]
    assert main([file, "--network", network, "--model-prefix", back, "--from", source, *STATISTICS]) is None


def test_a_checkpoint_without_a_card_is_written_when_its_network_is_named(tmp_path: pathlib.Path) -> None:
    prefix = checkpoint(tmp_path / "ours", "resnet20", variant="gluoncv_v1")
    argv = ["--model-prefix", prefix, "--to", "gluoncv"]
    files = [str(tmp_path / name) for name in ("with.params", "without.params")]
    main([*argv, files[0]])
    assert "--network cannot be used with --to" in refusal(
        [*argv, files[1], "--network", "resnet20"], UsageError
    )
    os.unlink(f"{prefix}-model.json")
    assert "give --network as well" in refusal([*argv, files[1]], UsageError)
    assert "--rgb-mean cannot be used" in refusal(
        [*argv, files[1], "--rgb-mean", "1,2,3", "--network", "resnet20"], UsageError
    )
    main([*argv, files[1], "--network", "resnet20_gluoncv_v1"])
    first, second = map(read_arrays, files)
    assert {name: array.tobytes() for name, array in first.items()} == {
        name: array.tobytes() for name, array in second.items()
    }


def test_torchvisions_file_loads_into_a_network_of_its_names(tmp_path: pathlib.Path) -> None:
    torch = pytest.importorskip("torch")
    from tests.support.torch_resnet import TorchResNet

    path = str(tmp_path / "net.pth")
    main([path, "--to", "torchvision", "--model-prefix", checkpoint(tmp_path / "ours", "resnet18")])
    net = TorchResNet(18, 3)
    net.load_state_dict(torch.load(path, weights_only=True), strict=True)
    assert set(torch.load(path)) == set(net.state_dict())


def test_gluons_own_net_loads_the_file_for_gluoncv(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "net.params")
    main([path, "--to", "gluoncv", "--model-prefix", checkpoint(tmp_path / "ours", "resnet50")])
    net = mx.gluon.model_zoo.vision.resnet50_v1(classes=3)
    net.load_parameters(path)
    assert not net.features[4][0].body[0].bias.data().asnumpy().any()


@pytest.mark.parametrize("option", [["--resize", "36"], ["--from", "akamaster"], ["--rgb-mean", "1,2,3"]])
def test_options_of_reading_do_not_go_with_writing(tmp_path: pathlib.Path, option: list[str]) -> None:
    argv = [str(tmp_path / "x.safetensors"), "--to", "akamaster", "--model-prefix", "x", *option]
    assert f"{option[0]} cannot be used with --to" in refusal(argv, UsageError)


@pytest.mark.parametrize(
    ("network", "options", "source", "file", "message"),
    [
        (
            "resnet50",
            {},
            "torchvision",
            "x.pth",
            "torchvision has no resnet50 of variant v1: its nets compute a different",
        ),
        ("resnet18", {"shortcut": "C"}, "torchvision", "x.pth", "has no resnet18 with shortcuts of option C"),
        ("resnet18", {"shortcut": "A"}, "gluoncv", "x.params", "has no resnet18 with shortcuts of option A"),
        (
            "resnet18",
            {"per_pixel_mean": True},
            "gluoncv",
            "x.params",
            "contains a mean image, which files of gluoncv",
        ),
        ("resnet18", {}, "akamaster", "x.pth", "akamaster has no resnet18: its nets are for CIFAR"),
        (
            "resnet20",
            {"shortcut": "B"},
            "gluoncv",
            "x.params",
            "gluoncv has no resnet20 of variant v1: its nets",
        ),
        (
            "resnet20",
            {"variant": "gluoncv_v1", "shortcut": "A"},
            "gluoncv",
            "x.params",
            "gluoncv has no resnet20 with shortcuts of option A",
        ),
        (
            "resnet20",
            {"variant": "gluoncv_v1"},
            "akamaster",
            "x.th",
            "akamaster has no resnet20 of variant gluoncv_v1",
        ),
        ("resnet20", {"variant": "gluoncv_v2"}, "gluoncv", "x.th", "are written as .params or .safetensors"),
        (
            "plain18",
            {},
            "torchvision",
            "x.pth",
            "plain18: other projects' weights are known only for residual networks",
        ),
        (
            "resnet18",
            {},
            "torchvision",
            "x.params",
            "torchvision are written as .pth or .pt or .th or .safetensors",
        ),
        ("resnet18", {}, "gluoncv", "x", "are written as .params or .safetensors"),
    ],
)
def test_what_the_other_project_has_not_is_not_written(
    tmp_path: pathlib.Path, network: str, options: dict[str, Any], source: str, file: str, message: str
) -> None:
    prefix = checkpoint(tmp_path / "ours", network, **options)
    argv = [str(tmp_path / file), "--to", source, "--model-prefix", prefix]
    assert message in refusal(argv, UsageError)
    assert not (tmp_path / file).exists()


def test_mean_and_std_are_printed_where_the_file_has_no_place_for_them(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prefix = checkpoint(tmp_path / "ours", "resnet20", epoch=3)
    checkpoint(tmp_path / "ours", "resnet20", epoch=12)
    path = tmp_path / "new" / "x.safetensors"
    main([str(path), "--to", "akamaster", "--model-prefix", prefix])
    out = capsys.readouterr().out
    assert out.startswith(f"wrote epoch 12 as {path}")
    assert "pixels from 0 to 255: mean 120,110.5,100 std 60,61,62" in out
    assert "pixels from 0 to 1: mean 0.470588,0.433333,0.392157 std 0.235294" in out
    main([str(path), "--to", "akamaster", "--model-prefix", prefix, "--epoch", "3", "--force"])
    assert capsys.readouterr().out.startswith("wrote epoch 3 as")


def test_export_gives_each_parameter_once(tmp_path: pathlib.Path) -> None:
    card, net = load_network(checkpoint(tmp_path / "ours", "resnet50", variant="v1b"))
    _, arrays = export_weights(card, net, "torchvision", "x.pth")
    weights = sum(array.size for name, array in arrays.items() if not name.endswith("num_batches_tracked"))
    ours = sum(
        np.prod(p.shape) for n, p in net._collect_params_with_prefix().items() if not n.startswith("0.")
    )
    assert weights == ours
