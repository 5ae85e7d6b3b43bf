"""From a checkpoint to the three files that every predictor reads: graph, parameters, model card."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Union

from gluon_resnet._mxnet import mx
from gluon_resnet.errors import UsageError
from gluon_resnet.files import temporary_name
from gluon_resnet.models.parameters import parameter_value, write_arrays
from gluon_resnet.models.saved import load_network, parameters_path

Path = Union[str, "os.PathLike[str]"]

INPUT = "data"  # the name of the graph's input: float32 RGB from 0 to 255, (N, 3, size, size)


def export(model_prefix: Path, epoch: int, output: Path) -> None:
    """Write OUTPUT-symbol.json, OUTPUT-0000.params and OUTPUT-model.json from a training run's files.

    The graph has the normalization inside: its input `data` is float32 RGB from 0 to 255 of shape
    (N, 3, size, size), its output the logits, (N, classes). The parameters are named as
    `HybridBlock.export` names them, so that `SymbolBlock.imports`, `Module` and the C predict API read them.

    Args:
        model_prefix: PREFIX of PREFIX-model.json and PREFIX-NNNN.params.
        epoch: NNNN.
        output: beginning of the names of the new files; its folder is made when it does not exist.

    Raises:
        ModelError: the card or the parameters are damaged, or do not belong together.
        UsageError: the export would overwrite the checkpoint.
        OSError: a file cannot be read or written.
    """
    model_prefix, output = os.fspath(model_prefix), os.fspath(output)
    checkpoint = parameters_path(model_prefix, epoch)
    if os.path.realpath(checkpoint) == os.path.realpath(f"{output}-0000.params"):
        raise UsageError(f"the export would overwrite the checkpoint {checkpoint}: choose another output")
    card, net = load_network(model_prefix, epoch)

    graph = net(mx.sym.var(INPUT))
    parameters = net.collect_params()
    kinds = {"arg": graph.list_arguments(), "aux": graph.list_auxiliary_states()}
    arrays = {
        f"{kind}:{name}": parameter_value(parameters[name])
        for kind, names in kinds.items()
        for name in names
        if name != INPUT
    }
    os.makedirs(os.path.dirname(output) or ".", exist_ok=True)
    # All three are complete before the first one is renamed.
    with temporary_name(f"{output}-model.json") as card_path:
        # The errors in the card are those of the last epoch of the run.
        replace(card, training={**card.training, "exported_epoch": epoch}).save(card_path)
        with temporary_name(f"{output}-symbol.json") as graph_path:
            graph.save(graph_path)
            with temporary_name(f"{output}-0000.params") as arrays_path:
                write_arrays(arrays_path, arrays)
