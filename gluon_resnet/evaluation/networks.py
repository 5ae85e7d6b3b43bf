"""The trained networks that a command line names, as members of an evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Optional, Union

from gluon_resnet.card import ModelCard
from gluon_resnet.deploy.graph import count_classes, load_graph
from gluon_resnet.deploy.symbol_file import SymbolFile
from gluon_resnet.deploy.without_card import PartialCard
from gluon_resnet.evaluation import Member
from gluon_resnet.evaluation.report import Network
from gluon_resnet.models.parameters import of_a_graph, read_arrays
from gluon_resnet.models.saved import chosen_epoch, load_network, parameters_path
from gluon_resnet.training.devices import cpu_contexts, gpu_contexts


def contexts_of(gpus: Optional[Sequence[int]], cpus: int) -> list[Any]:
    """The GPUs with these numbers, or if None that many CPU contexts; EnvironmentProblem for an unusable GPU."""
    return gpu_contexts(gpus) if gpus else cpu_contexts(cpus)


def load_member(
    prefix: str, wanted: Union[int, str, None], contexts: Sequence[Any], told: Optional[PartialCard] = None
) -> tuple[Member, Network]:
    """The network of a checkpoint, or of an export, whose arrays are named 'arg:NAME' and 'aux:NAME'.

    Its card is made from `told` if given, or else read from PREFIX-model.json.
    """
    chosen = chosen_epoch(prefix, wanted)
    path = parameters_path(prefix, chosen)
    exported = of_a_graph(read_arrays(path))
    if exported:
        graph = f"{prefix}-symbol.json"
        if told:
            card = told.of_graph(count_classes(SymbolFile(graph), told.size), graph)
        else:
            card = ModelCard.load(f"{prefix}-model.json")
            card.require_format("mxnet", f"{prefix}-model.json")
        net = load_graph(graph, path, card, contexts)
    else:
        card, net = load_network(prefix, chosen, contexts, told.of_checkpoint(path) if told else None)
    network = Network(path, card.network, card.shortcut, card.variant, chosen, exported)
    return Member(path, card, net), network
