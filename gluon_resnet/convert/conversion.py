"""Conversion of another project's weights to ours, and back."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Callable, NamedTuple, Optional

import numpy as np

from gluon_resnet._mxnet import mx
from gluon_resnet.card import ModelCard
from gluon_resnet.convert.layouts import Layout, find, same_function, to_write
from gluon_resnet.convert.names import CONVOLUTION, NORM, Layer
from gluon_resnet.convert.weights_file import read_weights
from gluon_resnet.errors import ModelError, UsageError
from gluon_resnet.files import Path
from gluon_resnet.models.build import build_network
from gluon_resnet.models.parameters import parameter_value
from gluon_resnet.models.registry import choose_variant, describe
from gluon_resnet.terminal import printable, shown

_COUNTER = ".num_batches_tracked"
_EXPORTED_HEAD = "dense0_weight"
# The prefixes that DataParallel, torch.compile and networks around a network give to each name.
_AROUND = ("module.", "_orig_mod.", "model.", "backbone.", "net.")
_MOST_AROUND = 16  # nested networks: each costs a pass over all names
_AVERAGED = "n_averaged"  # PyTorch's AveragedModel counts here what it averaged
_EPSILON = 1e-5  # of batch normalization, everywhere
_NORMALIZATION = {"0.mean", "0.std"}  # our normalization of the input, which no other project's files have


class Weights(NamedTuple):
    """Another project's weights under our names."""

    layout: Layout  # the project's naming
    network: str
    variant: str
    shortcut: Optional[str]  # None for the network's own
    classes: int
    arrays: dict[str, np.ndarray]  # float32, without the mean and std of the input
    # Of the extra normalization that GluonCV's v2 nets put on the input; otherwise 0 and 1.
    mean: np.ndarray
    std: np.ndarray


def import_weights(
    path: Path,
    network: str,
    variant: Optional[str] = None,
    shortcut: Optional[str] = None,
    source: Optional[str] = None,
    entry: Optional[str] = None,
    tell: Callable[[str], None] = lambda sentence: None,
) -> Weights:
    """Read the weights of another project's `network`; every tensor is used once, and every one of ours is filled.

    Args:
        path: the file; see read_weights.
        network: the name as for get_model, or with its variant at the end, 'resnet50_v1b'.
        variant: the variant; by default the one in the name, or else the file's.
        shortcut: the shortcut option; by default the file's.
        source: the project that the weights come from, one of SOURCES; by default told from the names of the tensors.
        entry, tell: see read_weights.

    Raises:
        UsageError: there is no such network or entry, no project has it, or the file's variant is another one.
        ModelError: the file is damaged, or does not have exactly the tensors of the network, in their shapes.
        OSError: the file cannot be read.
    """
    path = os.fspath(path)
    network, variant = choose_variant(network, variant)
    describe(network, shortcut, variant or "v1")  # fails if there is no such network
    arrays = _relative_names(path, read_weights(path, entry, tell))
    counters = {name: arrays.pop(name) for name in list(arrays) if name.endswith(_COUNTER)}
    layout, found_shortcut, layers = find(path, arrays, network, shortcut, source)
    variant = _variant(network, layers, variant, layout)
    pairs = layout.names.tensors(layers)
    _check_counters(path, counters, pairs, layout)

    head, names = pairs[-1]
    classes = (*arrays[names["weight"]].shape, 0)[0]
    if classes < 1:
        raise _error(path, f"tensor {names['weight']} has no classes")
    head.shapes.update(weight=(classes, head.shapes["weight"][1]), bias=(classes,))
    result: dict[str, np.ndarray] = {}
    mean, std = np.zeros(3), np.ones(3)
    bias = none = np.zeros((), np.float32)  # the bias of the preceding convolution
    for layer, names in pairs:
        tensors = {
            # A bias that ours lacks has one value for each channel of the convolution.
            word: _checked(
                path, name, arrays[name], layer.shapes.get(word, layer.shapes.get("weight", ())[:1])
            )
            for word, name in names.items()
        }
        if not layer.tensors:
            # Its scale is not used, because of MXNet's fix_gamma.
            std = np.sqrt(tensors["running_var"].astype(np.float64) + _EPSILON)
            mean = tensors["running_mean"] - std * tensors["beta"]
            continue
        if layer.kind == NORM:
            # (x + bias) - mean is x - (mean - bias), and our convolutions have no bias.
            tensors["running_mean"] = tensors["running_mean"] - bias
        bias = tensors.pop("bias", none) if layer.kind == CONVOLUTION else none
        result.update({layer.tensors[word]: array for word, array in tensors.items()})
    option = None if found_shortcut == describe(network, None, variant).shortcut else found_shortcut
    return Weights(layout, network, variant, option, classes, result, mean, std)


