"""Networks with other projects' weights beside those of a study: tested, labelled, and compared with their like."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from gluon_resnet.card import ModelCard
from gluon_resnet.errors import UsageError
from gluon_resnet.models.saved import load_network, save_network
from gluon_resnet.provenance import Source
from gluon_resnet.reproduction.experiments import CIFAR10
from gluon_resnet.reproduction.nets import planned_nets
from gluon_resnet.reproduction.plan import Choices, plan
from gluon_resnet.reproduction.reporting.depth import find
from gluon_resnet.reproduction.reporting.observations import smaller_than_plain, smaller_with_depth
from gluon_resnet.reproduction.results import planned_conversions, read_study
from tests.support import studies
from tests.support.deployed import make_model
from tests.support.studies import cells, written

SOURCE = Source("somebody/nets", "/home/somebody/r20.th", "ab" * 32, "python tools/convert.py r20.th")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """The prefix of a network of twelve classes, as convert.py leaves one."""
    folder = tmp_path_factory.mktemp("model")
    card, net = load_network(make_model(folder, "resnet20", 32, 32).checkpoint)
    card = replace(card, source=SOURCE, recipe=None, epoch=None)
    save_network(folder / "r20", 0, card, net)
    return str(folder / "r20")


@pytest.fixture
def study(tmp_path):
    """Own networks of 20 and 56 layers, and converted ones of 20 and 32."""
    nets = []
    for key, stds in (("plain20", 1.2), ("resnet20", 0.9), ("resnet56", 0.95)):
        studies.train(tmp_path, key, [16.0], [15.0])
        shortcut = "A" if key.startswith("resnet") else None
        nets.append(studies.net(tmp_path, key, shortcut, stds=[stds] * 6))
    converted = [
        studies.net(
            tmp_path,
            network,
            "A",
            key=f"converted-{name}",
            source=SOURCE,
            evaluations=[tested],
            stds=[std] * 6,
        )
        for network, name, std in (("resnet20", "r20", 0.7), ("resnet32", "r32", 0.6))
        for tested in [studies.evaluation(tmp_path, [name], 1897)]
    ]
    return studies.study(tmp_path, nets, converted=tuple(converted))


def test_they_are_in_the_tables_and_say_whose_they_are(study, tmp_path):
    _, text = written(study, tmp_path)
    table = text.partition("## Test errors")[2].partition("\n## ")[0]
    assert cells(table, "ResNet-32, converted")[1:5] == ["18.97 %", "18.21 to 19.75", "7.51 %", ""]
    assert cells(table, "ResNet-32, converted")[5] == "converted"
    assert "| ResNet-32 | not run" not in table
    assert "ResNet-20, converted: weights of somebody/nets, r20.th (SHA-256 abababababababab...)" in table
    responses = text.partition("## Layer responses")[2].partition("\n## ")[0]
    assert cells(responses, "ResNet-20, converted")[2] == "0.700"
    assert "converted-r32-responses.json" in responses
    assert "python tools/convert.py r20.th" in text


def test_they_are_compared_with_their_like(study):
    deeper = smaller_with_depth(study.shown)
    assert [(found.sentence, found.holds) for found in deeper] == [
        ("ResNet-56's are not smaller than ResNet-20's: 0.950 and 0.900 on average.", False),
        ("ResNet-32, converted's are smaller than ResNet-20, converted's: 0.600 and 0.700 on average.", True),
    ]
    assert len(smaller_than_plain(study.shown)) == 1  # plain-20 was trained beside ResNet-20 alone
    assert find(study).residual.deep.key == "resnet56"


def test_they_are_tested_and_not_trained(checkpoint, tmp_path):
    converted = planned_conversions([checkpoint], replace(CIFAR10, classes=12))
    (net,) = converted
    assert (net.key, net.network, net.shortcut) == ("converted-r20", "resnet20", "A")
    steps = plan(
        str(tmp_path),
        Choices("cifar10", ("a.rec",), ("b.rec",), 8, None, ()),
        planned_nets(["plain20"], "A"),
        converted=converted,
    )
    ours = {step.name: step for step in steps if "converted" in step.name}
    assert [*ours] == ["test converted-r20 (1-crop)", "responses of converted-r20"]
    for step in ours.values():
        command = step.command()
        assert step.needs == ()
        assert command[command.index("--model-prefix") + 1] == checkpoint
        assert command[command.index("--output") + 1].startswith(f"{tmp_path}{os.sep}converted-r20-")
    found = read_study(str(tmp_path), "", (), replace(CIFAR10, classes=12), ("b.rec",), converted)
    assert found.converted[0].source == SOURCE
    assert found.converted[0].evaluations == ()


def test_what_was_not_converted_is_refused(checkpoint, tmp_path):
    experiment = replace(CIFAR10, classes=12)
    with pytest.raises(UsageError, match="r20 has 12 classes, but cifar10 has 10"):
        planned_conversions([checkpoint], CIFAR10)
    with pytest.raises(UsageError, match="two networks are called r20"):
        planned_conversions([checkpoint, checkpoint], experiment)
    card = replace(ModelCard.load(f"{checkpoint}-model.json"), source=None)
    card.save(tmp_path / "own-model.json")
    with pytest.raises(UsageError, match="own-model.json does not describe converted weights"):
        planned_conversions([str(tmp_path / "own")], experiment)
    with pytest.raises(FileNotFoundError):
        planned_conversions([str(tmp_path / "nowhere")], experiment)
