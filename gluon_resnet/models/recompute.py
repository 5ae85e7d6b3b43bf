"""Training in bounded memory, by recomputing activations in the backward pass (Chen et al. 2016).

MXNet 1.9.1 has nothing for this in Gluon: MXNET_BACKWARD_DO_MIRROR only affects its older symbolic executor
(apache/mxnet#19133), and the gradients of an autograd.Function that records while it is called back were wrong in
most steps that we tried, since MXNet went on before they were complete.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Optional

from gluon_resnet._mxnet import gluon, mx
from gluon_resnet.errors import UsageError
from gluon_resnet.models.classifier import Classifier


class Recomputed:
    """Training steps of `net` with the activations of only one segment of its layers in memory at a time.

    For n segments, the forward pass keeps their n inputs, and the backward pass recomputes the rest, except in the
    last segment (Chen et al. 2016, arXiv:1604.06174): n + layers / n activations instead of all, for about a third
    more work. Gradients are those of the plain net, and running statistics are updated once per batch. A step of
    resnet1202 with a batch of 32 took 475 MiB beyond the net itself, and 2917 MiB without recomputation (91 MiB per
    image, or about 11 GiB for the paper's 128). Use it in place of the net:

        scores = recomputed(images)              # under autograd.record(); once per device
        recomputed.backward([loss], [gradient])  # instead of autograd.backward

    Args:
        net: an initialized Classifier, or a HybridSequential that ends with one (as from `with_normalization`).
            Layers from the first dropout on are in the last segment, since drawing again would give other numbers.
        segments: the number of segments (by default the square root of the number of layers).
    """

    def __init__(self, net: Any, segments: Optional[int] = None) -> None:
        layers = _layers(net)
        if segments is None:
            segments = round(len(layers) ** 0.5)
        if segments < 1:
            raise UsageError(f"activations are recomputed in at least one segment, not {segments}")
        drops = [index for index, layer in enumerate(layers) if isinstance(layer, gluon.nn.Dropout)]
        starts = sorted({len(layers) * n // segments for n in range(segments)})
        starts = [start for start in starts if not drops or start <= drops[0]]
        self._segments = [_Segment(layers[a:b]) for a, b in zip(starts, [*starts[1:], len(layers)])]
        self._passes: list[
            list[Any]
        ] = []  # for each call since the last backward, the inputs of all segments

    def __call__(self, x: Any) -> Any:
        """The scores of `x` in training mode; `backward` must follow."""
        inputs = [x]
        with mx.autograd.pause(train_mode=True):
            for segment in self._segments[:-1]:
                inputs.append(segment(inputs[-1], scratch=True))
        if len(inputs) > 1:
            inputs[-1].attach_grad()
        self._passes.append(inputs)
        with mx.autograd.record():
            return self._segments[-1](inputs[-1])

    def backward(self, heads: Sequence[Any], gradients: Optional[Sequence[Any]] = None) -> None:
        """Like mx.autograd.backward, for heads that depend on all scores since the last call."""
        mx.autograd.backward(list(heads), gradients)
        passes, self._passes = self._passes, []
        # Segments before the first trained parameter have no gradient.
        first = next((n for n, segment in enumerate(self._segments) if segment.trains), len(self._segments))
        for inputs in passes:
            for index in range(len(inputs) - 2, first - 1, -1):
                gradient = inputs.pop().grad
                if index > first:
                    inputs[index].attach_grad()
                with mx.autograd.record():
                    y = self._segments[index](inputs[index])
                y.backward(gradient)


class _Segment:
    """Several layers as one graph. Unlike a hybridized block, it can run without touching running statistics."""

    def __init__(self, layers: list[Any]) -> None:
        block = gluon.nn.HybridSequential(prefix="")
        block.add(*layers)
        graph = block(mx.sym.var("data"))
        parameters = block.collect_params()
        self.trains = any(parameter.grad_req != "null" for parameter in parameters.values())
        self._graph = mx.nd.CachedOp(graph)
        self._inputs = [None if name == "data" else parameters[name] for name in graph.list_inputs()]
        self._moving = set(graph.list_auxiliary_states())

    def __call__(self, x: Any, scratch: bool = False) -> Any:
        """The output for `x`. With `scratch`, running statistics are not changed."""
        inputs = [x if parameter is None else parameter.data(x.context) for parameter in self._inputs]
        if scratch:
            for index, parameter in enumerate(self._inputs):
                if parameter is not None and parameter.name in self._moving:
                    inputs[index] = inputs[index].copy()  # a frozen normalization reads them
        return self._graph(*inputs)


def _layers(block: Any) -> list[Any]:
    """The layers of a Classifier or a HybridSequential, with stages taken apart and units left whole."""
    if isinstance(block, Classifier):
        return [*_layers(block.features), block.output]
    if type(block) is gluon.nn.HybridSequential:  # not a HybridConcurrent, whose layers are side by side
        return [layer for inner in block for layer in _layers(inner)]
    return [block]
