"""What depth does to plain and to residual networks (He et al. 2015, §1 and §4), from a study's figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

from gluon_resnet.analysis.paper import TABLE_6
from gluon_resnet.evaluation.intervals import PairedDifference, difference
from gluon_resnet.reproduction.experiments import EXPERIMENTS
from gluon_resnet.reproduction.reporting.certainty import certainty, methods, shown
from gluon_resnet.reproduction.reporting.measured import (
    Measured,
    evaluated,
    image_by_image,
    log_line,
    logged_training,
    logged_validation,
)
from gluon_resnet.reproduction.reporting.names import SUBJECTS, Subject, label
from gluon_resnet.reproduction.reporting.seeds import over_seeds
from gluon_resnet.reproduction.reporting.verdicts import (
    BETTER,
    DEGRADED,
    OVERFITTED,
    PENDING,
    PLAIN,
    RESIDUAL,
    UNCLEAR,
    UNLEARNED,
)
from gluon_resnet.reproduction.study import StudiedNet, Study
from gluon_resnet.training.recipes import get_recipe

_HARDLY = 0.9  # times the error of guessing; a network above it has hardly learned
_OWN = ("network", "shortcut", "rgb_mean", "rgb_std", "devices")  # settings that may differ in a comparison


@dataclass(frozen=True)
class Pair:
    """The shallowest and deepest trained networks of a family. Differences are deep - shallow, in percentage points."""

    shallow: StudiedNet
    deep: StudiedNet
    training: tuple[Measured, Measured]  # shallow, deep: those of the last epochs
    tests: tuple[Measured, Measured]  # both evaluations, or both from the logs
    paired: Optional[PairedDifference]  # for both evaluations; None if the wrong images are not known
    outcome: str

    @property
    def test_difference(self) -> float:
        """The difference of the errors in testing."""
        return self.tests[1].error - self.tests[0].error

    @property
    def training_difference(self) -> float:
        """The difference of the errors in training."""
        return self.training[1].error - self.training[0].error

    @property
    def interval(self) -> Optional[tuple[float, float]]:
        """The 95 % interval of test_difference, as for tests on different images; None if their number is not known."""
        return _independent(*self.tests)


@dataclass(frozen=True)
class Finding:
    """The claim, family by family, in sentences."""

    verdict: tuple[str, str]  # for plain and for residual networks
    figures: tuple[str, ...]  # the figures that it rests on
    reasons: tuple[str, ...]  # the reasons why something is not shown
    notes: tuple[str, ...]  # what the figures are, and what weakens the comparison
    plain: Optional[Pair]
    residual: Optional[Pair]


def find(study: Study) -> Finding:
    """Compare the finished networks, and name the others."""
    subject = SUBJECTS[study.data_set]
    families = ("plain", _family(study, "plain")), ("residual", _family(study, "resnet"))
    plain, residual = (_pair(nets, subject) for _, nets in families)
    figures = []
    for pair, (name, nets) in zip((plain, residual), families):
        if pair:
            repeated = over_seeds(study, pair.shallow, pair.deep, subject.protocol, subject.tested)
            figures += [_sentence(pair, subject), *repeated]
        figures += _open(name, nets, pair)
    pairs = [pair for pair in (plain, residual) if pair]
    if plain and residual:
        figures += _contrast(plain, residual, subject)
    verdict = tuple(
        words[pair.outcome if pair else PENDING].format(tested=subject.tested)
        for words, pair in ((PLAIN, plain), (RESIDUAL, residual))
    )
    as_printed = [pair for pair in pairs if pair.outcome == (DEGRADED if pair is plain else BETTER)]
    doubtful = [pair for pair in pairs if pair not in as_printed]
    return Finding(
        (verdict[0], verdict[1]),
        tuple(figures),
        tuple(
            sentence for pair in doubtful for sentence in (*_reasons(pair, subject), *_length(pair, study))
        ),
        (
            *(sentence for pair in as_printed for sentence in _length(pair, study)),
            *_notes(pairs, subject, study),
        ),
        plain,
        residual,
    )


def _family(study: Study, name: str) -> list[StudiedNet]:
    """Networks of one family with the same shortcuts, by depth: those of option A if there are two of them."""
    nets = [net for net in study.first_seeds if net.network.startswith(name)]
    groups = [[net for net in nets if net.shortcut == option] for option in (None, "A", "B", "C")]
    # The first with two finished ones, or else with two.
    for enough in (lambda group: sum(net.finished for net in group) > 1, lambda group: len(group) > 1, bool):
        for group in filter(enough, groups):
            return sorted(group, key=lambda net: net.depth)
    return []


def _pair(nets: Sequence[StudiedNet], subject: Subject) -> Optional[Pair]:
    """The pair to compare; None if fewer than two networks are finished, or they were not tested in the same way."""
    over = [net for net in nets if net.finished]
    if len(over) < 2 or over[0].depth == over[-1].depth:
        return None
    shallow, deep = over[0], over[-1]
    evaluations = [e for net in (shallow, deep) for e in [net.evaluation(subject.protocol)] if e]
    tests = [evaluated(e) for e in evaluations]
    paired = image_by_image(evaluations[1], evaluations[0]) if len(tests) == 2 else None
    if len(tests) < 2:
        tests = [found for found in map(logged_validation, (shallow, deep)) if found]
    training = [found for found in map(logged_training, (shallow, deep)) if found]
    if len(tests) < 2:
        return None
    ends = paired.interval if paired else _independent(*tests)
    outcome = _outcome((shallow, deep), tests, training, ends, subject)
    return Pair(shallow, deep, (training[0], training[1]), (tests[0], tests[1]), paired, outcome)


def _outcome(
    nets: Sequence[StudiedNet],
    tests: Sequence[Measured],
    training: Sequence[Measured],
    ends: Optional[tuple[float, float]],
    subject: Subject,
) -> str:
    if any(test.error > _HARDLY * _chance(net, subject) for net, test in zip(nets, tests)):
        return UNLEARNED
    if ends is None or ends[0] <= 0 <= ends[1]:
        return UNCLEAR
    if ends[1] < 0:
        return BETTER
    return DEGRADED if training[1].error > training[0].error else OVERFITTED


def _independent(shallow: Measured, deep: Measured) -> Optional[tuple[float, float]]:
    if shallow.interval is None or deep.interval is None:
        return None
    return difference(deep.error, deep.interval, shallow.error, shallow.interval)


def _chance(net: StudiedNet, subject: Subject) -> float:
    """The error of guessing, in percent."""
    classes = net.run.settings.get("classes") if net.run else None
    return 100 - 100 / (classes or subject.classes)


def _sentence(pair: Pair, subject: Subject) -> str:
    shallow, deep = label(pair.shallow), label(pair.deep)
    return (
        f"{deep} ends with a {subject.tested} error of {pair.tests[1].error:.2f} %, "
        f"{_beside(pair.test_difference)} {shallow}'s {pair.tests[0].error:.2f} % "
        f"({certainty(pair.paired, pair.interval, deep, shallow)}), "
        f"and a training error of {pair.training[1].error:.2f} %, "
        f"{_beside(pair.training_difference)} {shallow}'s {pair.training[0].error:.2f} %."
    )


def _open(name: str, nets: Sequence[StudiedNet], pair: Optional[Pair]) -> list[str]:
    """What is not finished, and whatever else keeps a family from being compared."""
    if not nets:
        return [f"There is no {name} network in this study."]
    sentences = [
        f"{label(net)} is not over: {len(net.run.epochs)} of {net.run.planned or 'an unknown number of'} epochs are."
        if net.run
        else f"{label(net)} has not begun."
        for net in nets
        if not net.finished
    ]
    if not pair and not sentences:
        few = len({net.depth for net in nets}) < 2
        why = "there is one depth only" if few else "their runs have no errors of the same test"
        sentences = [f"The {name} networks cannot be compared: {why}."]
    return sentences


def _contrast(plain: Pair, residual: Pair, subject: Subject) -> list[str]:
    """The cost of depth for plain networks compared with residual ones, if the depths are the same."""
    depths = {(pair.shallow.depth, pair.deep.depth) for pair in (plain, residual)}
    if len(depths) > 1 or plain.interval is None or residual.interval is None:
        return []
    gap = plain.test_difference - residual.test_difference
    ends = difference(plain.test_difference, plain.interval, residual.test_difference, residual.interval)
    return [
        f"From {plain.shallow.depth} to {plain.deep.depth} layers, the {subject.tested} error of the plain networks "
        f"changes by {plain.test_difference:+.2f} points and that of the residual ones by "
        f"{residual.test_difference:+.2f}: depth costs the plain ones {abs(gap):.2f} points "
        f"{'more' if gap > 0 else 'less'} ({shown(ends)})."
    ]


def _reasons(pair: Pair, subject: Subject) -> list[str]:
    """The reasons why a pair shows nothing."""
    sentences = []
    for net, test in zip((pair.shallow, pair.deep), pair.tests):
        chance = _chance(net, subject)
        if test.error > _HARDLY * chance:
            sentences.append(
                f"{label(net)} hardly learned: its {subject.tested} error is {test.error:.2f} %, and that of guessing "
                f"{chance:g} %."
            )
    if pair.interval is None:
        sentences.append(
            f"The runs of {label(pair.shallow)} and {label(pair.deep)} do not say of how many images their errors are."
        )
    return sentences


def _length(pair: Pair, study: Study) -> list[str]:
    """How short the deeper network's training was, and whether it was still improving."""
    deep, full = pair.deep, get_recipe(EXPERIMENTS[study.data_set].recipe).iterations
    assert deep.run is not None
    epochs = deep.run.epochs
    if not full or deep.run.iterations >= full:
        return []
    text = f"{label(deep)} was trained for {deep.run.iterations:,} iterations, the paper's for {full:,}"
    if len(epochs) > 1:
        fell = epochs[-2].train_top1_error - epochs[-1].train_top1_error
        how = f"fell by {fell:.2f} points" if fell > 0 else f"rose by {abs(fell):.2f} points"
        text += f"; in its last epoch its training error {how} ({log_line(deep, len(epochs))})"
    return [f"{text}."]


