"""tools/convert.py: each tensor used once, the variant by the names, bit by bit back, or one sentence why not."""

from __future__ import annotations

import json
import pathlib
import struct
import sys
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from gluon_resnet._mxnet import mx
from gluon_resnet.cli.convert import main
from gluon_resnet.convert import export_weights, import_weights, read_weights, write_weights
from gluon_resnet.convert.layouts import LAYOUTS
from gluon_resnet.convert.names import our_layers
from gluon_resnet.errors import EnvironmentProblem, ModelError, UsageError
from gluon_resnet.models import ModelCard, get_model
from gluon_resnet.models.parameters import read_arrays, write_arrays
from gluon_resnet.models.saved import load_network, save_network
from gluon_resnet.models.units import VARIANTS

STATISTICS = ["--mean", "120,110.5,100", "--std", "60,61,62"]


def checkpoint(prefix: pathlib.Path, network: str, classes: int = 3, epoch: int = 0, **options: Any) -> str:
    """A network of ours with random values in every parameter."""
    card = ModelCard(
        network=network,
        classes=tuple(f"class {label}" for label in range(classes)),
        size=32,
        mean=(120.0, 110.5, 100.0),
        std=(60.0, 61.0, 62.0),
        **options,
    )
    net = card.build()
    net.initialize()
    random = np.random.default_rng(3)
    for name, parameter in net._collect_params_with_prefix().items():
        if not name.startswith("0."):
            parameter.set_data(mx.nd.array(random.uniform(0.5, 1.5, parameter.shape)))
    save_network(prefix, epoch, card, net)
    return str(prefix)


def torchvision_file(folder: pathlib.Path, network: str = "resnet18") -> pathlib.Path:
    path = folder / f"{network}.safetensors"
    prefix = checkpoint(folder / "source", network, variant="v1b")
    main([str(path), "--to", "torchvision", "--model-prefix", prefix])
    return path


def akamaster_file(folder: pathlib.Path, **options: Any) -> pathlib.Path:
    path = folder / "resnet20.safetensors"
    main(
        [
            str(path),
            "--to",
            "akamaster",
            "--model-prefix",
            checkpoint(folder / "source", "resnet20", **options),
        ]
    )
    return path


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
        *([("resnet18", "gluoncv", "params", {"variant": "v2"})] if "v2" in VARIANTS else []),
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
    if options.get("variant") == "v2":
        np.testing.assert_allclose(first.pop("0.std"), second.pop("0.std"), rtol=1e-6)
    for name, array in first.items():
        assert second[name].tobytes() == array.tobytes(), name
    cards = [read_json(f"{name}-model.json") for name in (prefix, back)]
    assert [card["network"] for card in cards] == [network] * 2
    assert cards[0]["variant"] == cards[1]["variant"]
    assert cards[0]["shortcut"] == cards[1]["shortcut"]
    assert main([file, "--network", network, "--model-prefix", back, "--from", source, *STATISTICS]) is None


def test_torchvisions_file_loads_into_a_network_of_its_names(tmp_path: pathlib.Path) -> None:
    torch = pytest.importorskip("torch")
    from torch_resnet import TorchResNet

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


