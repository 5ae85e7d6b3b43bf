"""From a study's choices to its steps: train, test, measure responses, test ensembles, export the best network."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Optional

from gluon_resnet.errors import UsageError
from gluon_resnet.files import whole_file
from gluon_resnet.json_values import read_json, taking_apart
from gluon_resnet.models.saved import newest_epoch
from gluon_resnet.reproduction.experiments import EXPERIMENTS, Experiment
from gluon_resnet.reproduction.nets import PlannedNet
from gluon_resnet.reproduction.results import (
    best_prefix,
    is_evaluation_of,
    is_export_of,
    is_newer,
    prefix_of,
    read_evaluation,
    read_run_of,
)
from gluon_resnet.reproduction.steps import Step
from gluon_resnet.terminal import shown

_FORMAT = "gluon-resnet study 1"


@dataclass(frozen=True)
class Choices:
    """What all trainings and tests in a study's folder have in common, recorded there as study.json."""

    data_set: str
    train_records: tuple[str, ...]
    test_records: tuple[str, ...]
    epochs: Optional[int]  # None for the paper's schedule
    scales: Optional[tuple[int, ...]]  # for multi-scale testing; None for the paper's
    training: tuple[str, ...]  # further arguments of train.py

    @property
    def experiment(self) -> Experiment:
        """The paper's experiment on the data set."""
        return EXPERIMENTS[self.data_set]

    def kept(self, folder: str) -> bool:
        """Whether the folder has a study.json; UsageError if it belongs to a study with other choices."""
        path = os.path.join(folder, "study.json")
        ours = self._plain()
        if os.path.exists(path):
            theirs = _read(path)
            other = [f.name for f in fields(self) if theirs.get(f.name) != ours[f.name]]
            if other:
                pairs = ((name, shown(theirs.get(name)), shown(ours[name])) for name in other)
                differing = "; ".join(f"{name} {then} there, {now} now" for name, then, now in pairs)
                raise UsageError(
                    f"{folder} belongs to a study with other choices ({differing}): choose another --output"
                )
            return True
        return False

    def keep(self, folder: str) -> None:
        """Write study.json unless it exists; raises as `kept`."""
        if not self.kept(folder):
            with whole_file(os.path.join(folder, "study.json")) as stream:
                content = {"format": _FORMAT, **self._plain()}
                stream.write(json.dumps(content, indent=1, ensure_ascii=False) + "\n")

    def _plain(self) -> dict[str, Any]:
        """The choices as JSON returns them."""
        return dict(json.loads(json.dumps(asdict(self))))


def _read(path: str) -> dict[str, Any]:
    with taking_apart(path, "the file of a study"):
        return dict(read_json(path, format=_FORMAT))


def plan(
    folder: str,
    choices: Choices,
    nets: Sequence[PlannedNet],
    packing: Sequence[Step] = (),
    machine: Sequence[str] = (),
    converted: Sequence[PlannedNet] = (),
) -> list[Step]:
    """All steps of a study in `folder`, including those of `packing`. `converted` networks are tested, but not trained.

    `machine` has arguments for all tools that run networks, which affect their speed and not their results.
    """
    planner = _Planner(folder, choices, machine)
    packed = tuple(step.name for step in packing)
    steps = list(packing)
    for net in nets:
        steps += [planner.train(net, packed), *planner.tests(net)]
        if choices.experiment.responses and not net.seed:
            steps.append(planner.responses(net))
    for net in converted:
        steps.append(planner.test(choices.experiment.protocols[0], [net], packed))
        if choices.experiment.responses:
            steps.append(planner.responses(net, packed))
    steps += [planner.test(protocol, group) for protocol, group in choices.experiment.ensembles(nets)]
    return [*steps, planner.export(nets)]


