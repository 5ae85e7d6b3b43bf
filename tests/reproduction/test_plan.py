"""What a study runs: its networks and data, commands that the tools take, and what counts as done."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import shutil
from dataclasses import replace

import pytest

from gluon_resnet.card import ModelCard
from gluon_resnet.cli import evaluate
from gluon_resnet.cli.train import options as train_options
from gluon_resnet.errors import DataError, UsageError
from gluon_resnet.reproduction.data_sets import cifar10_data, fashion_mnist_data
from gluon_resnet.reproduction.experiments import CIFAR10, IMAGENET
from gluon_resnet.reproduction.nets import planned_nets
from gluon_resnet.reproduction.plan import Choices, plan
from gluon_resnet.reproduction.results import best_prefix, is_evaluation_of, read_evaluation
from tests.support.recorded_runs import write_run

CHOICES = Choices("cifar10", ("a.rec",), ("b.rec",), 8, None, ())


def evaluation(path, keys, wrong=10, epoch=2, **other):
    """A file as evaluate.py writes it, as far as it is read."""
    networks = [{"parameters": f"runs/{key}-{epoch:04d}.params", "epoch": epoch} for key in keys]
    counts = {
        "images": 100,
        "top_k": 5,
        "top1_wrong": wrong,
        "topk_wrong": 1,
        "command": "python tools/evaluate.py",
    }
    content = {"networks": networks, "protocol": "1-crop", "scales": None, **counts, **other}
    path.write_text(json.dumps(content))
    return str(path)


def trained(folder, key, epochs=2):
    """The files of a network that was trained for so many epochs, made an hour ago."""
    prefix = write_run(folder / key, [50.0] * epochs, steps=False)
    parameters = pathlib.Path(f"{prefix}-{epochs:04d}.params")
    parameters.write_bytes(b"weights")
    hour_ago = parameters.stat().st_mtime - 3600
    os.utime(parameters, (hour_ago, hour_ago))
    return prefix


def named(names, own="B"):
    return [(net.key, net.network, net.shortcut, net.depth) for net in planned_nets(names, own)]


def test_networks_have_the_shortcut_of_their_experiment_and_keys_that_say_another():
    assert named(["plain34", "resnet34", "resnet34-C", "vgg16"]) == [
        ("plain34", "plain34", None, 34),
        ("resnet34", "resnet34", "B", 34),
        ("resnet34-C", "resnet34", "C", 34),
        ("vgg16", "vgg16", None, 16),
    ]
    assert named(["resnet56", "resnet56-B"], "A") == [
        ("resnet56", "resnet56", "A", 56),
        ("resnet56-B", "resnet56", "B", 56),
    ]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["resnet21"], "there is no network 'resnet21'"),
        (["resnet20-D"], "there is no shortcut option 'D'"),
        (["plain20-A"], "plain20 is a network without shortcuts"),
        (["resnet34", "plain34", "resnet34-B"], "--nets: resnet34 is named twice"),
        ([""], "there is no network ''"),
        ([], "--nets: expected names of networks"),
    ],
)
def test_networks_that_are_not_there_are_refused(names, message):
    with pytest.raises(UsageError, match=message):
        planned_nets(names, "B")


def test_the_default_networks_are_those_of_the_tables():
    assert [key for key, *_ in named(CIFAR10.nets, "A")] == ["plain20", "plain56", "resnet20", "resnet56"]
    assert {key for key, *_ in named(IMAGENET.nets)} == {
        *("plain18", "plain34", "resnet18-A", "resnet34-A", "resnet34", "resnet34-C"),
        *("resnet50", "resnet101", "resnet152"),
    }
    multi_scale = [
        n.key for n in planned_nets(IMAGENET.nets, "B") if "multi-scale" in IMAGENET.protocols_of(n)
    ]
    assert multi_scale == ["resnet34", "resnet34-C", "resnet50", "resnet101", "resnet152"]  # Table 4


def test_a_schedule_of_some_epochs_is_the_papers_in_proportion():
    assert CIFAR10.training(None) == ["--recipe", "cifar10"]
    assert CIFAR10.training(6) == ["--recipe", "cifar10", "--num-epochs", "6", "--lr-step-epochs", "3,4.5"]
    assert IMAGENET.training(120)[-1] == "30,60,90"


@pytest.mark.parametrize("experiment", [CIFAR10, IMAGENET])
@pytest.mark.parametrize("epochs", [None, 4])
def test_the_tools_take_the_commands(experiment, epochs):
    choices = Choices(experiment.data_set, ("a.rec",), ("b.rec",), epochs, None, ("--batch-size", "32"))
    nets = planned_nets(experiment.nets, experiment.own_shortcut)
    machine = ("--gpus", "0,1", "--data-nthreads", "3")
    steps = plan("runs/x", choices, nets, (), machine)
    by_name = {step.name: step for step in steps}
    assert len(by_name) == len(steps)
    for step in steps:
        assert set(step.needs) <= {*by_name}
        if step.name == "export the best":
            continue
        tool, *arguments = step.command()
        if tool == "train":
            args = train_options.parser().parse_args(arguments)
            assert (args.batch_size, args.gpus, args.resume) == (32, (0, 1), True)
            assert args.model_prefix == f"runs/x/{step.name.removeprefix('train ')}"
            assert args.num_epochs == epochs
        elif tool == "evaluate":
            args = evaluate._parser().parse_args(arguments)
            assert (args.gpus, args.data_nthreads, args.data_val) == ((0, 1), 3, ["b.rec"])
            assert args.scales == (
                (32,) if experiment is CIFAR10 and args.protocol == "multi-scale" else None
            )


def test_a_training_is_done_when_its_epochs_and_parameters_are_there(tmp_path):
    nets = planned_nets(["plain20"], "A")
    choices = replace(CHOICES, epochs=2)
    train = plan(str(tmp_path), choices, nets)[0]
    assert train.name == "train plain20"
    assert not train.done()
    prefix = write_run(tmp_path / "plain20", [50.0], planned=2, steps=False)
    pathlib.Path(f"{prefix}-0001.params").touch()
    assert not train.done()  # one epoch of two
    write_run(tmp_path / "plain20", [50.0, 40.0], steps=False)
    assert not train.done()  # the log is written before the parameters
    pathlib.Path(f"{prefix}-0002.params").touch()
    assert train.done()
    assert not plan(str(tmp_path), CHOICES, nets)[0].done()  # 8 epochs are wanted
    card = ModelCard("plain20", ("a",), 32, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), epoch=2)
    card.save(f"{prefix}-model.json")
    pathlib.Path(f"{prefix}-0005.params").touch()  # of another run
    assert train.done()


def test_an_evaluation_is_done_when_it_is_of_the_newest_epochs_of_these_networks(tmp_path):
    prefixes = [trained(tmp_path, key) for key in ("plain20", "plain56")]
    path = tmp_path / "e.json"
    assert not is_evaluation_of(str(path), prefixes)
    evaluation(path, ["plain20", "plain56"])
    assert is_evaluation_of(str(path), prefixes)
    assert not is_evaluation_of(str(path), prefixes[:1])
    assert not is_evaluation_of(str(path), prefixes[::-1])
    evaluation(path, ["plain20", "plain56"], epoch=1)
    assert not is_evaluation_of(str(path), prefixes)
    evaluation(path, ["plain20", "plain56"])
    os.utime(path, (0, 0))  # older than the parameters
    assert not is_evaluation_of(str(path), prefixes)


def test_a_test_is_done_when_its_predictions_are_there(tmp_path):
    trained(tmp_path, "plain20")
    test = plan(str(tmp_path), CHOICES, planned_nets(["plain20"], "A"))[1]
    assert test.name == "test plain20 (1-crop)"
    path, kept = tmp_path / "plain20-1-crop.json", tmp_path / "plain20-1-crop-predictions.npz"
    assert {str(path), str(kept)} <= {*test.command()}
    evaluation(path, ["plain20"])
    assert not test.done()  # by an older program
    kept.write_bytes(b"answers")
    digest = hashlib.sha256(b"answers").hexdigest()
    evaluation(path, ["plain20"], predictions={"file": kept.name, "sha256": digest})
    assert test.done()
    kept.write_bytes(b"those of another test")
    assert not test.done()


def test_the_best_has_the_fewest_errors(tmp_path):
    files = [("p/a", evaluation(tmp_path / "a", "a", 12)), ("p/b", evaluation(tmp_path / "b", "b", 9))]
    assert best_prefix([*files, ("p/c", evaluation(tmp_path / "c", "c", 9))]) == "p/b"


def test_what_an_evaluation_says(tmp_path):
    path = evaluation(tmp_path / "e", ["resnet20", "resnet34-C"], 12, scales=[32, 40], protocol="multi-scale")
    found = read_evaluation(path)
    assert (found.keys, found.epochs, found.scales) == (("resnet20", "resnet34-C"), (2, 2), (32, 40))
    assert (found.top1_error, found.topk_error) == (12.0, 1.0)
    low, high = found.top1_interval
    assert low < 12 < high


@pytest.mark.parametrize(
    "content",
    [
        *("", "[]", "null", "{", '{"networks": 3}', pytest.param("[" * 100_000, id="deep")),
        *(
            {"images": 0},
            {"top1_wrong": 101},
            {"top1_wrong": -1},
            {"topk_wrong": 11},
            {"images": None},
            {"networks": [7]},
        ),
    ],
)
def test_a_damaged_evaluation_is_named(tmp_path, content):
    path = tmp_path / "e.json"
    if isinstance(content, dict):
        evaluation(path, ["a"], **content)
    else:
        path.write_text(content)
    with pytest.raises(DataError, match="e.json is not what evaluate.py writes: .*remove it"):
        read_evaluation(str(path))


def test_a_folder_keeps_its_choices(tmp_path):
    folder = str(tmp_path)
    assert not CHOICES.kept(folder)
    CHOICES.keep(folder)
    CHOICES.keep(folder)
    assert CHOICES.kept(folder)
    with pytest.raises(
        UsageError, match=r"belongs to a study with other choices \(epochs 8 there, 6 now\): choose another"
    ):
        Choices("cifar10", ("a.rec",), ("b.rec",), 6, None, ()).keep(folder)
    (tmp_path / "study.json").write_text('{"format": "another"}')
    with pytest.raises(DataError, match="study.json is not the file of a study"):
        CHOICES.keep(folder)


def test_data_in_any_form_is_found(tmp_path):
    study = str(tmp_path / "study")

    def found(name, *entries):
        source = tmp_path / name
        for entry in entries:
            (source / entry).parent.mkdir(parents=True, exist_ok=True)
            (source / entry).touch()
        data = cifar10_data(str(source), study)
        return (data.train, data.test), [step.command()[2:] for step in data.packing]

    made = (f"{study}/data/cifar10_train.rec", f"{study}/data/cifar10_test.rec")
    packed = found("packed", "cifar10_train.rec", "cifar10_test.rec")
    assert packed == ((f"{tmp_path}/packed/cifar10_train.rec", f"{tmp_path}/packed/cifar10_test.rec"), [])
    archives = found("tars", "cifar10_train.tar.gz", "cifar10_test.tar.gz")
    assert archives == (
        made,
        [(f"{tmp_path}/tars/cifar10_{part}.tar.gz", "--pass-through") for part in ("train", "test")],
    )
    assert found("folders", "train/cat/1.jpg", "test/cat/2.jpg")[0] == made
    own = ("--source", "cifar10")
    assert found("own", "cifar-10-python.tar.gz") == (
        made,
        [(f"{tmp_path}/own/cifar-10-python.tar.gz", *own)],
    )
    assert found("own/cifar-10-python.tar.gz") == (made, [(f"{tmp_path}/own/cifar-10-python.tar.gz", *own)])
    assert found("batches", "data_batch_1.bin") == (made, [(f"{tmp_path}/batches", *own)])


def test_fashion_mnist_is_found_as_idx_files_and_as_records(tmp_path):
    study = str(tmp_path / "study")
    with pytest.raises(
        UsageError, match="expected a folder with Fashion-MNIST's IDX files, as Debian's package"
    ):
        fashion_mnist_data(str(tmp_path), study)
    (tmp_path / "train-images-idx3-ubyte.gz").touch()
    data = fashion_mnist_data(str(tmp_path), study)
    prefix = f"{study}/data/fashion-mnist"
    assert (data.train, data.test) == (f"{prefix}_train.rec", f"{prefix}_test.rec")
    (step,) = data.packing
    assert step.command() == ("im2rec", prefix, str(tmp_path), "--source", "idx")
    assert not step.done()
    for part in ("train", "test"):
        (tmp_path / f"fashion-mnist_{part}.rec").touch()
    assert fashion_mnist_data(str(tmp_path), study).packing == ()


@pytest.mark.parametrize("entries", [[], ["cifar10_train.rec"], ["cifar10_train.tar.gz"], ["readme.txt"]])
def test_a_folder_without_data_is_refused(tmp_path, entries):
    for entry in entries:
        (tmp_path / entry).touch()
    with pytest.raises(
        UsageError, match=r"--data .*: expected a folder with cifar10_train.rec and cifar10_test.rec"
    ):
        cifar10_data(str(tmp_path), str(tmp_path / "study"))
    shutil.rmtree(tmp_path)
    with pytest.raises(UsageError, match="expected a folder"):
        cifar10_data(str(tmp_path), str(tmp_path / "study"))
