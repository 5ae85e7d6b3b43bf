"""Batch normalization's means and variances over a whole set of images, in place of running averages.

Running averages lag behind the weights: with MXNet's momentum of 0.9 only the last few dozen batches count, most of
them normalized by weights that are no longer there. He et al. 2015, appendix A, use fixed statistics of the training
set; Wu and Johnson 2021 (arXiv:2105.07576, §3) call it PreciseBN.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from functools import reduce
from typing import Any

from gluon_resnet._mxnet import gluon, mx
from gluon_resnet.models.moments import Moments


def normalizations(net: Any) -> dict[str, Any]:
    """The batch normalizations of `net` that learn statistics, by the names that their parameters begin with.

    A layer that training leaves as it is (see transfer.freeze) is not one of them, nor is any in an exported graph.
    """
    return {name: block for name, block in _named(net, "") if not block._kwargs["use_global_stats"]}


def measure_statistics(net: Any, batches: Iterable[Sequence[Any]]) -> dict[str, Moments]:
    """The moments of each channel of the inputs of all `normalizations`, over all images of `batches`.

    Each array is normalized by its own statistics, as in training; the moments are then those of all arrays together,
    each image counting once. Nothing of `net` changes, but that it is no longer hybridized afterwards.

    Args:
        net: an initialized HybridBlock.
        batches: arrays of images for each batch, (n, 3, H, W), which may be on different devices; at least one array.
    """
    layers = {name: _Layer(block) for name, block in normalizations(net).items()}
    net.hybridize(active=False)  # hooks see nothing inside a hybridized block
    with ExitStack() as stack:
        for layer in layers.values():
            stack.callback(layer.block.register_forward_pre_hook(layer.see).detach)
        for batch in batches:
            with mx.autograd.train_mode():  # without recording, running statistics stay as they are
                for images in batch:
                    net(images)
            for layer in layers.values():
                layer.merge()
    return {name: layer.moments for name, layer in layers.items()}


class _Layer:
    """A normalization, and the moments of its inputs so far."""

    def __init__(self, block: Any) -> None:
        self.block = block
        self.moments = Moments()
        self._queued: list[tuple[int, Any, Any]] = []

    def see(self, block: Any, inputs: Sequence[Any]) -> None:
        """The hook: queue the means and variances of the input's channels, where it is."""
        (x,) = inputs
        mean, variance = _moments(x.swapaxes(1, block._kwargs["axis"]).astype("float32"))
        self._queued.append((x.size // mean.size, mean, variance))

    def merge(self) -> None:
        """Wait for what is queued, and add it to the moments."""
        seen = [
            Moments(size, mean.asnumpy().astype("float64"), variance.asnumpy().astype("float64") * size)
            for size, mean, variance in self._queued
        ]
        self.moments = reduce(Moments.merged, seen, self.moments)
        self._queued.clear()


def _moments(x: Any) -> tuple[Any, Any]:
    """The mean and the variance of each channel of (n, channels, ...), two arrays of (channels,).

    mx.nd.moments takes ten times as long on a CPU, more than a convolution.
    """
    x = x.reshape((0, 0, -1, 1))
    mean = _mean(x)
    return mean.reshape(-1), _mean(mx.nd.square(mx.nd.broadcast_sub(x, mean))).reshape(-1)


def _mean(x: Any) -> Any:
    """(n, channels, positions, 1) to (1, channels, 1, 1)."""
    return mx.nd.Pooling(x, kernel=(1, 1), global_pool=True, pool_type="avg").mean(axis=0, keepdims=True)


def _named(block: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """The batch normalizations within `block`, named as by _collect_params_with_prefix."""
    if isinstance(block, gluon.nn.BatchNorm):
        yield prefix.rstrip("."), block
    for name, child in block._children.items():
        yield from _named(child, f"{prefix}{name}.")
