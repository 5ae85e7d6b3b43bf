"""The trained networks that a command line names, as members of an evaluation."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, Optional, Union

from gluon_resnet.card import ModelCard
from gluon_resnet.deploy.graph import load_graph
from gluon_resnet.deploy.without_card import ToldCard
from gluon_resnet.evaluation import Member
from gluon_resnet.evaluation.report import Network
from gluon_resnet.models.parameters import read_arrays
from gluon_resnet.models.saved import chosen_epoch, load_network, parameters_path
from gluon_resnet.training.devices import cpu_contexts, gpu_contexts


def chosen_contexts(args: argparse.Namespace) -> list[Any]:
    """Those of --gpus or --cpus; EnvironmentProblem for a GPU that cannot be used."""
    return gpu_contexts(args.gpus) if args.gpus else cpu_contexts(args.cpus)


def load_member(
    prefix: str, wanted: Union[int, str, None], contexts: Sequence[Any], told: Optional[ToldCard] = None
) -> tuple[Member, Network]:
    """The network of a checkpoint, or of an export, whose arrays are named 'arg:NAME' and 'aux:NAME'.

    Its card is what was told, or that of PREFIX.
    """
    chosen = chosen_epoch(prefix, wanted)
    path = parameters_path(prefix, chosen)
    exported = all(name.startswith(("arg:", "aux:")) for name in read_arrays(path))
    if exported:
        graph = f"{prefix}-symbol.json"
        card = told.of_graph(graph) if told else ModelCard.load(f"{prefix}-model.json")
        card.require_format("mxnet", f"{prefix}-model.json")
        net = load_graph(graph, path, card, contexts)
    else:
        card, net = load_network(prefix, chosen, contexts, told.of_checkpoint(path) if told else None)
    network = Network(path, card.network, card.shortcut, card.variant, chosen, exported)
    return Member(path, card, net), network