def test_the_card_says_where_the_weights_are_from(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = akamaster_file(tmp_path)
    (tmp_path / "names.txt").write_text("cat\ndog\nfrog\n")
    capsys.readouterr()
    prefix = str(tmp_path / "new folder" / "net")
    argv = [str(path), "--network", "resnet20", "--model-prefix", prefix, *STATISTICS]
    main([*argv, "--classes-file", str(tmp_path / "names.txt")])
    card = ModelCard.load(f"{prefix}-model.json")
    assert (card.network, card.variant, card.shortcut) == ("resnet20", "v1", None)
    assert (card.classes, card.mean, card.std) == (("cat", "dog", "frog"), (120, 110.5, 100), (60, 61, 62))
    assert (card.resize, card.size, card.interpolation) == (None, 32, "linear")
    converted = card.training["converted"]
    assert converted["file"] == str(path)
    assert len(converted["sha256"]) == 64
    assert converted["source"] == "akamaster/pytorch_resnet_cifar10"
    assert converted["command"].startswith("tools/convert.py ")
    out, err = capsys.readouterr()
    assert out == f"wrote {prefix}-0000.params and {prefix}-model.json\n"
    assert "resnet20_v1 of akamaster" in err


def test_imagenet_nets_get_the_preprocessing_of_their_project(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, prefix = torchvision_file(tmp_path), str(tmp_path / "net")
    main([str(path), "--network", "resnet18", "--model-prefix", prefix])
    assert "--mean 123.675,116.28,103.53 --std 58.395,57.12,57.375 are put in" in capsys.readouterr().err
    card = ModelCard.load(f"{prefix}-model.json")
    assert (card.resize, card.size, card.classes) == (256, 224, ("0", "1", "2"))
    assert (card.mean, card.std) == ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
    options = ["--image-shape", "3,320,320", "--resize", "0", "--interpolation", "area"]
    main([str(path), "--network", "resnet18", "--model-prefix", prefix, *options])
    card = ModelCard.load(f"{prefix}-model.json")
    assert (card.resize, card.size, card.interpolation) == (None, 320, "area")


@pytest.mark.parametrize(("given", "variant"), [("resnet50", "v1b"), ("resnet50_v1b", "v1b")])
def test_torchvisions_bottlenecks_are_v1b_by_themselves(
    tmp_path: pathlib.Path, given: str, variant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main(
        [
            str(torchvision_file(tmp_path, "resnet50")),
            "--network",
            given,
            "--model-prefix",
            str(tmp_path / "net"),
        ]
    )
    card = ModelCard.load(tmp_path / "net-model.json")
    assert (card.network, card.variant) == ("resnet50", variant)
    assert "resnet50_v1b of torchvision" in capsys.readouterr().err


def test_the_name_decides_between_variants_that_are_the_same_function(tmp_path: pathlib.Path) -> None:
    path = torchvision_file(tmp_path, "resnet18")
    for given, variant in (("resnet18", "v1"), ("resnet18_v1", "v1"), ("resnet18_v1b", "v1b")):
        main([str(path), "--network", given, "--model-prefix", str(tmp_path / "net")])
        assert ModelCard.load(tmp_path / "net-model.json").variant == variant


@pytest.mark.parametrize(
    "options", [["--network", "resnet50_v1"], ["--network", "resnet50", "--variant", "v1"]]
)
def test_torchvisions_bottlenecks_are_not_v1(tmp_path: pathlib.Path, options: list[str]) -> None:
    path = torchvision_file(tmp_path, "resnet50")
    with pytest.raises(
        UsageError, match="torchvision are for resnet50_v1b: as resnet50_v1 they would compute another"
    ):
        main([str(path), *options, "--model-prefix", str(tmp_path / "net")])
    assert not list(tmp_path.glob("net*"))


def changed(path: pathlib.Path, change: Any) -> str:
    arrays = load_file(path)
    change(arrays)
    save_file(arrays, path)
    return str(path)


def refusal(argv: list[str], kind: type[Exception] = ModelError) -> str:
    with pytest.raises(kind) as caught:
        main(argv)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def rename(old: str, new: str) -> Any:
    return lambda arrays: arrays.update({new: arrays.pop(old)})


def put(name: str, value: Any) -> Any:
    return lambda arrays: arrays.update({name: np.asarray(value)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            rename("layer1.0.bn1.bias", "x"),
            "has layer1.0.bn1.bias, which the file lacks; the file has x, which",
        ),
        (lambda arrays: arrays.pop("linear.bias"), "has linear.bias, which the file lacks"),
        (
            put("layer4.0.conv1.weight", np.ones(3, "f4")),
            "the file has layer4.0.conv1.weight, which akamaster",
        ),
        (
            put("conv1.weight", np.ones((16, 3, 5, 5), "f4")),
            "conv1.weight: expected shape (16, 3, 3, 3), found (16, 3, 5",
        ),
        (put("bn1.bias", np.ones((16, 1), "f4")), "bn1.bias: expected shape (16,), found (16, 1)"),
        (
            put("linear.weight", np.ones((3, 65), "f4")),
            "linear.weight: expected shape (3, 64), found (3, 65)",
        ),
        (put("linear.weight", np.ones((0, 64), "f4")), "linear.weight has no classes"),
        (put("linear.weight", np.float32(1)), "linear.weight has no classes"),
        (put("linear.bias", np.ones(4, "f4")), "linear.bias: expected shape (3,), found (4,)"),
        (put("bn1.bias", np.ones(16, "i4")), "bn1.bias: expected real numbers, found int32"),
        (put("bn1.bias", np.full(16, np.nan, "f4")), "bn1.bias has values that are not finite"),
        (put("bn1.bias", np.full(16, 1e300)), "bn1.bias has values that are not finite"),
        (put("bn9.num_batches_tracked", 3), "tensor bn9.num_batches_tracked does not belong to akamaster"),
        (
            put("bn1.num_batches_tracked", 0.5),
            "bn1.num_batches_tracked: expected one integer, found float64 ()",
        ),
    ],
)
def test_a_tensor_that_does_not_fit_is_named(tmp_path: pathlib.Path, change: Any, message: str) -> None:
    path = changed(akamaster_file(tmp_path), change)
    prefix = str(tmp_path / "net")
    text = refusal([path, "--network", "resnet20", "--model-prefix", prefix, *STATISTICS])
    assert text.startswith(f"{path}: ")
    assert message in text
    assert not list(tmp_path.glob("net*"))


def test_counters_of_batches_may_be_missing_and_doubles_and_halves_are_numbers(
    tmp_path: pathlib.Path,
) -> None:
    def change(arrays: dict[str, np.ndarray]) -> None:
        for name in [name for name in arrays if name.endswith("num_batches_tracked")]:
            del arrays[name]
        arrays["bn1.bias"] = arrays["bn1.bias"].astype(np.float64)
        arrays["bn1.weight"] = np.arange(16, dtype=np.float16)

    before = import_weights(akamaster_file(tmp_path), "resnet20")
    after = import_weights(changed(tmp_path / "resnet20.safetensors", change), "resnet20")
    assert list(after.arrays) == list(before.arrays)
    assert {array.dtype for array in after.arrays.values()} == {np.dtype(np.float32)}
    assert after.arrays["1.features.1.gamma"].tolist() == list(range(16))
    assert np.array_equal(after.arrays["1.features.1.beta"], before.arrays["1.features.1.beta"])


def test_names_behind_module_are_the_same(tmp_path: pathlib.Path) -> None:
    path = akamaster_file(tmp_path)
    expected = import_weights(path, "resnet20").arrays
    arrays = load_file(path)
    save_file({f"module.{name}": array for name, array in arrays.items()}, path)
    found = import_weights(path, "resnet20").arrays
    assert all(np.array_equal(found[name], array) for name, array in expected.items())
    save_file({**arrays, "module.conv1.weight": arrays["conv1.weight"]}, path)
    with pytest.raises(ModelError, match="the file has module.conv1.weight, which"):
        import_weights(path, "resnet20")


def test_a_file_of_another_network_is_refused(tmp_path: pathlib.Path) -> None:
    akamaster, prefix = str(akamaster_file(tmp_path)), ["--model-prefix", str(tmp_path / "net"), *STATISTICS]
    assert "not the weights of resnet32: akamaster" in refusal([akamaster, "--network", "resnet32", *prefix])
    assert "not the weights of resnet18: torchvision" in refusal(
        [akamaster, "--network", "resnet18", *prefix]
    )
    text = refusal([akamaster, "--network", "resnet20", "--shortcut", "B", *prefix])
    assert "has layer2.0.shortcut.0.weight, layer2.0.shortcut.1.weight, layer2.0.shortcut.1.bias and" in text
    text = refusal([akamaster, "--network", "resnet20", "--from", "gluoncv", *prefix])
    assert "no resnet20 of GluonCV's" in text
    save_file({"a": np.ones(2, "f4"), "b": np.ones(2, "f4")}, tmp_path / "odd.safetensors")
    text = refusal([str(tmp_path / "odd.safetensors"), "--network", "resnet20", *prefix])
    assert text.endswith("akamaster/pytorch_resnet_cifar10 has tensors like a, b")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--network", "resnet20"], "--mean and --std are needed"),
        (["--network", "resnet20", "--mean", "1,2,3"], "--mean and --std go together"),
        (["--network", "resnet21", *STATISTICS], "there is no network 'resnet21'"),
        (
            ["--network", "plain20", *STATISTICS],
            "plain20: weights of others are known for residual networks alone",
        ),
        (
            ["--network", "resnet20", "--from", "torchvision", *STATISTICS],
            "torchvision has no resnet20: its nets are",
        ),
        (["--network", "resnet20", "--shortcut", "C", *STATISTICS], "has shortcuts of option C"),
        (["--network", "resnet20", "--variant", "v9", *STATISTICS], "there is no variant 'v9'"),
        (["--network", "resnet20_v1", "--variant", "v1b", *STATISTICS], "name two variants"),
        (["--network", "resnet20", "--std", "0,1,1", "--mean", "1,2,3"], "std: expected 3 positive numbers"),
        (["--network", "resnet20", "--interpolation", "best", *STATISTICS], "interpolation: expected one of"),
        (["--network", "resnet20", "--resize", "20", *STATISTICS], "size"),
        (["--network", "resnet20", "--epoch", "3", *STATISTICS], "--epoch goes with --to"),
        (STATISTICS, "--network is needed"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    tmp_path: pathlib.Path, options: list[str], message: str
) -> None:
    path = akamaster_file(tmp_path)
    assert message in refusal([str(path), "--model-prefix", str(tmp_path / "net"), *options], UsageError)
    assert not list(tmp_path.glob("net*"))


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["FILE"],
        ["FILE", "--network", "resnet20"],
        ["FILE", "--network", "resnet20", "--model-prefix", "x", "--mean", "1,2"],
        ["FILE", "--network", "resnet20", "--model-prefix", "x", "--image-shape", "3,32,33"],
        ["FILE", "--network", "resnet20", "--model-prefix", "x", "--resize", "-1"],
        ["FILE", "--to", "caffe", "--model-prefix", "x"],
        ["FILE", "OTHER", "--network", "resnet20", "--model-prefix", "x"],
    ],
)
def test_a_wrong_command_line_exits_with_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 2
    assert "convert.py: error: " in capsys.readouterr().err


