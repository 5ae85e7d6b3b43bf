#!/usr/bin/env python3
"""Images a second of ResNet-20 with one worker and with several, by each engine, all on this machine.

    python benchmarks/scaling.py data/cifar10_test.rec --workers 2

Every worker computes with one thread, and its loader decodes with another. A figure is that of the second epoch in the
run's own log, over all workers. Engines take turns; printed is the best of `--rounds`, since no machine is ever quiet.
Horovod is left out where it is not installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TRAIN, LAUNCH = (os.path.join(ROOT, "tools", name) for name in ("train.py", "launch.py"))


def launched(engine: str, workers: int) -> list[str]:
    """What stands before the command of a worker."""
    if engine == "one process":
        return []
    if engine == "horovod":
        runner = os.path.join(os.path.dirname(sys.executable), "horovodrun")
        return [runner, "-np", str(workers), "--gloo"]
    return [sys.executable, LAUNCH, "-n", str(workers), "-s", "1", "--"]


def rate(engine: str, workers: int, records: str, batch: int) -> float:
    """Images a second, in a run of two epochs."""
    with tempfile.TemporaryDirectory() as folder:
        training = (
            f"--network resnet20 --recipe cifar10 --holdout 0 --num-epochs 2 --batch-size {batch}".split()
        )
        training += ["--rgb-mean", "125,123,114", "--data-nthreads", "1", "--disp-batches", "0"]
        training += ["--data-train", os.path.abspath(records), "--model-prefix", f"{folder}/run"]
        if engine != "one process":
            training += ["--kv-store", engine]
        subprocess.run(
            [*launched(engine, workers), sys.executable, TRAIN, *training],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        with open(f"{folder}/run-log.jsonl", encoding="utf-8") as stream:
            return float(json.loads(stream.readlines()[-1])["images_per_second"])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("records", metavar="REC", help="record file of images with labels from 0 to 9")
    parser.add_argument("--workers", type=int, default=2, help="default: 2")
    parser.add_argument("--batch-size", type=int, default=128, help="of a worker (default: 128)")
    parser.add_argument("--rounds", type=int, default=2, help="default: 2")
    args = parser.parse_args()

    engines = ["one process", "dist_sync", "dist_async"]
    if importlib.util.find_spec("horovod"):
        engines.append("horovod")
    rates: dict[str, list[float]] = {engine: [] for engine in engines}
    for _ in range(args.rounds):
        for engine in engines:
            rates[engine].append(rate(engine, args.workers, args.records, args.batch_size))
    one = max(rates["one process"])
    print("| workers | engine | images/s | of linear |\n| --- | --- | --- | --- |")
    for engine, measured in rates.items():
        workers = 1 if engine == "one process" else args.workers
        print(f"| {workers} | {engine} | {max(measured):.0f} | {max(measured) / one / workers:.2f} |")


if __name__ == "__main__":
    main()
