#!/usr/bin/env python3
"""Milliseconds a training step on CPUs: ours, PyTorch's, ours on records, and ours on two contexts, in one run.

    python benchmarks/training.py --cifar data/cifar10_train.rec --imagenet data/imagenet.rec --output training.json

Each is a process of its own, started once with the same number of threads, and all take turns in every round while
the others sleep, so that a noisy machine is as noisy for all of them. Printed are medians over the rounds, and the
medians of the ratios within a round with their range: how many times as long each takes as ours on synthetic batches.
With `--threads 1` the processor time says what a step costs on a machine that is never quiet.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Callable, Optional

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from training_runs import OURS, PARTS, RUNS, Job

MISSING = 3  # exit status of a worker whose library is not installed


def work(steps: Iterator[None]) -> None:
    """A worker: for each line on standard input, a number of seconds, make steps so long; see Worker.measure."""
    for _ in range(4):
        next(steps)
    print("ready", flush=True)
    for line in sys.stdin:
        next(steps)  # wakes everything up, and computes what was queued before the others' turns
        count, began, used = 0, time.perf_counter(), time.process_time()
        while count < 2 or time.perf_counter() - began < float(line):
            next(steps)
            count += 1
        print((time.perf_counter() - began) / count, (time.process_time() - used) / count, flush=True)


class Worker:
    """A process that makes steps when it is told to: `script` with --worker, see `is_worker`."""

    def __init__(self, name: str, job: Any, script: str) -> None:
        self._name = name
        self._process = subprocess.Popen(
            [
                sys.executable,
                os.path.abspath(script),
                "--worker",
                json.dumps({"name": name, **asdict(job)}),
            ],
            env={**os.environ, "OMP_NUM_THREADS": str(job.threads)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ready(self) -> bool:
        """After its first steps; False where its library is not installed."""
        if self._line() == "ready":
            return True
        if self._process.wait() == MISSING:
            return False
        sys.exit(f"{self._name} failed")

    def measure(self, seconds: float) -> tuple[float, float]:
        """Seconds a step, and seconds of processor time."""
        assert self._process.stdin
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.flush()
        line = self._line()
        if not line:
            sys.exit(f"{self._name} failed")
        wall, processor = map(float, line.split())
        return wall, processor

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def _line(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()


Measured = dict[str, list[tuple[float, float]]]


def compare(job: Any, names: list[str], rounds: int, seconds: float, script: str = __file__) -> Measured:
    """What Worker.measure gives for each of `names` that is installed, in each round.

    Args:
        job: a dataclass with the number of `threads`.
    """
    with contextlib.ExitStack() as stack:
        workers = {}
        for name in names:
            worker = Worker(name, job, script)
            stack.callback(worker.close)
            if worker.ready():
                workers[name] = worker
        measured: Measured = {name: [] for name in workers}
        for number in range(rounds):
            order = list(workers) if number % 2 == 0 else list(workers)[::-1]
            for name in order:
                measured[name].append(workers[name].measure(seconds))
        return measured


def show(job: Job, measured: Measured) -> None:
    """The table of one network."""
    rounds = len(measured[OURS])
    shape = f"{job.batch_size} images of 3x{job.size}x{job.size}"
    print(f"{job.network}, {shape}, threads: {job.threads}; medians of {rounds} rounds")
    print(f"{'':32} ms a step  of processors  images/s  times ours (range)")
    for name, values in measured.items():
        wall, used = map(statistics.median, zip(*values))
        ratios = [value / own for (value, _), (own, _) in zip(values, measured[OURS])]
        spread = f"{statistics.median(ratios):6.2f}  ({min(ratios):.2f} to {max(ratios):.2f})"
        print(f"{name:32} {wall * 1e3:9.1f}  {used * 1e3:13.1f} {job.batch_size / wall:9.1f}  {spread}")
    print(flush=True)


def versions(*more: str) -> dict[str, Optional[str]]:
    found: dict[str, Optional[str]] = {"python": platform.python_version()}
    for package in ("mxnet", "torch", "numpy", *more):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def processor() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as stream:
        match = re.search("model name\\s*: (.*)", stream.read())
    return f"{len(os.sched_getaffinity(0))} x {match[1] if match else platform.machine()}"


def is_worker(runs: dict[str, Callable[[Any], Iterator[None]]], job: Callable[..., Any]) -> bool:
    """Whether `Worker` has started this process; then its work is done."""
    if sys.argv[1:2] != ["--worker"]:
        return False
    given = json.loads(sys.argv[2])
    try:
        work(runs[given.pop("name")](job(**given)))
    except ImportError as error:
        print(error, file=sys.stderr)
        sys.exit(MISSING)
    return True


def main() -> None:
    if is_worker(RUNS, Job):
        return
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--networks", nargs="+", choices=("resnet20", "resnet50"), default=["resnet20", "resnet50"]
    )
    parser.add_argument(
        "--parts",
        nargs="+",
        choices=PARTS,
        default=["peers", "records", "contexts"],
        help="default: all but compiled",
    )
    parser.add_argument(
        "--cifar", metavar="REC", help="records for resnet20; without them that part is left out"
    )
    parser.add_argument("--imagenet", metavar="REC", help="records for resnet50")
    parser.add_argument("--cifar-batch", type=int, default=128)
    parser.add_argument("--imagenet-batch", type=int, default=16)
    parser.add_argument(
        "--threads", type=int, default=len(os.sched_getaffinity(0)), help="default: all processors"
    )
    parser.add_argument("--rounds", type=int, default=7, help="default: 7")
    parser.add_argument(
        "--seconds", type=float, default=2, help="of each measurement, two steps at least (default: 2)"
    )
    parser.add_argument("--output", metavar="FILE", help="write all measurements there as JSON")
    args = parser.parse_args()

    print(processor(), *(f"{name} {number}" for name, number in versions().items()), sep=", ", flush=True)
    jobs = {
        "resnet20": Job("resnet20", args.cifar_batch, 32, 10, args.threads, args.cifar),
        "resnet50": Job("resnet50", args.imagenet_batch, 224, 1000, args.threads, args.imagenet),
    }
    results = {}
    for network in args.networks:
        job = jobs[network]
        parts = [part for part in PARTS if part in args.parts and (part != "records" or job.records)]
        names = [OURS, *(name for part in parts for name in PARTS[part])]
        results[network] = compare(job, names, args.rounds, args.seconds)
        show(job, results[network])
        if args.output:
            with open(args.output, "w", encoding="utf-8") as stream:
                about = {"machine": processor(), "versions": versions(), "arguments": vars(args)}
                json.dump({**about, "seconds_a_step_and_of_processors": results}, stream, indent=1)
                stream.write("\n")


if __name__ == "__main__":
    main()
