"""How long clients of tools/serve.py wait, and how many images it names, beside the network's own time.

    python benchmarks/serving.py --model PREFIX --images FILE... [--connections 1 2 8 32] [--rounds 3] [--seconds 5]
        [--before CHECKOUT] [--output RAW.json] [--profile]

Each connection of wrk (apt-get install wrk), on the loopback, sends an image when the one before is answered. "alone"
is Predictor in a process without a server, decoding included, one image at a time and in batches. All is measured in
turns, and the medians of the rounds are printed. Clients, server and network share the machine's processors; where
others do, too, the processor's time for an image says more than images per second.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import pstats
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import psutil
from tabulate import tabulate

from gluon_resnet.deploy import Predictor
from gluon_resnet.environment.processor import describe_processor

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Each thread of wrk begins with another image.
SCRIPT = """
local bodies, turn = {}, 0
for line in io.lines("%s") do
  local file = io.open(line, "rb")
  bodies[#bodies + 1] = file:read("*a")
  file:close()
end
local headers = {["Content-Type"] = "application/octet-stream"}
request = function()
  turn = turn %% #bodies + 1
  return wrk.format("POST", "/predict", headers, bodies[turn])
end
done = function(summary, latency)
  io.write(string.format('\\n{"images": %%d, "seconds": %%f, "errors": %%d, "p50": %%f, "p90": %%f, "p99": %%f}\\n',
    summary.requests, summary.duration / 1e6,
    summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.timeout,
    latency:percentile(50) / 1e3, latency:percentile(90) / 1e3, latency:percentile(99) / 1e3))
end
"""


# Runs a command of the package with the event loop's thread under a profiler of its processor time.
PROFILED = """
import asyncio, cProfile, sys, time
path, run = sys.argv.pop(1), asyncio.run
def profiled(main):
    profile = cProfile.Profile(time.thread_time)
    try:
        return profile.runcall(run, main)
    finally:
        profile.dump_stats(path)
asyncio.run = profiled
from gluon_resnet.cli.command import run_command
run_command("serve")
"""

# What the loop's time is for, by the files that it is spent in; the first that matches.
PARTS = {
    "HTTP: parsing, and writing answers": (
        "serving/parser",
        "serving/exchange",
        "httptools",
        "http/__init__",
    ),
    "connections, timers": ("serving/protocol", "serving/connections", "serving/timer"),
    "event loop, sockets": (
        "asyncio/",
        "selectors.py",
        "_socket.",
        "select.epoll",
        "_contextvars",
        "socket.py",
    ),
    "application: names, limits, requests and responses": ("serving/", "starlette/", "ipaddress", "urllib"),
    "answer: softmax, names, JSON": ("deploy/predictor", "numpy", "json"),
    "metrics": ("prometheus_client",),
    "image headers": ("data/",),
}
IN_ANSWER = ("serving/predictions",)
IN_QUEUES = ("serving/batcher", "serving/turns", "serving/workers", "serving/admission", "_queue.")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--model", required=True, metavar="PREFIX")
    add("--images", nargs="+", required=True, metavar="FILE")
    add("--connections", nargs="+", type=int, default=[1, 2, 8, 32], metavar="N")
    add("--batch", type=int, default=16)
    add("--rounds", type=int, default=3)
    add("--seconds", type=float, default=5)
    add("--before", type=pathlib.Path, metavar="CHECKOUT", help="whose server is measured in the same turns")
    add("--output", type=pathlib.Path, metavar="FILE", help="takes all rounds, as JSON")
    add("--profile", action="store_true", help="print where the loop's time goes, with 8 connections")
    args = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("serving.py: error: wrk is not found: apt-get install wrk")

    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        listing, script = folder / "images", folder / "post.lua"
        listing.write_text("".join(f"{pathlib.Path(path).resolve()}\n" for path in args.images))
        script.write_text(SCRIPT % listing)
        if args.profile:
            profiled(args.model, args.batch, script, args.seconds, folder / "profile")
            return
        network = Predictor(args.model, batch_size=args.batch)
        payloads = [pathlib.Path(path).read_bytes() for path in args.images]
        servers = {"": stack.enter_context(serving(args.model, args.batch))}
        if args.before:
            servers[", before"] = stack.enter_context(serving(args.model, args.batch, args.before))
        rows: dict[str, list[dict[str, float]]] = {}
        for warm in (True, *[False] * args.rounds):
            seconds = min(args.seconds, 1) if warm else args.seconds
            measured = {
                f"alone, batch {size}": alone(network, payloads, size, seconds) for size in (1, args.batch)
            }
            for connections in args.connections:
                for name, server in servers.items():
                    measured[f"{connections} connections{name}"] = served(
                        server, script, connections, seconds
                    )
            best = measured[f"alone, batch {args.batch}"]
            for name, result in measured.items():
                result["of alone"] = 100 * result["rate"] / best["rate"]
                result["of alone's processor time"] = 100 * best["processor"] / result["processor"]
                rows.setdefault(name, []).extend([] if warm else [result])
    report(network, rows, args.rounds, args.seconds)
    if args.output:
        machine = {"processor": describe_processor().model, "cores": os.cpu_count(), "load": os.getloadavg()}
        content = {"network": network.card.network, **machine, "rounds": rows}
        args.output.write_text(json.dumps(content, indent=1) + "\n")


def report(network: Predictor, rows: dict[str, list[dict[str, float]]], rounds: int, seconds: float) -> None:
    """Print the medians of the rounds."""
    columns = {
        "images/s": "rate",
        "% of alone": "of alone",
        "processor us/image": "processor",
        "% of alone's": "of alone's processor time",
        "p50 ms": "p50",
        "p90 ms": "p90",
        "p99 ms": "p99",
        "errors": "errors",
    }
    table = [
        [name, *(statistics.median(r[key] for r in results) for key in columns.values())]
        for name, results in rows.items()
    ]
    print(f"{network.card.network}, median of {rounds} rounds of {seconds:g} s; {describe_processor().model}")
    print(f"{os.cpu_count()} processors, load {' '.join(f'{load:.1f}' for load in os.getloadavg())}")
    formats = ("", ".0f", ".0f", ".0f", ".0f", ".1f", ".1f", ".1f", ".0f")
    print(tabulate(table, ["", *columns], tablefmt="github", floatfmt=formats))


class Server(NamedTuple):
    url: str
    process: psutil.Process


@contextlib.contextmanager
def serving(
    prefix: str, batch: int, checkout: pathlib.Path = ROOT, program: Sequence[str] = ("tools/serve.py",)
) -> Iterator[Server]:
    """A checkout's tools/serve.py as a process."""
    options = [
        "--model-prefix",
        str(pathlib.Path(prefix).resolve()),
        "--port",
        "0",
        "--batch-size",
        str(batch),
    ]
    command = [sys.executable, *program, *options]
    process = subprocess.Popen(command, cwd=checkout, stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        if not line:
            sys.exit("serving.py: error: the server did not start")
        yield Server(line.split()[-1], psutil.Process(process.pid))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def profiled(prefix: str, batch: int, script: pathlib.Path, seconds: float, path: pathlib.Path) -> None:
    """Print what the loop's time is for, in shares of it."""
    with serving(prefix, batch, ROOT, ("-c", PROFILED, str(path))) as server:
        served(server, script, 8, seconds)
    spent: dict[str, float] = {}
    for (file, _, name), (_, _, own, _, _) in pstats.Stats(str(path)).stats.items():
        place = f"{file}:{name}"
        if any(word in place for word in ("importlib", "tokenize", "sre_")):
            continue  # what is loaded once
        if any(word in place for word in IN_ANSWER):
            part = "answer: softmax, names, JSON"
        elif any(word in place for word in IN_QUEUES):
            part = "queues, batches, other threads"
        else:
            part = next((p for p, words in PARTS.items() if any(w in place for w in words)), "else")
        spent[part] = spent.get(part, 0) + own
    total = sum(spent.values())
    for part, own in sorted(spent.items(), key=lambda item: -item[1]):
        print(f"{100 * own / total:5.1f} %  {part}")


def alone(network: Predictor, payloads: list[bytes], size: int, seconds: float) -> dict[str, float]:
    """Predictor, for so long; a batch is one request."""
    times = []
    begin, processor_begin = time.perf_counter(), time.process_time()
    while sum(times) < seconds:
        start = time.perf_counter()
        first = len(times) * size
        network.logits([payloads[(first + i) % len(payloads)] for i in range(size)])
        times.append(time.perf_counter() - start)
    elapsed, used = time.perf_counter() - begin, time.process_time() - processor_begin
    images = len(times) * size
    p50, p90, p99 = np.percentile(times, (50, 90, 99)) * 1000
    cost = {"rate": images / elapsed, "processor": 1e6 * used / images}
    return {**cost, "p50": p50, "p90": p90, "p99": p99, "errors": 0}


def served(server: Server, script: pathlib.Path, connections: int, seconds: float) -> dict[str, float]:
    """wrk with so many connections, for so long."""
    duration = f"{max(1, round(seconds))}s"
    command = [
        "wrk",
        "-t",
        "1",
        "-c",
        str(connections),
        "-d",
        duration,
        "--timeout",
        "60s",
        "-s",
        str(script),
    ]
    before = server.process.cpu_times()
    done = subprocess.run([*command, server.url], capture_output=True, text=True, check=True)
    after = server.process.cpu_times()
    result = json.loads(done.stdout.splitlines()[-1])
    used = after.user + after.system - before.user - before.system
    cost = {"rate": result["images"] / result["seconds"], "processor": 1e6 * used / result["images"]}
    return {**result, **cost}


if __name__ == "__main__":
    main()
