"""The part of a difference that is due to the seed: networks that were trained several times."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Optional

from scipy.stats import ttest_ind

from gluon_resnet.reproduction.reporting.certainty import shown
from gluon_resnet.reproduction.reporting.names import kind
from gluon_resnet.reproduction.study import StudiedNet, Study


@dataclass(frozen=True)
class Spread:
    """The errors of one network in evaluations that differ only in the training's seed."""

    name: str
    errors: tuple[float, ...]  # in percent, at least two
    sources: tuple[str, ...]  # the file of each one

    @property
    def mean(self) -> float:
        """The mean of the errors."""
        return fmean(self.errors)

    def __str__(self) -> str:
        """'12.31 ± 0.15 %': mean and sample standard deviation."""
        return f"{self.mean:.2f} ± {stdev(self.errors):.2f} %"


def spread(study: Study, net: StudiedNet, protocol: str) -> Optional[Spread]:
    """The spread over the seeds of `net` that are trained; None if fewer than two of them are tested."""
    tests = [found.evaluation(protocol) for found in study.repeats(net) if found.finished]
    known = [test for test in tests if test]
    if len(known) < 2:
        return None
    files = tuple(os.path.basename(test.path) for test in known)
    return Spread(kind(net), tuple(test.top1_error for test in known), files)


def over_seeds(
    study: Study, shallow: StudiedNet, deep: StudiedNet, protocol: str, tested: str
) -> Sequence[str]:
    """A sentence on the difference of two networks over several seeds; none if either has fewer than two."""
    ours, theirs = spread(study, deep, protocol), spread(study, shallow, protocol)
    if not ours or not theirs:
        return ()
    # Zero variances, from two equal errors each, have no t.
    varies = len({*ours.errors}) > 1 or len({*theirs.errors}) > 1
    test = ttest_ind(ours.errors, theirs.errors, equal_var=False) if varies else None
    found = test.confidence_interval(0.95) if test else None
    ends = (float(found.low), float(found.high)) if found else None
    return (
        f"Over {len(ours.errors)} and {len(theirs.errors)} seeds, {ours.name} has a {tested} error of {ours}, mean and "
        f"standard deviation, and {theirs.name} one of {theirs}: a difference of {ours.mean - theirs.mean:+.2f} points "
        f"({shown(ends)}, by Welch's t over the seeds; {', '.join((*ours.sources, *theirs.sources))}).",
    )
