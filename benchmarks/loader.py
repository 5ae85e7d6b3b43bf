#!/usr/bin/env python3
"""Images per second of our loader and of every peer that is installed, in one run on the same records.

    python tools/im2rec.py data/imagenet imagenet_sample.tar --pass-through
    python benchmarks/loader.py data/imagenet.rec --work train --threads 1 2

Each measurement is a process of its own, and the peers take turns in every round, so that a noisy machine is as
noisy for all of them. Printed are medians over the rounds, and the medians of the ratios within a round: of ours to
each peer, at the last number of threads, and of the last number of threads to the first.
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

from loader_peers import OURS, PEERS, Job

MISSING = 3  # exit status of a worker whose library is not installed


def measure(name: str, job: Job, seconds: float) -> float:
    """Images per second, after an epoch to warm up."""
    left = job.records
    batches = PEERS[name](job)
    while left > 0:
        left -= next(batches)
    images, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        images += next(batches)
    rate = images / (time.perf_counter() - began)
    batches.close()
    return rate


def measure_apart(name: str, threads: int) -> Optional[float]:
    """The same in a process of its own; None where the peer is not installed."""
    own = ["--peer", name, "--threads", str(threads)]
    command = [sys.executable, os.path.abspath(__file__), *sys.argv[1:], *own]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == MISSING:
        return None
    if done.returncode:
        sys.exit(f"{name} failed:\n{done.stdout}{done.stderr}")
    return float(done.stdout.splitlines()[-1])


def ratio(values: list[float], others: list[float]) -> float:
    return statistics.median(value / other for value, other in zip(values, others))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("records", help="a .rec file with its .idx")
    parser.add_argument("--work", choices=("train", "eval", "cifar"), default="train")
    parser.add_argument("--threads", type=int, nargs="+", default=[2])
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3, help="of each measurement (default: 3)")
    parser.add_argument("--json", metavar="FILE", help="write all measurements there, too")
    parser.add_argument("--peer", choices=PEERS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peer:
        job = Job(args.records, args.work, args.batch_size, args.threads[0])
        try:
            print(measure(args.peer, job, args.seconds))
            sys.stdout.flush()
        except ImportError:
            sys.exit(MISSING)
        os._exit(0)  # some peers' threads are not to be waited for

    rates: dict[str, dict[int, list[float]]] = {}
    for number in range(args.rounds):
        for name in PEERS:
            if number > 0 and name not in rates:
                continue
            for threads in args.threads:
                rate = measure_apart(name, threads)
                if rate is not None:
                    rates.setdefault(name, {}).setdefault(threads, []).append(rate)
    first, last = args.threads[0], args.threads[-1]
    print(f"{args.work}, {args.records}, images per second, median of {args.rounds} rounds")
    heads = [f"{threads:4} thread{'s' if threads > 1 else ' '}" for threads in args.threads]
    scaling = f"  {first} -> {last} threads" if first != last else ""
    print(f"{'':32} {' '.join(heads)}   ours is{scaling}")
    for name, measured in rates.items():
        medians = " ".join(f"{statistics.median(measured[threads]):12.0f}" for threads in args.threads)
        line = f"{name:32} {medians}  {ratio(rates[OURS][last], measured[last]):6.2f} x"
        print(line + (f"  {ratio(measured[last], measured[first]):8.2f} x" if scaling else ""))
    if args.json:
        with open(args.json, "w", encoding="utf-8") as stream:
            json.dump({"arguments": vars(args), "images_per_second": rates}, stream, indent=1)
            stream.write("\n")


if __name__ == "__main__":
    main()
