"""--pretrained and --freeze: what of a trained network stays, what is new, and how a stopped run goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from gluon_resnet._mxnet import gluon, mx
from gluon_resnet.card import ModelCard
from gluon_resnet.cli.train import main
from gluon_resnet.deploy import Predictor
from gluon_resnet.deploy.export import export
from gluon_resnet.errors import GluonResnetError, ModelError, UsageError
from gluon_resnet.models import build_network
from gluon_resnet.models.parameters import read_arrays
from gluon_resnet.models.saved import load_network, save_network
from gluon_resnet.runs import run
from gluon_resnet.training.trainer import Trainer
from gluon_resnet.training.transfer import Pretrained, freeze, head_of
from tests.support.fakes import FakeLoader, tiny_net
from tests.support.paths import ROOT
from tests.support.pictures import encode, write_records

TOOL = ROOT / "tools" / "train.py"


def trained(prefix, epoch=3, classes=5, pixels=False, **values):
    """A small network on disk whose running statistics are not those of the beginning."""
    card = ModelCard(
        network="resnet8",
        classes=tuple(f"old {label}" for label in range(classes)),
        size=16,
        mean=(100.0, 110.0, 120.0),
        std=(50.0, 60.0, 70.0),
        **{"resize": 18, "interpolation": "cubic", "per_pixel_mean": pixels, **values},
    )
    mx.random.seed(epoch)
    random = np.random.default_rng(epoch)
    net = build_network(card, random.uniform(90, 130, (3, 16, 16)) if pixels else None)
    net.initialize()
    for _ in range(3):
        with mx.autograd.record():
            net(mx.nd.array(random.uniform(0, 255, (8, 3, 16, 16))))
    save_network(prefix, epoch, card, net)
    return card


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> list[str]:
    """The options of a short run on images of 4 classes."""
    random, payloads = np.random.default_rng(0), []
    folder = tmp_path_factory.mktemp("records")
    for _ in range(48):
        payloads.append(encode(random.integers(0, 256, (20, 20, 3), dtype=np.uint8), ".png"))
    (folder / "a.classes").write_text("top\nbottom\nred\nblue\n")
    path = write_records(folder / "a.rec", payloads, [index % 4 for index in range(48)])
    options = (
        f"--recipe cifar10 --batch-size 16 --lr 0.05 --data-nthreads 1 --data-train {path} --data-val {path}"
    )
    return [*options.split(), "--num-epochs", "2"]


@pytest.fixture
def source(tmp_path) -> str:
    trained(tmp_path / "old")
    return str(tmp_path / "old")


def changed(before, after):
    """The names of the arrays that are not the same bytes."""
    assert set(before) == set(after)
    return {name for name in before if before[name].tobytes() != after[name].tobytes()}


def is_head(name):
    return name.startswith("1.output.")


@pytest.mark.parametrize("devices", [1, 3])
def test_frozen_all_but_the_head_stays_bit_for_bit(data, source, tmp_path, capsys, devices):
    prefix = str(tmp_path / "new")
    options = [
        "--pretrained",
        source,
        "--num-classes",
        "4",
        "--freeze",
        "--cpus",
        str(devices),
        "--wd",
        "0.1",
    ]
    assert main([*data, *options, "--model-prefix", prefix]) is None
    old, new = read_arrays(f"{source}-0003.params"), read_arrays(f"{prefix}-0002.params")
    assert changed(old, new) == {"1.output.weight", "1.output.bias"}
    assert new["1.output.weight"].shape == (4, 64)
    assert (
        f"weights are taken from {source}-0003.params; the head, for 4 classes, is new"
        in capsys.readouterr().err
    )
    first = read_arrays(f"{prefix}-0001.params")
    assert changed(first, new) == {"1.output.weight", "1.output.bias"}  # it learns


def test_without_freeze_everything_is_trained(data, source, tmp_path):
    prefix = str(tmp_path / "new")
    assert main([*data, "--pretrained", source, "--model-prefix", prefix, "--lr", "1e-5"]) is None
    old, new = read_arrays(f"{source}-0003.params"), read_arrays(f"{prefix}-0002.params")
    assert changed(old, new) == set(old) - {"0.mean", "0.std"}
    for name in old:
        if name.endswith("weight") and not is_head(name):  # from there, not from somewhere else
            np.testing.assert_allclose(new[name], old[name], rtol=0, atol=1e-3)


def test_the_card_says_how_images_are_prepared(data, source, tmp_path):
    prefix = str(tmp_path / "new")
    options = [*data, "--pretrained", source, "--model-prefix", prefix, "--num-epochs", "1"]
    assert main(options) is None
    old, card = ModelCard.load(f"{source}-model.json"), ModelCard.load(f"{prefix}-model.json")
    for name in ("network", "shortcut", "variant", "size", "resize", "interpolation", "mean", "std"):
        assert getattr(card, name) == getattr(old, name), name
    assert card.classes == ("top", "bottom", "red", "blue")

    other = ["--image-shape", "3,24,24", "--rgb-mean", "1,2,3", "--model-prefix", f"{prefix}2"]
    assert main([*options, *other]) is None
    card = ModelCard.load(f"{prefix}2-model.json")
    assert (card.size, card.resize, card.mean, card.std) == (24, 27, (1, 2, 3), old.std)
    assert read_arrays(f"{prefix}2-0001.params")["0.mean"].ravel().tolist() == [1, 2, 3]


def test_a_network_without_a_card_is_told_by_the_options(data, source, tmp_path):
    with_card, prefix = str(tmp_path / "with"), str(tmp_path / "without")
    options = [*data, "--pretrained", source, "--num-epochs", "1", "--model-prefix"]
    assert main([*options, with_card]) is None
    os.unlink(f"{source}-model.json")
    with pytest.raises(UsageError, match="there is no .*old-model.json: give --network and --image-shape"):
        main([*options, prefix, "--network", "resnet8"])
    assert main([*options, prefix, "--network", "resnet8", "--image-shape", "3,16,16"]) is None
    card = ModelCard.load(f"{prefix}-model.json")
    assert (card.network, card.size, card.mean, card.std) == ("resnet8", 16, (100, 110, 120), (50, 60, 70))
    assert card.resize is None  # the recipe's
    # Trained on the same images, for which the card's interpolation does not matter.
    arrays = [read_arrays(f"{name}-0001.params") for name in (with_card, prefix)]
    assert not changed(*arrays)
    with pytest.raises(ModelError, match=r"old-0003\.params"):
        main([*options, f"{prefix}2", "--network", "resnet14", "--image-shape", "3,16,16"])


def test_a_mean_image_is_kept_unless_it_does_not_fit(data, tmp_path, capsys):
    source, prefix = str(tmp_path / "old"), str(tmp_path / "new")
    trained(source, pixels=True)
    options = [*data, "--pretrained", source, "--num-epochs", "1", "--model-prefix"]
    assert main([*options, prefix]) is None
    old, new = read_arrays(f"{source}-0003.params"), read_arrays(f"{prefix}-0001.params")
    assert old["0.mean"].std() > 5
    assert old["0.mean"].tobytes() == new["0.mean"].tobytes()
    assert ModelCard.load(f"{prefix}-model.json").per_pixel_mean
    assert "mean image" not in capsys.readouterr().err

    assert main([*options, f"{prefix}2", "--image-shape", "3,24,24"]) is None
    assert "the mean image has 16x16 pixels, so its average is subtracted instead" in capsys.readouterr().err
    assert read_arrays(f"{prefix}2-0001.params")["0.mean"].ravel().tolist() == [100, 110, 120]
    assert main([*options, f"{prefix}3", "--rgb-mean", "7,8,9"]) is None
    assert read_arrays(f"{prefix}3-0001.params")["0.mean"].ravel().tolist() == [7, 8, 9]


def test_an_epoch_can_be_named_and_the_head_is_new_for_as_many_classes_too(data, tmp_path, capsys):
    source, prefix = str(tmp_path / "a:b"), str(tmp_path / "new")
    for epoch in (3, 12):
        trained(source, epoch, classes=4)
    options = [*data, "--freeze", "--num-epochs", "1", "--lr", "0", "--model-prefix"]
    for name, epoch in ((source, 12), (f"{source}:3", 3)):
        assert main([*options, f"{prefix}{epoch}", "--pretrained", name]) is None
        old, new = read_arrays(f"{source}-{epoch:04d}.params"), read_arrays(f"{prefix}{epoch}-0001.params")
        assert changed(old, new) == {"1.output.weight"}  # biases begin at 0
        assert 0.5 < new["1.output.weight"].std() / np.sqrt(2 / 64) < 1.5  # He
        assert "the head, for 4 classes, is new" in capsys.readouterr().err


@pytest.mark.parametrize("frozen", [True, False])
def test_a_stopped_run_goes_on_to_the_same_bytes(data, source, tmp_path, monkeypatch, frozen):
    options = [*data, "--pretrained", source, *["--freeze"] * frozen, "--cpus", "2", "--model-prefix"]
    assert main([*options, str(tmp_path / "whole")]) is None

    class StopAfterFour(run.StopRequest):
        asked = 0

        def __call__(self):
            self.asked += 1
            return self.asked > 4

    with monkeypatch.context() as patch:
        patch.setattr(run, "StopRequest", StopAfterFour)
        assert main([*options, str(tmp_path / "stopped")]) == 143
    assert 0 < json.loads((tmp_path / "stopped-resume.json").read_text())["position"]["iteration"] < 6
    with pytest.raises(UsageError, match="another freeze"):
        other = [option for option in options if option != "--freeze"] if frozen else ["--freeze", *options]
        main([*other, str(tmp_path / "stopped"), "--resume"])
    trained(tmp_path / "old", epoch=3, pixels=False)  # the same again; newer ones change nothing
    trained(tmp_path / "old", epoch=4)
    assert main([*options, str(tmp_path / "stopped"), "--resume"]) is None
    whole, stopped = (tmp_path / f"{name}-0002.params" for name in ("whole", "stopped"))
    assert whole.read_bytes() == stopped.read_bytes()


def test_the_trained_network_is_exported_as_any_other(data, source, tmp_path):
    prefix = str(tmp_path / "new")
    assert main([*data, "--pretrained", source, "--freeze", "--model-prefix", prefix]) is None
    export(prefix, 2, tmp_path / "out")
    normalizations = [
        node["attrs"]["use_global_stats"]
        for node in json.loads((tmp_path / "out-symbol.json").read_text())["nodes"]
        if node["op"] == "BatchNorm"
    ]
    assert set(normalizations) == {"False"}
    image = np.random.default_rng(0).integers(0, 256, (1, 3, 16, 16)).astype("float32")
    _, net = load_network(prefix)
    exported = gluon.SymbolBlock.imports(
        str(tmp_path / "out-symbol.json"), ["data"], str(tmp_path / "out-0000.params")
    )
    np.testing.assert_allclose(
        exported(mx.nd.array(image)).asnumpy(), net(mx.nd.array(image)).asnumpy(), rtol=1e-5, atol=1e-5
    )
    assert Predictor(str(tmp_path / "out")).card.classes == ("top", "bottom", "red", "blue")


def test_a_frozen_network_takes_the_steps_of_its_head_alone(source):
    """The oracle: a dense layer on the features, in NumPy."""
    _, net = load_network(source)
    freeze(net)
    head = net[1].output
    weight, bias = (p.data().asnumpy().astype("float64") for p in (head.weight, head.bias))
    trainer = Trainer(net, [mx.cpu()], 5, momentum=0.9, weight_decay=0.01)
    momenta = [name for name in trainer.state() if name.endswith(":momentum")]
    assert sorted(momenta) == ["1.output.bias:momentum", "1.output.weight:momentum"]
    velocity, meter = [np.zeros_like(weight), np.zeros_like(bias)], trainer.new_meter()
    for batch in FakeLoader(3, classes=5):
        features = net[1].features(net[0](mx.nd.array(batch.data))).asnumpy().reshape(len(batch), -1)
        scores = features @ weight.T + bias
        probability = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        slope = (probability - np.eye(5)[batch.label.astype(int)]) / len(batch)
        for i, (value, gradient) in enumerate(((weight, slope.T @ features), (bias, slope.sum(axis=0)))):
            velocity[i] = 0.9 * velocity[i] - 0.1 * (gradient + 0.01 * value)
        weight, bias = weight + velocity[0], bias + velocity[1]
        trainer.step(batch, 0.1, meter, "")
    np.testing.assert_allclose(head.weight.data().asnumpy(), weight, atol=1e-5)
    np.testing.assert_allclose(head.bias.data().asnumpy(), bias, atol=1e-5)


def test_a_head_that_is_not_finite_any_more_is_noticed_under_frozen_layers(source):
    _, net = load_network(source)
    freeze(net)
    trainer = Trainer(net, [mx.cpu()], 5)
    meter = trainer.new_meter()
    net[1].output.weight.data()[0, 0] = np.nan
    with pytest.raises(GluonResnetError, match=r"out of range in batch 1: loss nan"):
        trainer.step(next(iter(FakeLoader(classes=5))), 0.1, meter, "batch 1")
        meter.sums()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--network resnet20", "--network is resnet20, but .*old-model.json has resnet8"),
        ("--network resnet --num-layers 20", "--network is resnet20, but"),
        ("--shortcut B", "--shortcut is B, but .*old-model.json has A"),
        ("--variant v1b", "--variant is v1b, but .*old-model.json has v1"),
        ("--load-epoch 3", "--load-epoch begins with weights of this run"),
        ("--load-epoch 3 --resume", "--load-epoch begins with weights of this run"),
        ("--model-prefix {old}", "would overwrite .*old-model.json: choose another --model-prefix"),
        ("--pretrained nothing", "there is no nothing-NNNN.params"),
        ("--num-classes 5", "--num-classes is 5, but .* has 4 names"),
    ],
)
def test_what_cannot_work_is_told_before_any_file(data, source, tmp_path, arguments, message):
    before = sorted(os.listdir(tmp_path))
    extra = arguments.format(old=source).split()
    with pytest.raises(UsageError, match=message):
        main([*data, "--pretrained", source, "--model-prefix", str(tmp_path / "new"), *extra])
    assert sorted(os.listdir(tmp_path)) == before


def test_what_is_the_cards_may_be_said_again(data, source, tmp_path):
    same = ["--network", "resnet", "--num-layers", "8", "--shortcut", "A", "--variant", "v1"]
    assert (
        main(
            [
                *data,
                "--pretrained",
                source,
                *same,
                "--num-epochs",
                "1",
                "--model-prefix",
                str(tmp_path / "new"),
            ]
        )
        is None
    )


def test_damaged_files_are_named(data, source, tmp_path):
    options = [*data, "--pretrained", source, "--model-prefix", str(tmp_path / "new")]
    path = tmp_path / "old-0003.params"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ModelError, match=r"old-0003\.params: expected"):
        main(options)
    with pytest.raises(FileNotFoundError, match=r"old-0008\.params"):
        main([*options, "--pretrained", f"{source}:8"])
    (tmp_path / "old-model.json").write_text("{}")
    with pytest.raises(ModelError, match=r"old-model\.json"):
        main(options)


def test_a_network_without_a_head_is_told():
    net = gluon.nn.HybridSequential()
    net.add(gluon.nn.HybridLambda("identity"), tiny_net())
    with pytest.raises(ModelError, match="has no layer `output` after `features`"):
        head_of(net)


def test_errors_are_one_sentence_and_a_status(data, source, tmp_path):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": tmp_path}
    runs = {
        message: subprocess.Popen([sys.executable, str(TOOL), *data, *arguments.split()], **pipes)
        for message, arguments in (
            ("--freeze keeps the weights", "--freeze --network resnet8"),
            ("--shortcut is C, but", f"--pretrained {source} --shortcut C"),
            ("give --network, or --pretrained", ""),
        )
    }
    for message, process in runs.items():
        out, err = process.communicate(timeout=600)
        assert (process.returncode, out) == (2, "")
        assert len(err.splitlines()) == 1
        assert err.startswith(f"train.py: error: {message}")


def test_the_newest_parameters_are_found(source):
    trained(source, epoch=10)
    assert Pretrained.find(source).path == f"{source}-0010.params"
    assert Pretrained.find(f"{source}:3").path == f"{source}-0003.params"
