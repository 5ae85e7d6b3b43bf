"""What depth does, told from figures: each outcome, what is not over, and intervals of differences."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest

from gluon_resnet.evaluation.intervals import difference
from gluon_resnet.evaluation.predictions import Predictions
from gluon_resnet.reproduction.reporting.depth import find
from tests.support import studies

SHOWN = "The degradation of plain networks with depth is shown."
NOT_SHOWN = "The degradation of plain networks with depth is not shown"


def finding_of(tmp_path, errors, **options):
    """Of networks with these last errors: {key: (test, training)}; the epoch before had 2 more."""
    for key, (test, training) in errors.items():
        studies.train(tmp_path, key, [test + 2, test], [training + 2, training], **options)
    return find(studies.study(tmp_path))


@pytest.mark.parametrize(
    ("n1", "wrong1", "n2", "wrong2", "low", "high"),
    [  # Newcombe 1998, Statistics in Medicine 17, Table II, method 10, its examples (a) to (h)
        (70, 56, 80, 48, 0.0524, 0.3339),
        (10, 9, 10, 3, 0.1705, 0.8090),
        (7, 6, 7, 2, 0.0582, 0.8062),
        (56, 5, 29, 0, -0.0381, 0.1926),
        (10, 0, 20, 0, -0.1611, 0.2775),
        (10, 0, 10, 0, -0.2775, 0.2775),
        (10, 10, 20, 0, 0.6791, 1.0),
        (10, 10, 10, 0, 0.6075, 1.0),
    ],
)
def test_the_interval_of_a_difference_is_newcombes(n1, wrong1, n2, wrong2, low, high):
    def wilson(wrong, images):
        ends = binomtest(wrong, images).proportion_ci(method="wilson")
        return float(ends.low), float(ends.high)

    found = difference(wrong1 / n1, wilson(wrong1, n1), wrong2 / n2, wilson(wrong2, n2))
    assert found == pytest.approx((low, high), abs=5e-5)
    mirrored = difference(wrong2 / n2, wilson(wrong2, n2), wrong1 / n1, wilson(wrong1, n1))
    assert mirrored == pytest.approx((-high, -low), abs=5e-5)


NO_GAIN = "Residual networks show no degradation, but no gain from depth either."
GAIN = "Residual networks show no degradation: the deeper one is better."
# The last test and training errors of plain-56 and of ResNet-56; plain-20 has 20 % and 19 %, ResNet-20 19 % and 18 %.
OUTCOMES = {
    "as in the paper": (
        *((25.0, 26.0), (15.0, 12.0), SHOWN, GAIN),
        "ResNet-56 ends with a test error of 15.00 %, 4.00 points below ResNet-20's 19.00 %",
    ),
    "no gain": (
        *((25.0, 26.0), (19.3, 18.5), SHOWN, NO_GAIN),
        "0.30 points above ResNet-20's 19.00 % (95 % interval of the difference: -0.79 to +1.39; it includes 0: "
        "no difference is shown), and a training error of 18.50 %, 0.50 points above ResNet-20's 18.00 %.",
    ),
    "both worse": (
        *((25.0, 26.0), (21.0, 20.0), SHOWN),
        "Its absence in residual networks is not shown by this schedule: the deeper one is worse, too.",
        "the plain networks changes by +5.00 points and that of the residual ones by +2.00: depth costs the plain ones "
        "3.00 points more (95 % interval of the difference: +1.40 to +4.60).",
    ),
    "ResNet-56 overfitted": (
        *((25.0, 26.0), (21.0, 17.0), SHOWN),
        "The deeper residual network is worse on test images, but not on training images: overfitting, no degradation.",
        "a training error of 17.00 %, 1.00 points below ResNet-20's 18.00 %",
    ),
    "plain-56 is not worse": (
        *((20.5, 20.0), (15.0, 12.0), f"{NOT_SHOWN} by this schedule.", GAIN),
        "0.50 points above plain-20's 20.00 % (95 % interval of the difference: -0.61 to +1.61; it includes 0",
    ),
    "both better": (
        *((17.0, 16.0), (17.0, 16.0), f"{NOT_SHOWN} by this schedule: the deeper one is better.", GAIN),
        "depth costs the plain ones 1.00 points less (95 % interval of the difference: -2.51 to +0.51; it includes 0",
    ),
    "plain-56 overfitted": (
        *((25.0, 18.0), (15.0, 12.0)),
        f"{NOT_SHOWN}: the deeper one is worse on test images, but not on training images, which is overfitting.",
        GAIN,
        "a training error of 18.00 %, 1.00 points below plain-20's 19.00 %",
    ),
    "nothing learned": (
        *((89.7, 89.9), (90.0, 90.0), f"{NOT_SHOWN}: one of them hardly learned."),
        "Its absence in residual networks is not shown: one of them hardly learned.",
        "plain-56 ends with a test error of 89.70 %, 69.70 points above plain-20's 20.00 %",
    ),
    "equal": (
        *((20.0, 19.0), (19.0, 18.0), f"{NOT_SHOWN} by this schedule.", NO_GAIN),
        "plain-56 ends with a test error of 20.00 %, the same as plain-20's 20.00 %",
    ),
}


@pytest.mark.parametrize(
    ("plain56", "resnet56", "plain", "residual", "told"), OUTCOMES.values(), ids=OUTCOMES
)
def test_each_outcome_has_true_sentences(tmp_path, plain56, resnet56, plain, residual, told):
    errors = {"plain20": (20.0, 19.0), "plain56": plain56, "resnet20": (19.0, 18.0), "resnet56": resnet56}
    finding = finding_of(tmp_path, errors)
    assert finding.verdict == (plain, residual)
    assert told in " ".join(finding.figures)
    assert len(finding.figures) == 3


def test_why_it_is_not_shown_is_told_with_figures(tmp_path):
    errors = {
        "plain20": (20.0, 19.0),
        "plain56": (88.0, 90.0),
        "resnet20": (19.0, 18.0),
        "resnet56": (15.0, 12.0),
    }
    finding = finding_of(tmp_path, errors)
    assert finding.reasons == (
        "plain-56 hardly learned: its test error is 88.00 %, and that of guessing 90 %.",
        "plain-56 was trained for 780 iterations, the paper's for 64,000; in its last epoch its training error fell by "
        "2.00 points (plain56-log.jsonl:2).",
    )
    studies.train(tmp_path, "plain56", [26.0, 21.0], [18.0, 19.5])
    (reason,) = find(studies.study(tmp_path)).reasons
    assert reason.endswith("in its last epoch its training error rose by 1.50 points (plain56-log.jsonl:2).")


def test_with_the_paper_s_outcome_there_is_nothing_to_excuse(tmp_path):
    finding = finding_of(
        tmp_path,
        {
            "plain20": (20.0, 19.0),
            "plain56": (25.0, 26.0),
            "resnet20": (19.0, 18.0),
            "resnet56": (15.0, 12.0),
        },
    )
    assert finding.reasons == ()
    assert finding.notes[0] == (
        "plain-56 was trained for 780 iterations, the paper's for 64,000; in its last epoch its training error fell by "
        "2.00 points (plain56-log.jsonl:2)."
    )
    assert finding.notes[1].startswith("ResNet-56 was trained for 780 iterations")
    assert "plain20-log.jsonl:2, plain56-log.jsonl:2." in finding.notes[2]
    assert "take the two tests as independent" in finding.notes[-1]
    assert "0.16 points over 5 runs (Table 6)" in finding.notes[-1]


def test_the_shallowest_and_the_deepest_that_are_over_are_compared(tmp_path):
    for key, error in (("plain20", 20.0), ("plain32", 22.0), ("plain44", 24.0)):
        studies.train(tmp_path, key, [error], [error])
    studies.train(tmp_path, "plain56", [80.0], [80.0], planned=8)
    nets = [studies.net(tmp_path, f"plain{depth}", None) for depth in (44, 20, 56, 32)]
    finding = find(studies.study(tmp_path, nets))
    assert (finding.plain.shallow.key, finding.plain.deep.key) == ("plain20", "plain44")
    assert finding.verdict == (SHOWN, "The residual networks are not compared yet.")
    assert finding.figures[1:] == (
        "plain-56 is not over: 1 of 8 epochs are.",
        "There is no residual network in this study.",
    )


def test_what_has_not_begun_and_what_cannot_be_compared_is_named(tmp_path):
    assert find(studies.study(tmp_path)).figures == (
        *("plain-20 has not begun.", "plain-56 has not begun."),
        *("ResNet-20 has not begun.", "ResNet-56 has not begun."),
    )
    studies.train(tmp_path, "plain20", [20.0], [20.0])
    alone = find(studies.study(tmp_path, [studies.net(tmp_path, "plain20", None)]))
    assert alone.figures[0] == "The plain networks cannot be compared: there is one depth only."
    assert find(studies.study(tmp_path, [])).figures == (
        "There is no plain network in this study.",
        "There is no residual network in this study.",
    )
    assert find(studies.study(tmp_path, [])).notes == ()


def test_evaluations_are_compared_where_both_networks_have_one(tmp_path):
    for key in ("plain20", "plain56"):
        studies.train(tmp_path, key, [50.0], [40.0])
    one = studies.net(
        tmp_path, "plain20", None, evaluations=[studies.evaluation(tmp_path, ["plain20"], 2000)]
    )
    both = [one, studies.net(tmp_path, "plain56", None)]
    assert find(studies.study(tmp_path, both)).plain.test_difference == 0.0  # both by the log
    both[1] = replace(both[1], evaluations=(studies.evaluation(tmp_path, ["plain56"], 2500),))
    finding = find(studies.study(tmp_path, both))
    assert finding.plain.test_difference == 5.0
    assert "test errors of evaluations (1-crop)" in finding.notes[0]
    assert (
        "plain20-1-crop.json, plain56-1-crop.json, plain20-log.jsonl:1, plain56-log.jsonl:1."
        in finding.notes[0]
    )


def predictions(path, wrong):
    """A file in which the images `wrong` have another class than their label."""
    labels = np.zeros(studies.IMAGES, "i4")
    classes = np.zeros(studies.IMAGES, "i4")
    classes[list(wrong)] = 1
    keys, probabilities = np.arange(studies.IMAGES, dtype="i8"), np.ones(studies.IMAGES, "f4")
    path.write_bytes(Predictions(labels, keys, labels, classes, probabilities).to_bytes())
    return str(path)


def test_the_same_images_are_compared_one_by_one(tmp_path):
    """A difference that two tests on different images would not show."""
    wrong = {"resnet20": range(1600), "resnet56": range(100, 1620)}
    nets = []
    for key, images in wrong.items():
        studies.train(tmp_path, key, [16.0], [15.0 if key == "resnet20" else 12.0])
        kept = predictions(tmp_path / f"{key}.npz", images)
        tested = studies.evaluation(tmp_path, [key], len(images), predictions=kept)
        nets.append(studies.net(tmp_path, key, "A", evaluations=[tested]))
    finding = find(studies.study(tmp_path, nets))
    low, high = finding.residual.paired.interval
    assert finding.residual.interval[0] < low < -0.8 < high < 0 < finding.residual.interval[1]
    assert finding.verdict[1] == GAIN
    assert (
        f"0.80 points below ResNet-20's 16.00 % (paired 95 % interval of the difference: {low:+.2f} to {high:+.2f}; "
        "-1.81 to +0.21 if the tests were independent; 20 images are wrong only in ResNet-56 and 100 only in ResNet-20"
        ": McNemar's exact p < 0.0001)" in finding.figures[1]
    )
    assert "paired ones go image by image" in finding.notes[-1]
    assert "independent" not in finding.notes[-1]
    predictions(tmp_path / "resnet20.npz", range(1600))
    other = Predictions.load(str(tmp_path / "resnet20.npz"))
    other.keys[0] = -1
    (tmp_path / "resnet20.npz").write_bytes(other.to_bytes())
    finding = find(studies.study(tmp_path, nets))  # not on the same images
    assert finding.residual.paired is None
    assert finding.verdict[1] == NO_GAIN


def test_residual_networks_are_compared_with_those_of_the_same_shortcuts(tmp_path):
    keys = ("resnet18-A", "resnet34-B", "resnet50")
    for key in keys:
        studies.train(tmp_path, key, [30.0], [30.0], settings={"recipe": "imagenet", "classes": 1000})
    nets = [
        studies.net(tmp_path, key.partition("-")[0], shortcut, key=key)
        for key, shortcut in zip(keys, ("A", "B", "B"))
    ]
    finding = find(studies.study(tmp_path, nets, data_set="imagenet"))
    assert (finding.residual.shallow.key, finding.residual.deep.key) == ("resnet34-B", "resnet50")
    assert finding.figures[1].startswith(
        "ResNet-50 ends with a validation error of 30.00 %, the same as ResNet-34 B's"
    )
    studies.train(tmp_path, "resnet34-A", [25.0], [25.0])
    nets.append(studies.net(tmp_path, "resnet34", "A", key="resnet34-A"))
    finding = find(studies.study(tmp_path, nets, data_set="imagenet"))
    assert (finding.residual.shallow.key, finding.residual.deep.key) == ("resnet18-A", "resnet34-A")


def test_runs_that_differ_in_more_than_depth_are_named(tmp_path):
    studies.train(tmp_path, "plain20", [20.0, 19.0], [20.0, 19.0], settings={"lr": 0.1, "rgb_mean": [1.0]})
    studies.train(tmp_path, "plain56", [25.0], [25.0], settings={"lr": 0.01, "rgb_mean": [2.0]})
    finding = find(studies.study(tmp_path))
    assert "The runs of plain-20 and plain-56 differ in lr (0.1 and 0.01), epochs (2 and 1)." in finding.notes


def test_without_the_number_of_images_there_is_no_interval(tmp_path):
    finding = finding_of(tmp_path, {"plain20": (20.0, 19.0), "plain56": (30.0, 31.0)}, data="/data/test.rec")
    assert finding.plain.interval is None
    assert finding.verdict[0] == f"{NOT_SHOWN} by this schedule."
    assert "(no interval is known)" in finding.figures[0]
    assert finding.reasons[0].endswith("do not say of how many images their errors are.")


def test_runs_without_validation_are_not_compared(tmp_path):
    for key in ("plain20", "plain56"):
        studies.train(tmp_path, key, [20.0], [19.0])
    nets = []
    for key in ("plain20", "plain56"):
        net = studies.net(tmp_path, key, None)
        epochs = [replace(record, val_top1_error=None) for record in net.run.epochs]
        nets.append(replace(net, run=replace(net.run, epochs=epochs)))
    finding = find(studies.study(tmp_path, nets))
    assert finding.verdict[0] == "The plain networks are not compared yet."
    assert finding.figures[0] == (
        "The plain networks cannot be compared: their runs have no errors of the same test."
    )
