"""A network in its fully convolutional form: scores at every position of an image of any size."""

from __future__ import annotations

import os
from typing import Any

from gluon_resnet._mxnet import gluon, mx
from gluon_resnet.errors import UsageError
from gluon_resnet.evaluation.members import Member
from gluon_resnet.models import Normalize


def fully_convolutional(member: Member) -> Any:
    """A twin of the network that shares its parameters; the network itself stays as it is.

    Its input is float32 or uint8 RGB from 0 to 255, (n, 3, H, W), with H and W at least the card's `size`; its
    output is the scores before the softmax, (n, classes), averaged over all positions. The global average pooling
    becomes one over the window that it has at the card's size (7x7 for 224 pixels), with stride 1, and the last
    layer becomes a 1x1 convolution (Simonyan & Zisserman 2014, §3.2). He et al. 2015, §3.4 say "fully-convolutional
    form", but neither give the window nor say whether scores or probabilities are averaged over the positions.

    A mean image fits no other size, so its average, one value per channel, is subtracted instead.

    Raises:
        UsageError: the network does not end with global average pooling and one fully connected layer, or it is
            an exported graph.
    """
    # Each convolution's primitive is cached for each image size, 1.5 MB per size for ResNet-18, and cuDNN would try
    # all its algorithms on each. MXNet reads these variables at the first convolution.
    os.environ.setdefault("MXNET_MKLDNN_CACHE_NUM", "64")
    os.environ.setdefault("MXNET_CUDNN_AUTOTUNE_DEFAULT", "0")
    card = member.card
    if isinstance(member.net, gluon.SymbolBlock):
        raise UsageError(
            f"{member.name}: multi-scale testing changes the last layers, which an exported graph does not allow: "
            "name the checkpoint that it was made from"
        )
    normalize, classifier = member.net
    layers, head = list(classifier.features), classifier.output
    while isinstance(layers[-1], (gluon.nn.Flatten, gluon.nn.Dropout)):
        layers.pop()
    if not isinstance(layers.pop(), gluon.nn.GlobalAvgPool2D):
        raise UsageError(
            f"{member.name}: multi-scale testing needs a network that ends with global average pooling and one "
            f"fully connected layer, which {card.network} does not: choose 1-crop or 10-crop"
        )
    if card.per_pixel_mean:
        normalize = Normalize(card.mean, card.std)
        normalize.initialize(ctx=head.weight.list_ctx())
    twin = gluon.nn.HybridSequential(prefix="")
    twin.add(normalize, *layers)
    _, shapes, _ = twin(mx.sym.var("data")).infer_shape(data=(1, 3, card.size, card.size))
    twin.add(gluon.nn.AvgPool2D(shapes[0][2:], strides=1), _Pointwise(head), gluon.nn.GlobalAvgPool2D())
    twin.add(gluon.nn.Flatten())
    twin.hybridize()  # without static_alloc, which keeps memory for the largest image so far
    return twin


class _Pointwise(gluon.HybridBlock):
    """A fully connected layer applied at every position of a map, (n, in, H, W) to (n, out, H, W)."""

    def __init__(self, dense: Any) -> None:
        super().__init__(prefix=dense.prefix, params=dense.params)
        self._units = dense.weight.shape[0]
        self.weight = self.params.get("weight")
        self.bias = self.params.get("bias")

    def hybrid_forward(self, F: Any, x: Any, weight: Any, bias: Any) -> Any:
        weight = F.reshape(weight, shape=(0, 0, 1, 1))
        return F.Convolution(x, weight, bias, kernel=(1, 1), num_filter=self._units)
