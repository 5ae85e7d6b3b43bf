"""Softmax cross entropy with smoothed and mixed labels."""

from __future__ import annotations

from typing import Any, Optional

from gluon_resnet._mxnet import gluon


class CrossEntropy(gluon.HybridBlock):
    """The negative logarithm of the label's probability, per image.

    With `smoothing` e it is (1 - e) times that plus e times its mean over all classes (Szegedy et al. 2015,
    arXiv:1512.00567, §7; PyTorch's CrossEntropyLoss(label_smoothing=e)).

    Inputs are scores (n, classes) and labels (n,), and with mixup also the partners' labels (n,) and a weight of one
    element: the loss is weight * loss(label) + (1 - weight) * loss(other). The output is (n,).
    """

    def __init__(self, smoothing: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._smoothing = smoothing

    def hybrid_forward(
        self, F: Any, scores: Any, label: Any, other: Optional[Any] = None, weight: Optional[Any] = None
    ) -> Any:
        log = F.log_softmax(scores, axis=-1)
        loss = -F.pick(log, label, axis=-1)
        if other is not None:
            of_other = -F.pick(log, other, axis=-1)
            loss = F.broadcast_add(of_other, F.broadcast_mul(weight, loss - of_other))
        if self._smoothing:
            loss = (1 - self._smoothing) * loss - self._smoothing * F.mean(log, axis=-1)
        return loss