@pytest.mark.parametrize("option", [["--network", "resnet20"], ["--from", "akamaster"], ["--mean", "1,2,3"]])
def test_options_of_reading_do_not_go_with_writing(tmp_path: pathlib.Path, option: list[str]) -> None:
    argv = [str(tmp_path / "x.safetensors"), "--to", "akamaster", "--model-prefix", "x", *option]
    assert f"{option[0]} does not go with --to" in refusal(argv, UsageError)


@pytest.mark.parametrize(
    ("network", "options", "source", "file", "message"),
    [
        (
            "resnet50",
            {},
            "torchvision",
            "x.pth",
            "torchvision has no resnet50 of variant v1: its nets compute another",
        ),
        ("resnet18", {"shortcut": "C"}, "torchvision", "x.pth", "has no resnet18 with shortcuts of option C"),
        ("resnet18", {"shortcut": "A"}, "gluoncv", "x.params", "has no resnet18 with shortcuts of option A"),
        (
            "resnet18",
            {"per_pixel_mean": True},
            "gluoncv",
            "x.params",
            "has a mean image inside, and files of gluoncv",
        ),
        ("resnet18", {}, "akamaster", "x.pth", "akamaster has no resnet18: its nets are for CIFAR"),
        ("resnet20", {"shortcut": "B"}, "gluoncv", "x.params", "GluonCV's CIFAR nets have no ReLU behind"),
        (
            "plain18",
            {},
            "torchvision",
            "x.pth",
            "plain18: weights of others are known for residual networks alone",
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


def test_trained_networks_and_other_files_are_not_replaced(tmp_path: pathlib.Path) -> None:
    path = akamaster_file(tmp_path)
    source = ["--model-prefix", str(tmp_path / "source")]
    assert "--force replaces it" in refusal([str(path), "--to", "akamaster", *source], UsageError)
    argv = [str(path), "--network", "resnet20", *STATISTICS, "--model-prefix"]
    trained = checkpoint(tmp_path / "trained", "resnet20", epoch=5)
    before = (tmp_path / "trained-model.json").read_bytes()
    assert "there is a network under" in refusal([*argv, trained], UsageError)
    assert (tmp_path / "trained-model.json").read_bytes() == before
    assert main([*argv, trained, "--force"]) is None
    # A second conversion replaces the first; not, if training went on from there.
    again = str(tmp_path / "again")
    main([*argv, again])
    main([*argv, again])
    card, net = load_network(again)
    save_network(again, 1, card, net)
    assert "there is a network under" in refusal([*argv, again], UsageError)


def test_without_pytorch_a_pth_is_read_and_not_written(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    path = tmp_path / "net.pth"
    torch.save({"a": torch.ones(2)}, path)
    monkeypatch.setitem(sys.modules, "torch", None)
    assert read_weights(path)["a"].tolist() == [1, 1]
    with pytest.raises(
        EnvironmentProblem, match=r"writing \.pth needs PyTorch: install it, or name a \.safetensors"
    ):
        write_weights(tmp_path / "other.pth", {"a": np.ones(2)})
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(EnvironmentProblem, match="needs safetensors"):
        write_weights(tmp_path / "other.safetensors", {"a": np.ones(2)})
    assert [file.name for file in tmp_path.iterdir()] == ["net.pth"]


def test_two_networks_never_have_the_same_names() -> None:
    """Else a file could be taken for another project's."""
    for network in ("resnet18", "resnet50", "resnet20"):
        seen: set[frozenset[str]] = set()
        for layout in LAYOUTS:
            if layout.imagenet == (network != "resnet20") and layout.variant in VARIANTS:
                for shortcut in layout.shortcuts:
                    layers = our_layers(get_model(network, 1, shortcut, layout.variant))
                    names = [name for _, tensors in layout.names.tensors(layers) for name in tensors.values()]
                    assert len(set(names)) == len(names)
                    assert frozenset(names) not in seen
                    seen.add(frozenset(names))


def test_export_gives_each_parameter_once(tmp_path: pathlib.Path) -> None:
    card, net = load_network(checkpoint(tmp_path / "ours", "resnet50", variant="v1b"))
    _, arrays = export_weights(card, net, "torchvision", "x.pth")
    weights = sum(array.size for name, array in arrays.items() if not name.endswith("num_batches_tracked"))
    ours = sum(
        np.prod(p.shape) for n, p in net._collect_params_with_prefix().items() if not n.startswith("0.")
    )
    assert weights == ours


def safetensors_bytes(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello, this is text",
        b"cos\nsystem\n(S'true'\ntR.",
        safetensors_bytes({"a": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 4]}}, bytes(4)),
        safetensors_bytes({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, bytes(4)),
        safetensors_bytes({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, bytes(8)),
        safetensors_bytes({"a": {"dtype": "F8_E5M2", "shape": [4], "data_offsets": [0, 4]}}, bytes(4)),
        safetensors_bytes(b"{"),
        struct.pack("<Q", 2**60) + b"{}",
    ],
)
def test_damaged_and_unknown_files_are_refused(tmp_path: pathlib.Path, data: bytes) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(data)
    with pytest.raises(ModelError) as caught:
        read_weights(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_safetensors_values_are_read_bit_by_bit(tmp_path: pathlib.Path) -> None:
    header = {"b": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}
    header["f"] = {"dtype": "F16", "shape": [2, 1], "data_offsets": [4, 8]}
    header["n"] = {"dtype": "I64", "shape": [], "data_offsets": [8, 16]}
    data = struct.pack("<HH", 0x3F80, 0xC040) + np.float16([0.1, -2]).tobytes() + struct.pack("<q", -5)
    (tmp_path / "a.safetensors").write_bytes(safetensors_bytes(header, data))
    found = read_weights(tmp_path / "a.safetensors")
    assert (found["b"].dtype, found["b"].tolist()) == (np.float32, [1, -3])
    assert (found["f"].dtype, found["f"].shape) == (np.float16, (2, 1))
    assert found["f"].tobytes() == np.float16([0.1, -2]).tobytes()
    assert (found["n"].shape, found["n"].item()) == ((), -5)


def test_mxnets_older_arrays_are_read_as_mxnet_reads_them(tmp_path: pathlib.Path) -> None:
    array = np.arange(6, dtype="<f4").reshape(2, 3)
    data = struct.pack("<3Q", 0x112, 0, 1) + struct.pack("<Ii2q3i", 0xF993FAC8, 2, 2, 3, 1, 0, 0)
    data += array.tobytes() + struct.pack("<QQ", 1, 5) + b"arg:w"
    path = tmp_path / "old.params"
    path.write_bytes(data)
    np.testing.assert_array_equal(mx.nd.load(str(path))["arg:w"].asnumpy(), array)
    np.testing.assert_array_equal(read_arrays(path)["arg:w"], array)
    assert list(read_weights(path)) == ["w"]


def test_a_name_twice_but_for_its_kind_is_refused(tmp_path: pathlib.Path) -> None:
    write_arrays(tmp_path / "a.params", {"arg:w": np.ones(1, "f4"), "w": np.ones(1, "f4")})
    with pytest.raises(ModelError, match="a name is there twice"):
        read_weights(tmp_path / "a.params")
