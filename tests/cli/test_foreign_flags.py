"""Flags of MXNet's fit.py and data.py and of GluonCV's train_imagenet.py: taken, or answered in one sentence."""

from __future__ import annotations

import pathlib
import shlex

import pytest

from gluon_resnet.cli.train import main
from gluon_resnet.cli.train.foreign import translated
from gluon_resnet.cli.train.foreign_flags import DATA, FIT, FOREIGN, GLUONCV
from gluon_resnet.cli.train.options import parser
from gluon_resnet.errors import UsageError
from gluon_resnet.runs.files.run import read_run
from tests.support.small_training import training_options

OURS = {option for action in parser()._actions for option in action.option_strings}


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("--rec-train a.rec --rec-val b.rec", "--data-train a.rec --data-val b.rec"),
        ("--rec-train=a.rec --rec-train-idx a.idx", "--data-train a.rec"),
        ("--data-train d/a.rec --data-train-idx ./d/a.idx --data-val-idx=", "--data-train d/a.rec"),
        ("--model resnet50_v1b --use-pretrained", "--network resnet50_v1b --pretrained imagenet"),
        ("--num-gpus 2", "--gpus 0,1"),
        ("--num-gpus 1 --batch-size 64", "--gpus 0 --batch-size 64"),
        ("--num-gpus 0", ""),
        ("-j 4 --momentum 0.8", "--data-nthreads 4 --mom 0.8"),
        ("-j8", "--data-nthreads 8"),
        ("--num-data-workers=2", "--data-nthreads 2"),
        ("--lr-decay 0.2 --lr-decay-epoch 30,60,90", "--lr-factor 0.2 --lr-step-epochs 30,60,90"),
        ("--lr-decay-period 30 --num-epochs 90", "--lr-step-epochs 30,60 --num-epochs 90"),
        ("--lr-decay-period 0", ""),
        ("--input-size 320 --crop-ratio 0.875", "--image-shape 3,320,320"),
        (
            "--save-frequency 5 --save-dir params --model resnet18",
            "--save-period 5 --model-prefix params/resnet18 --network resnet18",
        ),
        ("--log-interval 50 --mode hybrid --use-rec", "--disp-batches 50"),
        ("--num-examples 1281167 --num-training-samples 5", ""),
        ("--optimizer sgd --monitor 0 --test-io 0 --gc-type none --initializer default", ""),
        ("--benchmark 1 --network resnet8", "--benchmark --network resnet8"),
        ("--benchmark 0", ""),
        ("--network resnet8 --benchmark", "--network resnet8 --benchmark"),
        ("--benchmark --network resnet8", "--benchmark --network resnet8"),
        ("--network resnet-v1 --num-layers 50", "--network resnet --num-layers 50"),
        ("--network inception-bn", "--network inception-bn"),
        ("--pad-size 0", ""),
        ("--pad-size 4 --recipe cifar10", "--recipe cifar10"),
        ("--random-crop 1 --max-random-h 0 --max-random-scale 1 --min-random-scale 1.0", ""),
        ("--label-smoothing --mixup --last-gamma --no-wd", "--label-smoothing --mixup --last-gamma --no-wd"),
    ],
)
def test_flags_that_mean_something_are_taken(theirs: str, ours: str) -> None:
    assert translated(shlex.split(theirs)) == ours.split()
    parser().parse_args(ours.split())


@pytest.mark.parametrize(
    ("theirs", "message"),
    [
        ("--optimizer nag", "--optimizer nag is not taken: the optimizer is SGD with momentum, --mom"),
        ("--monitor 10", "--monitor 10 is not taken: --detect-anomaly looks at every number"),
        ("--test-io 1", "printed after each epoch"),
        ("--gc-type 2bit", "gradients are not compressed"),
        ("--max-random-h 36", "there is no change of hue"),
        ("--min-random-scale 0.533", "draws the shorter side from 256 to 480"),
        ("--pad-size 4", "4 pixels of --recipe cifar10, none for ImageNet (--recipe imagenet: 0)"),
        ("--random-crop 0", "training crops are random"),
        ("--data-train a.rec --data-train-idx b.idx", "the index b.idx is not read: that of NAME.rec is"),
        ("--rec-val-idx b.idx", "the index b.idx is not read"),
        ("--num-gpus 4 --batch-size 64", "write --gpus 0,1,2,3 --batch-size 256 for its 64"),
        ("--num-gpus many", "--num-gpus: expected a number, found many"),
        ("--lr-decay-period 30", "write --lr-step-epochs 30,..."),
        ("--use_se", "--use_se is not taken: there are no SE layers"),
        ("--teacher resnet152_v1", "there is no distillation"),
        ("--batch-norm", "--network vgg16_bn"),
        ("--data-dir ~/imagenet", "packed by tools/im2rec.py"),
        ("--data-backend dali-gpu", "DALI is not used"),
        ("--resume-params x.params", "--resume goes on from the newest state"),
        ("--rec-train --rec-val x", "--rec-train: expected a value after it"),
        ("--momentum", "--momentum: expected a value after it"),
    ],
)
def test_every_other_flag_is_answered_in_one_sentence(theirs: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        main([*shlex.split(theirs)])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_flag_has_its_place_or_a_sentence() -> None:
    for flag in (*FIT, *DATA, *GLUONCV):
        assert flag.why or flag.option, flag.name
        assert flag.option is None or flag.option in OURS, flag.name
        changed = flag.name not in OURS or flag.name in ("--benchmark", "--network")
        assert (flag.name in FOREIGN) == changed, flag.name
        value = [] if not flag.takes_value else ["an odd value"]
        if flag.name in FOREIGN and flag.option is None and not flag.left_out:
            with pytest.raises(UsageError):
                translated([flag.name, *value])
        for same in flag.same:
            assert translated([flag.name, same]) == []


def test_our_own_flags_are_not_told_of() -> None:
    told: list[str] = []
    ours = ["--network", "resnet8", "--benchmark", "--mixup", "--lr=1", "--model-prefix", "-x"]
    assert translated(ours, told.append) == ours
    assert told == []
    assert translated(["--benchmark", "1"], told.append) == ["--benchmark"]
    assert told == ["flags of other scripts are taken as --benchmark"]


def test_a_run_by_gluoncvs_flags(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = training_options(tmp_path)
    records = data[data.index("--data-train") + 1]
    theirs = f"""--rec-train {records} --rec-train-idx {records[:-4]}.idx --use-rec --model resnet8 --momentum 0.5
        --num-training-samples 132 -j 1 --save-dir {tmp_path / "params"} --save-frequency 1 --lr-decay-epoch 1
        --input-size 16 --batch-size 32 --num-epochs 1 --mode hybrid --num-gpus 0"""
    assert main([*theirs.split(), "--recipe", "cifar10", "--holdout", "0"]) is None
    err = capsys.readouterr().err
    assert (
        f"note: flags of other scripts are taken as --data-train {records} --network resnet8 --mom 0.5" in err
    )
    assert (
        "left out, as it plays no part: --use-rec (records are always read), --num-training-samples (the"
        in err
    )
    run = read_run(str(tmp_path / "params" / "resnet8"))
    assert (run.settings["momentum"], run.settings["lr_step_epochs"]) == (0.5, [1.0])
