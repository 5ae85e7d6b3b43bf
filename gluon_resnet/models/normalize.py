"""Normalization as the first layer, so that nobody downstream of training needs to know the mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Union

import numpy as np

from gluon_resnet._mxnet import gluon, mx
from gluon_resnet.errors import UsageError

Statistic = Union[Sequence[float], np.ndarray]


class Normalize(gluon.HybridBlock):
    """Computes (x - mean) / std of RGB images.

    The input is (N, 3, H, W), uint8 or float; the output is float32 of the same shape. Mean and standard deviation
    are saved, loaded and exported with the network, and never trained or re-initialized.

    Args:
        mean, std: the values in the units of the input: one per channel, of shape (3,) or (3, 1, 1), or one per
            pixel, of shape (3, H, W).

    Raises:
        UsageError: an argument has another shape, a value is not finite, or a standard deviation is not positive.
    """

    def __init__(self, mean: Statistic, std: Statistic, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._dtype = "float32"
        with self.name_scope():
            self.mean = self._constant("mean", mean)
            self.std = self._constant("std", std)
        if not (np.asarray(std, "float32") > 0).all():
            raise UsageError("every standard deviation must be positive")

    def _constant(self, name: str, value: Statistic) -> Any:
        array = np.asarray(value, "float32")
        if array.ndim == 1:
            array = array.reshape(-1, 1, 1)
        if array.ndim != 3 or array.shape[0] != 3 or not np.isfinite(array).all():
            raise UsageError(
                f"{name}: expected 3 finite values, or 3 per pixel, found shape {np.shape(value)}"
            )
        # Not a gluon.Constant, which writes its memory address into exported graphs.
        return self.params.get(
            name, shape=array.shape, init=mx.init.Constant(array), grad_req="null", differentiable=False
        )

    def cast(self, dtype: str) -> None:
        """Make the output have `dtype`; the arithmetic stays in float32."""
        super().cast("float32")
        self._dtype = dtype

    def hybrid_forward(self, F: Any, x: Any, mean: Any, std: Any) -> Any:
        x = F.broadcast_div(F.broadcast_sub(F.cast(x, dtype="float32"), mean), std)
        return x if self._dtype == "float32" else F.cast(x, dtype=self._dtype)


def with_normalization(net: Any, mean: Statistic, std: Statistic) -> Any:
    """A HybridSequential of Normalize and `net`, which is what gets trained, checkpointed and exported.

    Its input is float32 (or uint8) RGB from 0 to 255, (N, 3, H, W), if `mean` and `std` are in these units.
    """
    whole = gluon.nn.HybridSequential(prefix="")
    whole.add(Normalize(mean, std, prefix="normalize_"), net)
    return whole
