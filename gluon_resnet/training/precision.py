"""Mixed precision with MXNet's AMP: the dtype that convolutions use, while weights and statistics stay float32."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gluon_resnet._mxnet  # noqa: F401  # prepares the import of MXNet, below
from gluon_resnet.environment.processor import describe_processor
from gluon_resnet.errors import EnvironmentProblem, UsageError

DTYPES = ("float32", "float16", "bfloat16")


def use_precision(dtype: str, contexts: Sequence[Any]) -> Any:
    """Make networks built from now on in this process compute convolutions and dense layers in `dtype`.

    Batch normalization reads and writes activations of that type; its parameters, statistics and sums are float32.
    Returns MXNet's dynamic loss scaler for float16, which has 5 bits of exponent, and None for the others, with 8.

    UsageError for a device that lacks the type, EnvironmentProblem for a processor that would emulate it.
    """
    if dtype not in DTYPES:
        raise UsageError(f"there is no precision {dtype!r}: choose one of {', '.join(DTYPES)}")
    if dtype == "float32":
        return None
    device = contexts[0].device_type
    if dtype == "float16" and device != "gpu":
        raise UsageError(
            "float16 needs a GPU: on CPUs MXNet multiplies float32 matrices, or bfloat16 on some"
        )
    if dtype == "bfloat16" and device != "cpu":
        raise UsageError("MXNet 1.9.1 has bfloat16 on CPUs only: choose float16 on a GPU")
    if dtype == "bfloat16" and not has_bfloat16():
        raise EnvironmentProblem(
            "this processor has no bfloat16 instructions (avx512_bf16 or amx_bf16) and would be slower than with "
            "float32: omit --dtype"
        )
    from mxnet.contrib import amp
    from mxnet.contrib.amp.loss_scaler import LossScaler

    amp.init(dtype)  # must happen before graphs are built
    return LossScaler() if dtype == "float16" else None


def has_bfloat16() -> bool:
    """Whether this machine's processor multiplies bfloat16 numbers itself; otherwise MXNet emulates that slowly."""
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(describe_processor().instructions)
