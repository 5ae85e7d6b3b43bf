#!/usr/bin/env python3
"""Images per second of our loader and of every peer that is installed, in one run on the same records.

    python tools/im2rec.py data/imagenet imagenet_sample.tar --pass-through
    python benchmarks/loader.py data/imagenet.rec --work train --threads 2

Each measurement is a process of its own, and the peers take turns in every round, so that a noisy machine is as
noisy for all of them. Printed are medians over the rounds, and the median of the ratios within a round.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from typing import Optional

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from loader_peers import PEERS, Job

MISSING = 3  # exit status of a worker whose library is not installed


def measure(name: str, job: Job, seconds: float) -> float:
    """Images per second after a warm-up epoch, over whole epochs that take at least `seconds`."""
    peer = PEERS[name]
    for _ in peer(job):
        pass
    images, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        images += sum(peer(job))
    return images / (time.perf_counter() - began)


def measure_apart(name: str, arguments: list[str]) -> Optional[float]:
    """The same in a process of its own; None where the peer is not installed."""
    command = [sys.executable, os.path.abspath(__file__), *arguments, "--peer", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == MISSING:
        return None
    if done.returncode:
        sys.exit(f"{name} failed:\n{done.stderr}")
    return float(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("records", help="a .rec file with its .idx")
    parser.add_argument("--work", choices=("train", "eval", "cifar"), default="train")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3, help="of each measurement (default: 3)")
    parser.add_argument("--json", metavar="FILE", help="write all measurements there, too")
    parser.add_argument("--peer", choices=PEERS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    job = Job(args.records, args.work, args.batch_size, args.threads)
    if args.peer:
        try:
            print(measure(args.peer, job, args.seconds))
        except ImportError:
            sys.exit(MISSING)
        return

    arguments = [a for a in sys.argv[1:] if a]
    rates: dict[str, list[float]] = {}
    for _ in range(args.rounds):
        for name in PEERS:
            rate = measure_apart(name, arguments)
            if rate is not None:
                rates.setdefault(name, []).append(rate)
    print(f"{args.work}, {args.threads} threads, {args.records}, median of {args.rounds} rounds")
    print(f"{'':32} images/s  ours is")
    for name, values in rates.items():
        ratio = statistics.median(mine / theirs for mine, theirs in zip(rates["gluon-resnet"], values))
        print(f"{name:32} {statistics.median(values):8.0f}  {ratio:6.2f} x")
    if args.json:
        with open(args.json, "w", encoding="utf-8") as stream:
            json.dump({"arguments": vars(args), "images_per_second": rates}, stream, indent=1)


if __name__ == "__main__":
    main()