def build(card: ModelCard, arrays: Mapping[str, np.ndarray]) -> Any:
    """The network of `card`, on the CPU, with the weights `arrays` under our names."""
    net = build_network(card)
    net.initialize()
    for name, parameter in net._collect_params_with_prefix().items():
        if name not in _NORMALIZATION:
            parameter.set_data(mx.nd.array(arrays[name], dtype="float32"))
    return net


def export_weights(card: ModelCard, net: Any, source: str, path: str) -> tuple[Layout, dict[str, np.ndarray]]:
    """The weights of our `net`, with normalization in front, named as in `source` and bitwise equal to ours.

    What only the other project has is filled so that the network stays the same: biases with 0, and so are
    PyTorch's counters of batches.

    Args:
        source: one of SOURCES.
        path: the path of the file to be written, whose ending must be one that the source's files have.

    Raises:
        UsageError: the other project has no network that computes the same.
    """
    if card.per_pixel_mean:
        raise UsageError(f"{card.network} contains a mean image, which files of {source} cannot hold")
    layout, _, layers = to_write(source, card.network, card.variant, card.shortcut, path)
    parameters = net._collect_params_with_prefix()
    result: dict[str, np.ndarray] = {}
    for layer, names in layout.names.tensors(layers):
        for word, name in names.items():
            if word in layer.tensors:
                result[name] = parameter_value(parameters[layer.tensors[word]])
            elif layer.tensors:  # a bias
                result[name] = np.zeros(result[names["weight"]].shape[:1], np.float32)
            else:  # a normalization of the image that has no effect
                value = {"gamma": 1, "running_var": 1 - _EPSILON}.get(word, 0)
                result[name] = np.full(3, value, np.float32)
        if layer.kind == NORM and layout.names.torch_words:
            result[_counter(names)] = np.zeros((), np.int64)
    return layout, result


def _relative_names(path: str, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The names without their prefixes, which come from networks around this one or from an exported Gluon net."""
    if _AVERAGED in arrays and len(arrays) > 1:
        _check_counter(path, _AVERAGED, arrays[_AVERAGED])
        arrays = {name: array for name, array in arrays.items() if name != _AVERAGED}
    heads = [name for name in arrays if name.endswith(_EXPORTED_HEAD)][:_MOST_AROUND]
    starts = (*_AROUND, *(name[: -len(_EXPORTED_HEAD)] for name in heads))
    for _ in range(_MOST_AROUND):
        found = False
        for start in starts:
            if start and arrays and all(name.startswith(start) for name in arrays):
                arrays = {name[len(start) :]: array for name, array in arrays.items()}
                found = True
        if not found:
            break
    return arrays


def _variant(network: str, layers: Sequence[Layer], wanted: Optional[str], layout: Layout) -> str:
    """The variant for our network: `wanted`, if that computes the same function as the file's."""
    if wanted is None:
        return "v1" if same_function(layers, "v1", layout.variant) else layout.variant
    if not same_function(layers, wanted, layout.variant):
        raise UsageError(
            f"the weights of {layout.title} are for {network}_{layout.variant}: "
            f"as {network}_{wanted} they would compute another function"
        )
    return wanted


def _counter(names: Mapping[str, str]) -> str:
    """The name of PyTorch's count of the batches that a normalization has seen."""
    return names["running_mean"].replace(".running_mean", _COUNTER)


def _check_counters(
    path: str,
    counters: Mapping[str, np.ndarray],
    pairs: Sequence[tuple[Layer, Mapping[str, str]]],
    layout: Layout,
) -> None:
    """Check PyTorch's counts of batches, which the network does not use, and consume them."""
    norms = [names for layer, names in pairs if layer.kind == NORM and layout.names.torch_words]
    known = set(map(_counter, norms))
    for name, array in counters.items():
        if name not in known:
            raise _error(path, f"tensor {name[:80]} does not belong to {layout.title}")
        _check_counter(path, name, array)


def _check_counter(path: str, name: str, array: np.ndarray) -> None:
    if array.size != 1 or array.dtype.kind != "i":
        raise _error(
            path, f"tensor {name[:80]}: expected one integer, found {array.dtype} {shown(array.shape)}"
        )


def _checked(path: str, name: str, array: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """The array as float32; ModelError unless it has this shape and finite values."""
    if array.shape != tuple(shape):
        raise _error(path, f"tensor {name}: expected shape {tuple(shape)}, found {shown(array.shape)}")
    if array.dtype.kind != "f":
        raise _error(path, f"tensor {name}: expected real numbers, found {array.dtype}")
    with np.errstate(over="ignore"):
        array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise _error(path, f"tensor {name} has values that are not finite in float32")
    return array


def _error(path: str, message: str) -> ModelError:
    return ModelError(f"{path}: {printable(message)}", path=path)
