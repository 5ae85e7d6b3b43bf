"""Slow and obvious NumPy layers, in float64: what the networks' units are compared with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Optional

import numpy as np


def convolution(x: np.ndarray, weight: np.ndarray, stride: int) -> np.ndarray:
    """x (N, C, H, W), weight (D, C, K, K), K odd, zero padding K // 2 -> (N, D, ceil(H / stride), ...)."""
    kernel = weight.shape[2]
    margin = kernel // 2
    padded = np.pad(x, ((0, 0), (0, 0), (margin, margin), (margin, margin)))
    rows, columns = -(-x.shape[2] // stride), -(-x.shape[3] // stride)
    out = np.empty((x.shape[0], weight.shape[0], rows, columns))
    for row in range(rows):
        for column in range(columns):
            top, left = row * stride, column * stride
            window = padded[:, :, top : top + kernel, left : left + kernel]
            out[:, :, row, column] = np.einsum("nchw,dchw->nd", window, weight)
    return out


def batch_norm(x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, epsilon: float = 1e-5) -> np.ndarray:
    """Training mode: the statistics of this batch, the biased variance."""
    mean = x.mean(axis=(0, 2, 3), keepdims=True)
    variance = x.var(axis=(0, 2, 3), keepdims=True)
    normal = (x - mean) / np.sqrt(variance + epsilon)
    return gamma[:, None, None] * normal + beta[:, None, None]


def padded_identity(x: np.ndarray, channels: int, stride: int) -> np.ndarray:
    """Shortcut option A: every stride-th pixel; new channels are zeros, half before and half after."""
    x = x[:, :, ::stride, ::stride]
    before = (channels - x.shape[1]) // 2
    out = np.zeros((x.shape[0], channels, *x.shape[2:]))
    out[:, before : before + x.shape[1]] = x
    return out


Layer = tuple[np.ndarray, np.ndarray, np.ndarray, int]  # weight, gamma, beta, stride


def unit(x: np.ndarray, body: Sequence[Layer], shortcut: Optional[np.ndarray]) -> np.ndarray:
    """ReLU(F(x) + shortcut), where F is convolutions with batch normalization and ReLU between them."""
    for index, (weight, gamma, beta, stride) in enumerate(body):
        x = np.maximum(x, 0) if index else x
        x = batch_norm(convolution(x, weight, stride), gamma, beta)
    return np.maximum(x if shortcut is None else x + shortcut, 0)


PreactivatedLayer = tuple[np.ndarray, Optional[np.ndarray], Optional[np.ndarray], int]


def preactivated_unit(
    x: np.ndarray,
    body: Sequence[PreactivatedLayer],
    shortcut: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> np.ndarray:
    """F(x) + shortcut(x, activated x): normalization and ReLU come before each convolution.

    A layer without gamma and beta takes what it is given as it is; `activated` is what the first one convolves.
    """
    y = x
    for index, (weight, gamma, beta, stride) in enumerate(body):
        if gamma is not None:
            y = np.maximum(batch_norm(y, gamma, beta), 0)
        if index == 0:
            activated = y
        y = convolution(y, weight, stride)
    return y + shortcut(x, activated)
