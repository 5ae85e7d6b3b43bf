"""tools/convert.py: the card, the variant by the names, and options that do not go together."""

from __future__ import annotations

import hashlib
import pathlib

import pytest

from gluon_resnet.card import ModelCard
from gluon_resnet.cli.convert import main
from gluon_resnet.errors import GluonResnetError, UsageError
from gluon_resnet.models.saved import load_network, save_network
from tests.support.foreign import (
    STATISTICS,
    akamaster_file,
    checkpoint,
    gluoncv_cifar_file,
    refusal,
    torchvision_file,
)


def test_the_card_says_where_the_weights_are_from(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = akamaster_file(tmp_path)
    (tmp_path / "names.txt").write_text("cat\ndog\nfrog\n")
    capsys.readouterr()
    prefix = str(tmp_path / "new folder" / "net")
    argv = [str(path), "--network", "resnet20", "--model-prefix", prefix, *STATISTICS]
    main([*argv, "--class-names", str(tmp_path / "names.txt")])
    card = ModelCard.load(f"{prefix}-model.json")
    assert (card.network, card.variant, card.shortcut) == ("resnet20", "v1", None)
    assert (card.classes, card.mean, card.std) == (("cat", "dog", "frog"), (120, 110.5, 100), (60, 61, 62))
    assert (card.resize, card.size, card.interpolation) == (None, 32, "linear")
    assert card.source.file == str(path)
    assert card.source.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert card.source.project == "akamaster/pytorch_resnet_cifar10"
    assert card.source.command.startswith("tools/convert.py ")
    assert card.decoder is None  # nobody knows what its project decoded with
    assert set(card.versions) == {"gluon_resnet", "mxnet", "numpy", "libjpeg-turbo", "python"}
    out, err = capsys.readouterr()
    assert out == f"wrote {prefix}-0000.params and {prefix}-model.json\n"
    assert "resnet20_v1 of akamaster" in err


@pytest.mark.parametrize(("std", "noted"), [("0.229,0.224,0.225", True), ("58.395,57.12,57.375", False)])
def test_a_deviation_of_pixels_from_0_to_1_is_noted(
    tmp_path: pathlib.Path, std: str, noted: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = [
        "--network",
        "resnet20",
        "--model-prefix",
        str(tmp_path / "net"),
        "--rgb-mean",
        "0,0,0",
        "--rgb-std",
        std,
    ]
    main([str(akamaster_file(tmp_path)), *argv])
    assert (
        "taken to be for pixels from 0 to 255; if meant for 0 to 1, multiply by 255"
        in capsys.readouterr().err
    ) == noted


def test_imagenet_nets_get_the_preprocessing_of_their_project(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, prefix = torchvision_file(tmp_path), str(tmp_path / "net")
    main([str(path), "--network", "resnet18", "--model-prefix", prefix])
    assert (
        "--rgb-mean 123.675,116.28,103.53 --rgb-std 58.395,57.12,57.375 are assumed"
        in capsys.readouterr().err
    )
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


@pytest.mark.parametrize(
    "options",
    [
        ["--network", "resnet20"],
        ["--network", "resnet20_gluoncv_v2"],
        ["--network", "resnet20", "--variant", "gluoncv_v2"],
        ["--network", "resnet20_gluoncv_v2", "--variant", "gluoncv_v2", "--shortcut", "B"],
    ],
)
def test_gluoncvs_cifar_nets_are_a_variant_of_their_own(
    tmp_path: pathlib.Path, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = gluoncv_cifar_file(tmp_path, version=2)
    main([str(path), *options, "--model-prefix", str(tmp_path / "net"), *STATISTICS])
    card = ModelCard.load(tmp_path / "net-model.json")
    assert (card.network, card.variant, card.shortcut) == ("resnet20", "gluoncv_v2", None)
    assert "resnet20_gluoncv_v2 of GluonCV's cifar_resnet*_v2" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--network resnet20_v1", "_v1 are for resnet20_gluoncv_v1: as resnet20_v1 they would compute"),
        ("--network resnet20 --variant gluoncv_v2", "resnet20_gluoncv_v1: as resnet20_gluoncv_v2 they would"),
        ("--network resnet20_gluoncv_v1 --variant v1", "name different variants"),
        ("--network resnet18_gluoncv_v1", "is only for residual CIFAR nets (resnet20, ...)"),
        (
            "--network resnet20 --shortcut A",
            "no resnet20 of akamaster/pytorch_resnet_cifar10 has tensors like",
        ),
    ],
)
def test_gluoncvs_cifar_nets_are_no_others(tmp_path: pathlib.Path, options: str, message: str) -> None:
    path = str(gluoncv_cifar_file(tmp_path))
    argv = [path, *options.split(), "--model-prefix", str(tmp_path / "net"), *STATISTICS]
    assert message in refusal(argv, GluonResnetError)
    assert not list(tmp_path.glob("net*"))


def test_what_a_project_normalized_its_cifar_images_with_is_shown(tmp_path: pathlib.Path) -> None:
    for path, own in ((akamaster_file(tmp_path), "123.675"), (gluoncv_cifar_file(tmp_path), "125.307")):
        argv = [str(path), "--network", "resnet20", "--model-prefix", str(tmp_path / "net")]
        assert f"'s own: --rgb-mean {own}," in refusal(argv, UsageError)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--network", "resnet20"], "--rgb-mean and --rgb-std are needed"),
        (["--network", "resnet20", "--rgb-mean", "1,2,3"], "give both --rgb-mean and --rgb-std, or neither"),
        (["--network", "resnet21", *STATISTICS], "there is no network 'resnet21'"),
        (
            ["--network", "plain20", *STATISTICS],
            "plain20: other projects' weights are known only for residual networks",
        ),
        (
            ["--network", "resnet20", "--from", "torchvision", *STATISTICS],
            "torchvision has no resnet20: its nets are",
        ),
        (["--network", "resnet20", "--shortcut", "C", *STATISTICS], "has shortcuts of option C"),
        (["--network", "resnet20", "--variant", "v9", *STATISTICS], "there is no variant 'v9'"),
        (["--network", "resnet20_v1", "--variant", "v1b", *STATISTICS], "name different variants"),
        (
            ["--network", "resnet20", "--rgb-std", "0,1,1", "--rgb-mean", "1,2,3"],
            "std: expected 3 positive numbers",
        ),
        (["--network", "resnet20", "--interpolation", "best", *STATISTICS], "interpolation: expected one of"),
        (["--network", "resnet20", "--resize", "20", *STATISTICS], "size"),
        (["--network", "resnet20", "--epoch", "3", *STATISTICS], "--epoch requires --to"),
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
        ["FILE", "--network", "resnet20", "--model-prefix", "x", "--rgb-mean", "1,2"],
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


def test_trained_networks_and_other_files_are_not_replaced(tmp_path: pathlib.Path) -> None:
    path = akamaster_file(tmp_path)
    source = ["--model-prefix", str(tmp_path / "source")]
    assert "give --force to replace it" in refusal([str(path), "--to", "akamaster", *source], UsageError)
    argv = [str(path), "--network", "resnet20", *STATISTICS, "--model-prefix"]
    trained = checkpoint(tmp_path / "trained", "resnet20", epoch=5)
    before = (tmp_path / "trained-model.json").read_bytes()
    assert "there is already a network under" in refusal([*argv, trained], UsageError)
    assert (tmp_path / "trained-model.json").read_bytes() == before
    assert main([*argv, trained, "--force"]) is None
    # A second conversion replaces the first; not, if training went on from there.
    again = str(tmp_path / "again")
    main([*argv, again])
    main([*argv, again])
    card, net = load_network(again)
    save_network(again, 1, card, net)
    assert "there is already a network under" in refusal([*argv, again], UsageError)
