"""Reads what the steps of a study have written, and checks that it belongs to the networks as they are now."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Optional

from gluon_resnet.analysis.cost import Total, layers_of
from gluon_resnet.analysis.responses import Responses
from gluon_resnet.card import ModelCard
from gluon_resnet.errors import UsageError
from gluon_resnet.files import beside, sha256
from gluon_resnet.json_values import is_integer, read_json, require, taking_apart
from gluon_resnet.models.registry import describe, get_model
from gluon_resnet.models.saved import load_card, newest_epoch, parameters_path
from gluon_resnet.reproduction.deviations import deviations
from gluon_resnet.reproduction.example import EXAMPLE
from gluon_resnet.reproduction.experiments import Experiment
from gluon_resnet.reproduction.nets import PlannedNet
from gluon_resnet.reproduction.study import Evaluation, StudiedNet, Study
from gluon_resnet.runs.files.run import Run, read_run

_OLD_TOPK = "top5_wrong"  # before version 0.2.0, whatever top_k was


def read_run_of(prefix: str) -> Optional[Run]:
    """The run, finished or not; None if it has not begun. DataError for damaged files."""
    return read_run(prefix) if os.path.exists(f"{prefix}-log.jsonl") else None


def read_evaluation(path: str) -> Evaluation:
    """What `tools/evaluate.py --output` wrote to `path`; DataError for anything else, OSError where it is not there."""
    way_out = "; remove it, and it is made again"
    with taking_apart(path, "what evaluate.py writes", way_out=way_out):
        content = read_json(path)
        networks = [network["parameters"] for network in content["networks"]]
        numbers = {name: _number(content, name) for name in ("images", "top_k", "top1_wrong")}
        result = Evaluation(
            path=path,
            keys=tuple(os.path.basename(name).rpartition("-")[0] for name in networks),
            epochs=tuple(_number(network, "epoch") for network in content["networks"]),
            protocol=str(content["protocol"]),
            scales=None if content["scales"] is None else tuple(map(int, content["scales"])),
            topk_wrong=_number(content, "topk_wrong" if "topk_wrong" in content else _OLD_TOPK),
            command=str(content["command"]),
            predictions=_predictions_beside(path, content.get("predictions")),
            **numbers,
        )
        if not (0 <= result.topk_wrong <= result.top1_wrong <= result.images and result.images > 0):
            raise ValueError(
                f"{result.top1_wrong} and {result.topk_wrong} of {result.images} images are wrong"
            )
    return result


def _predictions_beside(path: str, kept: Optional[dict[str, str]]) -> Optional[str]:
    """The path of the predictions that an evaluation kept; None if it kept none, or another one has replaced them."""
    if kept is None:
        return None
    kept_path = beside(path, kept["file"])
    return kept_path if os.path.isfile(kept_path) and sha256(kept_path) == kept["sha256"] else None


def _number(content: Any, name: str) -> int:
    require(is_integer(content[name], 0, 1 << 62), name, "a number from 0", content[name])
    return int(content[name])


def is_newer(path: str, prefix: str) -> bool:
    """Whether the file exists and is newer than the newest parameters of the network."""
    epoch = newest_epoch(prefix)
    if epoch is None or not os.path.exists(path):
        return False
    return os.path.getmtime(path) >= os.path.getmtime(parameters_path(prefix, epoch))


def is_evaluation_of(path: str, prefixes: Sequence[str]) -> bool:
    """Whether the file is an evaluation of these networks after their newest epochs."""
    if not all(is_newer(path, prefix) for prefix in prefixes):
        return False
    found = read_evaluation(path)
    wanted = [(os.path.basename(prefix), newest_epoch(prefix)) for prefix in prefixes]
    return list(zip(found.keys, found.epochs)) == wanted


def best_prefix(evaluations: Sequence[tuple[str, str]]) -> str:
    """The prefix with the fewest errors among pairs of a network's prefix and its evaluation, the first of equals."""
    return min(evaluations, key=lambda pair: read_evaluation(pair[1]).top1_wrong)[0]