def _notes(pairs: Sequence[Pair], subject: Subject, study: Study) -> list[str]:
    notes = []
    for pair in pairs:
        protocol = pair.tests[0].protocol
        kind = f"of evaluations ({protocol})" if protocol else "of the logs' last epochs (1-crop)"
        sources = [m.source for m in (*pair.tests, *pair.training)]
        notes.append(
            f"{label(pair.shallow)} and {label(pair.deep)}: {subject.tested} errors {kind}, training errors the mean "
            f"over the last epoch; {', '.join(dict.fromkeys(sources))}."
        )
        differing = _differing(pair)
        if differing:
            notes.append(f"The runs of {label(pair.shallow)} and {label(pair.deep)} differ in {differing}.")
    if pairs:
        spread = next(row for row in TABLE_6 if row.network == "resnet110")
        assert spread.mean_std is not None
        how = methods(
            any(pair.paired for pair in pairs), any(pair.interval and not pair.paired for pair in pairs)
        )
        notes.append(
            f"The intervals of differences tell how far the choice of the images that were tested matters{how}. They "
            "leave out what another seed would change: the paper's ResNet-110 has a standard deviation of "
            f"{spread.mean_std[1]} points over 5 runs (Table {spread.table}), "
            + (
                "and ours are those above."
                if len(study.nets) > len(study.first_seeds)
                else "each of ours ran once."
            )
        )
    return notes


def _differing(pair: Pair) -> str:
    """Settings and data in which the runs differ, besides the network; '' if none is known."""
    cards = [net.run.card for net in (pair.shallow, pair.deep) if net.run and net.run.card]
    if len(cards) < 2:
        return ""
    known = [{**card.settings, **card.data, "epochs": card.epochs} for card in cards]
    names = [name for name in dict.fromkeys((*known[0], *known[1])) if name not in _OWN]
    pairs = [(name, *(k.get(name) for k in known)) for name in names]
    return ", ".join(
        f"{str(name).replace('_', ' ')} ({ours} and {theirs})"
        for name, ours, theirs in pairs
        if ours != theirs
    )


def _beside(points: float) -> str:
    if round(points, 2) == 0:
        return "the same as"
    return f"{abs(points):.2f} points {'above' if points > 0 else 'below'}"
