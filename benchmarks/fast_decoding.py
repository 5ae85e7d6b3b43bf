#!/usr/bin/env python3
"""What fast=True changes in the pixels, and what it gains, on records as they are and on large pictures of them.

    python tools/im2rec.py data/imagenet imagenet_sample.tar --pass-through
    python benchmarks/fast_decoding.py data/imagenet.rec
    python benchmarks/fast_decoding.py data/imagenet.rec --enlarge 2000
    python benchmarks/fast_decoding.py data/imagenet.rec --enlarge 2000 --resize 480

Both loaders make the same uint8 batches, with the same random crops: so their difference is that of the decoding. They
take turns, and the ratio is the median over the rounds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import cv2
import numpy as np

from gluon_resnet.data import (
    EvalTransform,
    Loader,
    PackOptions,
    RecordFile,
    TrainTransform,
    decode,
    pack,
)
from gluon_resnet.data.packing.sources import Picture

TRANSFORMS = {"train": TrainTransform(), "eval": EvalTransform()}


class Enlarged:
    """Every sixth picture with a longer side of `side`, as a JPEG of quality 90 with chroma of half size; a Source."""

    classes = None

    def __init__(self, records: str, side: int) -> None:
        self.file = RecordFile(records)
        self.positions = self.file.images[::6]
        self.side = side

    def __len__(self) -> int:
        return len(self.positions)

    def __iter__(self) -> Iterator[Picture]:
        for position in self.positions:
            pixels = decode(self.file[position].payload)
            factor = self.side / max(pixels.shape[:2])
            larger = cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
            _, jpeg = cv2.imencode(".jpg", larger[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
            yield Picture(position, (0.0,), f"record {position}", jpeg.tobytes())


def differences(exact: Loader, fast: Loader) -> np.ndarray:
    """How many values of one epoch differ by so many levels."""
    counts = np.zeros(256, np.int64)
    for ours, theirs in zip(exact, fast):
        levels = np.abs(ours.data.astype(np.int16) - theirs.data)
        counts += np.bincount(levels.ravel(), minlength=256)
    return counts


def rate(loader: Loader) -> float:
    """Images per second of one epoch."""
    began = time.perf_counter()
    for batch in loader:
        batch.release()
    return loader.num_records / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("records", help="a .rec file of JPEGs")
    parser.add_argument("--enlarge", type=int, metavar="PIXELS", help="longer side (default: as they are)")
    parser.add_argument("--resize", type=int, metavar="N", help="and packed with this shorter side")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        records = args.records
        if args.enlarge:
            options = PackOptions(pass_through=args.resize is None, resize=args.resize)
            records = pack(Enlarged(records, args.enlarge), os.path.join(folder, "large"), options).path
        for work, transform in TRANSFORMS.items():
            exact, fast = (
                Loader(
                    records, 32, transform, dtype="uint8", threads=args.threads, fast=fast, last_batch="keep"
                )
                for fast in (False, True)
            )
            counts = differences(exact, fast)
            share = np.cumsum(counts) / counts.sum()
            mean = (counts * np.arange(256)).sum() / counts.sum()
            rates = [(rate(exact), rate(fast)) for _ in range(args.rounds)]
            print(
                f"{work}: levels of 255: {mean:.2f} on average, 99 % of the values within "
                f"{np.searchsorted(share, 0.99)}, all within {counts.nonzero()[0].max()}; "
                f"{statistics.median(r for r, _ in rates):.0f} images/s, fast "
                f"{statistics.median(f for _, f in rates):.0f}, "
                f"{statistics.median(f / r for r, f in rates):.2f} times"
            )


if __name__ == "__main__":
    main()
