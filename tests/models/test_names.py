"""Names of networks as others write them: the nearest of ours is told, by get_model and by every tool."""

from __future__ import annotations

import importlib
import json
import pathlib

import pytest

from gluon_resnet import model_zoo
from gluon_resnet.errors import UsageError
from gluon_resnet.models import get_model
from gluon_resnet.models.registry import describe
from gluon_resnet.reproduction.nets import planned_nets


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("ResNet50", "did you mean resnet50?"),
        ("resnet-50", "did you mean resnet50?"),
        ("ResNet-50_v1b", "did you mean resnet50?"),  # the variant was understood
        ("resnet50v1b", "did you mean resnet50_v1b?"),
        ("ResNet50V2", "did you mean resnet50_v2?"),
        ("CIFAR_ResNet20_v1", "did you mean resnet20_gluoncv_v1?"),
        ("cifar_resnet56v2", "did you mean resnet56_gluoncv_v2?"),
        ("VGG-16", "did you mean vgg16?"),
        ("Inception-BN", "did you mean bn_inception?"),
        ("resnet50_v1d", "did you mean resnet50_v1 or resnet50_v1b"),
        ("resnet", "add its depth, resnet50, or --num-layers 50"),
        ("resnet21", "choose one of resnet18, .* depth 6n"),
        ("alexnet", "choose one of resnet18"),
        ("x" * 100_000, "choose one of resnet18"),
    ],
    ids=lambda text: text[:20],
)
def test_the_nearest_names_are_told(written: str, meant: str) -> None:
    with pytest.raises(UsageError, match=f"there is no network '.*': {meant}".replace("?", r"\?")) as caught:
        get_model(written)
    assert len(str(caught.value)) < 600


def test_a_name_may_have_the_variant_behind_it() -> None:
    assert "resnet8" in get_model("resnet8_v1b", 2).name
    assert get_model("resnet8_gluoncv_v2", 2, variant="gluoncv_v2") is not None
    with pytest.raises(UsageError, match="name different variants"):
        get_model("cifar_resnet20_v1", variant="v1")
    with pytest.raises(UsageError, match="name different variants"):
        get_model("resnet8_v1", variant="v2")
    with pytest.raises(UsageError, match=r"'resnet50v1b': did you mean resnet50_v1b\?"):
        describe("resnet50v1b")


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("cifar_resnet8_v1", ("resnet8", "gluoncv_v1")),
        ("cifar_resnet8_v2", ("resnet8", "gluoncv_v2")),
        ("resnet50_v1b", ("resnet50", "v1b")),
        ("inception-bn", ("bn_inception", "v1")),
    ],
)
def test_names_of_gluoncv_and_mxnet_are_names_here(
    theirs: str, ours: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    name, variant = ours
    expected = get_model(name, 10, variant=variant)
    found, of_zoo = get_model(theirs, 10), model_zoo.get_model(theirs, 10)
    assert type(found) is type(of_zoo) is type(expected)
    shapes = [{key: p.shape for key, p in net.collect_params().items()} for net in (found, of_zoo, expected)]
    assert shapes[0] == shapes[1] == shapes[2]
    assert importlib.import_module("gluon_resnet.cli.summary").main([theirs, "--json"]) is None
    (network,) = json.loads(capsys.readouterr().out)["networks"]
    assert (network["network"], network["variant"]) == ours


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("train", "--network {} --data-train x.rec"),
        ("train", "--network {} --pretrained imagenet --data-train x.rec"),
        ("train", "--network {} --benchmark"),
        ("convert", "x.pth --network {} --model-prefix x"),
        ("convert", "--from torchvision --network {} --model-prefix x"),
        ("summary", "{}"),
    ],
)
def test_every_tool_tells_the_nearest_names(
    tool: str, arguments: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    main = importlib.import_module(f"gluon_resnet.cli.{tool}").main
    with pytest.raises(UsageError, match=r"there is no network 'resnet-20': did you mean resnet20\?"):
        main(arguments.format("resnet-20").split())
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UsageError, match=r"did you mean resnet20\?"):
        planned_nets(["resnet-20"], "A")  # reproduce.py --nets
