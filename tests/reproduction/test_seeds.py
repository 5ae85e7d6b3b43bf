"""Networks that were trained from several seeds: what is run, and what the report says of their spread."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from scipy.stats import t

from gluon_resnet.cli.train import options as train_options
from gluon_resnet.reproduction.experiments import CIFAR10
from gluon_resnet.reproduction.nets import planned_nets
from gluon_resnet.reproduction.plan import Choices, plan
from gluon_resnet.reproduction.reporting.depth import find
from tests.support import studies
from tests.support.studies import cells, written

WRONG = {"resnet20": (1600, 1650, 1640), "resnet56": (1500, 1480, 1540)}


@pytest.fixture
def study(tmp_path):
    """Two networks, trained from three seeds each."""
    nets = []
    for network, counts in WRONG.items():
        for seed, wrong in enumerate(counts):
            key = f"{network}-seed{seed}" if seed else network
            studies.train(tmp_path, key, [wrong / 100], [12.0])
            tests = [studies.evaluation(tmp_path, [key], wrong)]
            nets.append(studies.net(tmp_path, network, "A", key=key, seed=seed, evaluations=tests))
    return studies.study(tmp_path, nets)


def test_every_network_is_trained_from_every_seed_and_the_first_seeds_come_first():
    nets = planned_nets(["plain20", "resnet20-B"], "A", seeds=3)
    assert [(net.key, net.seed) for net in nets] == [
        *(("plain20", 0), ("resnet20-B", 0)),
        *(("plain20-seed1", 1), ("resnet20-B-seed1", 1)),
        *(("plain20-seed2", 2), ("resnet20-B-seed2", 2)),
    ]
    steps = plan("runs/x", Choices("cifar10", ("a.rec",), ("b.rec",), 8, None, ()), nets)
    seeds = [
        train_options.parser().parse_args(step.command()[1:]).seed
        for step in steps
        if step.name.startswith("train ")
    ]
    assert seeds == [0, 0, 1, 1, 2, 2]
    repeated = [step.name for step in steps if "seed1" in step.name]
    assert repeated == [
        *("train plain20-seed1", "test plain20-seed1 (1-crop)"),
        *("train resnet20-B-seed1", "test resnet20-B-seed1 (1-crop)"),
    ]
    assert CIFAR10.ensembles(nets) == CIFAR10.ensembles(nets[:2])


def test_each_seed_has_a_row_and_all_have_one_together(study, tmp_path):
    text = written(study, tmp_path)[1].partition("## Test errors")[2].partition("\n## ")[0]
    assert cells(text, "ResNet-20")[1] == "16.00 %"
    assert cells(text, "ResNet-20, seed 2")[1] == "16.40 %"
    # 16.00, 16.50 and 16.40 %: the mean is 16.30, and the deviations -0.3, 0.2 and 0.1 give sqrt(0.14 / 2).
    together = cells(text, "ResNet-20, 3 seeds")
    assert together[1] == "16.30 ± 0.26 %"
    assert "resnet20-1-crop.json, resnet20-seed1-1-crop.json, resnet20-seed2-1-crop.json" in together[-1]


def test_the_difference_over_seeds_has_welchs_interval(study):
    figures = find(study).figures
    (told,) = [sentence for sentence in figures if sentence.startswith("Over 3 and 3 seeds")]
    # ResNet-56: 15.00, 14.80, 15.40 %, a mean of 15.0667 and a variance of 0.0933; ResNet-20's is 0.07.
    parts = (0.0933333333 / 3, 0.07 / 3)
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / 2 + parts[1] ** 2 / 2)
    half = t.ppf(0.975, freedom) * math.sqrt(sum(parts))
    middle = 15.0666667 - 16.3
    assert (
        "ResNet-56 has a test error of 15.07 ± 0.31 %, mean and standard deviation, and ResNet-20 one of 16.30 ± 0.26 "
        "%: a difference of -1.23 points (95 % interval of the difference: "
        f"{middle - half:+.2f} to {middle + half:+.2f}, "
        "by Welch's t" in told
    )


def test_that_each_ran_once_is_said_where_it_is_so(study):
    assert find(study).notes[-1].endswith("points over 5 runs (Table 6), and ours are those above.")
    once = replace(study, nets=study.first_seeds)
    assert find(once).notes[-1].endswith("points over 5 runs (Table 6), each of ours ran once.")


def test_single_runs_are_compared_by_their_first_seeds(study):
    finding = find(study)
    assert (finding.residual.shallow.key, finding.residual.deep.key) == ("resnet20", "resnet56")
    nets = [net for net in study.nets if net.seed == 0 or net.network == "resnet20"]
    alone = find(replace(study, nets=tuple(nets)))  # one of the two ran once
    assert not any("seeds" in sentence for sentence in alone.figures)


def test_equal_errors_of_all_seeds_have_no_interval(study):
    nets = [
        replace(net, evaluations=(replace(net.evaluations[0], top1_wrong=WRONG[net.network][0]),))
        for net in study.nets
    ]
    figures = find(replace(study, nets=tuple(nets))).figures
    assert any("15.00 ± 0.00 %" in told and "no interval is known" in told for told in figures)