def is_export_of(output: str, prefix: str) -> bool:
    """Whether OUTPUT-model.json belongs to files exported from the newest parameters of `prefix`."""
    card, epoch = f"{output}-model.json", newest_epoch(prefix)
    if epoch is None or not os.path.exists(card):
        return False
    exported = ModelCard.load(card).exported
    return exported is not None and exported.sha256 == sha256(parameters_path(prefix, epoch))


def read_net(folder: str, net: PlannedNet, experiment: Experiment) -> StudiedNet:
    """What exists for a network; evaluations and responses of earlier parameters are ignored."""
    prefix, files = prefix_of(folder, net), os.path.join(folder, net.key)
    evaluations = [f"{files}-{protocol}.json" for protocol in experiment.protocols_of(net)]
    responses = f"{files}-responses.json"
    layers = layers_of(get_model(net.network, experiment.classes, net.shortcut), (3, *[experiment.size] * 2))
    return StudiedNet(
        key=net.key,
        network=net.network,
        shortcut=net.shortcut,
        depth=net.depth,
        parameters=Total.of(layers).parameters,
        prefix=prefix,
        run=read_run_of(prefix),
        responses=Responses.load(responses) if is_newer(responses, prefix) else None,
        evaluations=tuple(read_evaluation(path) for path in evaluations if is_evaluation_of(path, [prefix])),
        seed=net.seed,
        source=load_card(net.converted).source if net.converted else None,
    )


def planned_conversions(prefixes: Sequence[str], experiment: Experiment) -> tuple[PlannedNet, ...]:
    """The networks that convert.py wrote under `prefixes`, in this order.

    UsageError if one was not converted, has another number of classes, or the name of another one; OSError and
    ModelError if a card does not exist or is damaged.
    """
    nets: dict[str, PlannedNet] = {}
    for prefix in prefixes:
        card = load_card(prefix)
        if card.source is None or card.recipe is not None:
            raise UsageError(f"--converted: {prefix}-model.json does not describe converted weights")
        if len(card.classes) != experiment.classes:
            raise UsageError(
                f"--converted: {prefix} has {len(card.classes)} classes, but {experiment.data_set} has "
                f"{experiment.classes}"
            )
        key = f"converted-{os.path.basename(prefix)}"
        if key in nets:
            raise UsageError(f"--converted: two networks are called {os.path.basename(prefix)}")
        shortcut = describe(card.network, card.shortcut).shortcut
        nets[key] = PlannedNet(key, card.network, shortcut, converted=prefix)
    return tuple(nets.values())


def prefix_of(folder: str, net: PlannedNet) -> str:
    """The prefix of the network's own files."""
    return net.converted or os.path.join(folder, net.key)


def read_ensembles(folder: str, nets: Sequence[PlannedNet], experiment: Experiment) -> tuple[Evaluation, ...]:
    """The existing evaluations of several networks together."""
    found = []
    for protocol, group in experiment.ensembles(nets):
        path = os.path.join(folder, f"{'+'.join(net.key for net in group)}-{protocol}.json")
        if is_evaluation_of(path, [os.path.join(folder, net.key) for net in group]):
            found.append(read_evaluation(path))
    return tuple(found)


def read_study(
    folder: str,
    command: str,
    nets: Sequence[PlannedNet],
    experiment: Experiment,
    test_records: Sequence[str],
    converted: Sequence[PlannedNet] = (),
) -> Study:
    """Everything that exists of a study.

    Args:
        folder: the folder of the study.
        command: the command that makes the study, as typed.
        nets, experiment: the networks and the experiment of the study.
        converted: networks to be shown beside them.
        test_records: record files of the test set, which may not exist yet.
    """
    studied = tuple(read_net(folder, net, experiment) for net in nets)
    example = os.path.join(folder, EXAMPLE)
    return Study(
        data_set=experiment.data_set,
        folder=folder,
        command=command,
        nets=studied,
        converted=tuple(read_net(folder, net, experiment) for net in converted),
        ensembles=read_ensembles(folder, nets, experiment),
        deviations=deviations(studied, experiment, test_records),
        example=EXAMPLE if os.path.exists(example) else None,
    )
