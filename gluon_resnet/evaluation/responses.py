"""The standard deviations of a trained network's layer responses (He et al. 2015, §4.2)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import reduce
from itertools import repeat
from typing import Any, Optional

from gluon_resnet._mxnet import gluon, mx
from gluon_resnet.analysis.responses import LayerResponse
from gluon_resnet.data import RecordFile
from gluon_resnet.errors import ModelError, UsageError
from gluon_resnet.evaluation.crops import CropScorer
from gluon_resnet.evaluation.members import Member, require_layers
from gluon_resnet.evaluation.scorer import Images, dealt
from gluon_resnet.models.moments import Moments
from gluon_resnet.training.progress import Progress


def measure_responses(
    member: Member,
    files: Sequence[RecordFile],
    *,
    batch_size: int = 64,
    threads: Optional[int] = None,
    contexts: Optional[Sequence[Any]] = None,
    progress: Optional[Progress] = None,
) -> tuple[LayerResponse, ...]:
    """The variation of each convolution's outputs over all images of `files`, in the order of the network.

    "The responses are the outputs of each 3x3 layer, after BN and before other nonlinearity (ReLU/addition)." All
    convolutions are measured, with any kernel, except projection shortcuts. If no normalization follows a
    convolution, its own output counts, with its bias: in the nets without any, and at the end of a pre-activated
    unit, where it is what the unit adds to its shortcut. The network is in inference mode, with running statistics.

    Args:
        member: a network that is not an exported graph; it is no longer hybridized afterwards.
        files: the record files; each image counts once, as the centre crop that the member's card describes.
        batch_size: the number of images at once, over all contexts.
        threads: the number of decoding threads; by default one for each processor.
        contexts: the devices that have the parameters (default: the CPU). They work in parallel.
        progress: a display of the progress.

    Returns:
        One response for each convolution; `name` is the block's without the network's prefix: the weight of
        'stage1_unit1_conv0' is PREFIXstage1_unit1_conv0_weight in `net.collect_params()`.

    Raises:
        UsageError: the network is an exported graph, or an argument is out of range.
        DataError: a record cannot be decoded; it names the record.
        ModelError: responses are not finite.
    """
    require_layers(member)
    if batch_size < 1:
        raise UsageError(f"batch_size: expected at least 1, found {batch_size}")
    contexts = list(contexts or [mx.cpu()])
    scorer = CropScorer(member, False, files, batch_size, threads)
    member.net.hybridize(active=False)  # hooks see nothing inside a hybridized block
    _, classifier = member.net
    layers = list(_layers(classifier.features))

    def forward(images: Images, rows: slice, context: Any) -> None:
        scorer.scores(images, rows, [context])()

    with ExitStack() as stack:
        for layer in layers:
            stack.callback(layer.seen.register_forward_hook(layer.see).detach)
        pool = stack.enter_context(ThreadPoolExecutor(len(contexts)))
        source = stack.enter_context(closing(iter(scorer)))
        followed = (progress or Progress(every=0)).follow(source, "responses", len(scorer))
        for images in stack.enter_context(closing(followed)):
            parts = dealt(len(images.labels), len(contexts))
            list(pool.map(forward, repeat(images), parts, contexts))
            for layer in layers:
                if not math.isfinite(layer.merge().squares):
                    raise ModelError(
                        f"{member.name}: the responses of {layer.convolution.name} are not finite"
                    )
    return tuple(
        LayerResponse(
            layer.convolution.name.removeprefix(classifier.prefix),
            layer.convolution.weight.shape[-1],
            layer.moments.std,
        )
        for layer in layers
    )


class _Layer:
    """A convolution, and the moments of its outputs so far."""

    def __init__(self, convolution: Any, seen: Any) -> None:
        self.convolution = convolution
        self.seen = seen  # the block whose outputs are the responses
        self.moments = Moments()
        self._pieces: list[Moments] = []

    def see(self, block: Any, inputs: Any, outputs: Any) -> None:
        """The hook, called by the threads of all contexts."""
        # NumPy takes half as long as the network here, and MXNet's own reductions three times as long as NumPy.
        self._pieces.append(Moments.of(outputs.asnumpy()))

    def merge(self) -> Moments:
        """The moments over all images, including those seen since the last call."""
        self.moments = reduce(Moments.merged, self._pieces, self.moments)
        self._pieces.clear()
        return self.moments


def _layers(block: Any) -> Iterator[_Layer]:
    """The convolutions within `block`, in order."""
    children = list(block._children.values())
    for child, following in zip(children, [*children[1:], None]):
        if isinstance(child, gluon.nn.Conv2D):
            yield _Layer(child, following if isinstance(following, gluon.nn.BatchNorm) else child)
        elif child is not getattr(block, "shortcut", None):
            yield from _layers(child)
