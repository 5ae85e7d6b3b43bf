#!/usr/bin/env python3
"""Batches as JAX arrays that share the loader's memory: python examples/jax_batches.py FILE.rec

The pixels go to the device as bytes, NHWC, and are normalized there: a quarter of what float32 would take.
"""

import os
import sys
from typing import Optional

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # works from a checkout, too

import jax
import jax.numpy as jnp

from gluon_resnet.cli.command import run
from gluon_resnet.data import Loader, TrainTransform
from gluon_resnet.errors import UsageError

MEAN, STD = jnp.array([123.7, 116.3, 103.5]), jnp.array([58.4, 57.1, 57.4])  # of ImageNet, in levels


@jax.jit
def step(images: jax.Array, labels: jax.Array) -> jax.Array:
    """Stands for a training step: the mean of the normalized pixels of each channel."""
    return ((images.astype(jnp.float32) - MEAN) / STD).mean((0, 1, 2))


def main(argv: Optional[list[str]]) -> None:
    arguments = sys.argv[1:] if argv is None else argv
    if len(arguments) != 1:
        raise UsageError("expected one argument, FILE.rec")
    loader = Loader(arguments[0], 64, TrainTransform(224), shuffle=True, dtype="uint8", layout="NHWC")
    for batch in loader:
        images = jnp.from_dlpack(
            batch
        )  # on the CPU no copy; a JAX array never changes: do not write to batch.data
        assert images.unsafe_buffer_pointer() == batch.data.ctypes.data
        images = jax.device_put(images, jax.devices()[0])  # to the accelerator, where there is one
        means = step(images, jnp.asarray(batch.label))
    print(f"{loader.num_records} records; channels of the last batch, normalized: {means}; {loader.stats()}")


if __name__ == "__main__":
    run(main)