class _Planner:
    """Makes the steps of one folder."""

    def __init__(self, folder: str, choices: Choices, machine: Sequence[str]) -> None:
        self._folder, self._choices, self._machine = folder, choices, machine

    def train(self, net: PlannedNet, needs: tuple[str, ...]) -> Step:
        """Done when its log has all epochs, and the parameters of the last one exist."""
        choices, prefix = self._choices, self._prefix(net)
        shortcut = ("--shortcut", net.shortcut) if net.shortcut else ()
        seed = ("--seed", str(net.seed)) if net.seed else ()
        command = (
            *(
                "train",
                "--network",
                net.network,
                *shortcut,
                *seed,
                *choices.experiment.training(choices.epochs),
            ),
            *("--data-train", *choices.train_records, "--data-val", *choices.test_records),
            *("--model-prefix", prefix, "--resume", "--disp-batches", "100"),
            *(*self._machine, *choices.training),
        )

        def done() -> bool:
            run = read_run_of(prefix)
            if run is None or choices.epochs not in (None, run.planned):
                return False
            return run.planned == len(run.epochs) == newest_epoch(prefix)

        return Step(
            f"train {net.key}", lambda: command, f"{prefix}-train.out", done, needs, cost=1000.0 + net.depth
        )

    def tests(self, net: PlannedNet) -> list[Step]:
        """The tests of a single network."""
        return [self.test(protocol, [net]) for protocol in self._choices.experiment.protocols_of(net)]

    def test(self, protocol: str, nets: Sequence[PlannedNet], needs: tuple[str, ...] = ()) -> Step:
        """Done when its files are those of these networks after their last epochs."""
        name, prefixes = "+".join(net.key for net in nets), [self._prefix(net) for net in nets]
        stem = os.path.join(self._folder, f"{name}-{protocol}")
        output = f"{stem}.json"
        scales = (
            self._choices.scales or self._choices.experiment.scales if protocol == "multi-scale" else None
        )
        command = (
            *("evaluate", "--model-prefix", *prefixes, "--data-val", *self._choices.test_records),
            *("--protocol", protocol, *(["--scales", ",".join(map(str, scales))] if scales else [])),
            *("--output", output, "--predictions", f"{stem}-predictions.npz", *self._machine),
        )

        def done() -> bool:
            return is_evaluation_of(output, prefixes) and read_evaluation(output).predictions is not None

        return Step(
            f"test {name} ({protocol})",
            lambda: command,
            os.path.join(self._folder, "evaluate.out"),
            done,
            (*needs, *(f"train {net.key}" for net in nets if not net.converted)),
            cost=sum(net.depth for net in nets),
        )

    def responses(self, net: PlannedNet, needs: tuple[str, ...] = ()) -> Step:
        """Done when the responses are those after the last epoch."""
        prefix = self._prefix(net)
        output = os.path.join(self._folder, f"{net.key}-responses.json")
        command = (
            *("responses", "--model-prefix", prefix, "--data-val", *self._choices.test_records),
            *("--output", output, *self._machine),
        )
        return Step(
            f"responses of {net.key}",
            lambda: command,
            os.path.join(self._folder, "responses.out"),
            lambda: is_newer(output, prefix),
            needs if net.converted else (*needs, f"train {net.key}"),
            cost=net.depth,
        )

    def export(self, nets: Sequence[PlannedNet]) -> Step:
        """Export the best network of all: best-symbol.json, best-0000.params, best-model.json."""
        output = os.path.join(self._folder, "best")
        tests = [self.tests(net)[0] for net in nets]

        def chosen() -> str:
            protocol = self._choices.experiment.protocols[0]
            return best_prefix([(self._prefix(net), f"{self._prefix(net)}-{protocol}.json") for net in nets])

        return Step(
            "export the best",
            lambda: ("export", "--model-prefix", chosen(), "--output", output),
            os.path.join(self._folder, "export.out"),
            lambda: all(test.done() for test in tests) and is_export_of(output, chosen()),
            tuple(test.name for test in tests),
        )

    def _prefix(self, net: PlannedNet) -> str:
        return prefix_of(self._folder, net)
