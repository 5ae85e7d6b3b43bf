"""How long clients of tools/serve.py wait, and how many images it names, beside the network's own time.

    python benchmarks/serving.py --model PREFIX --images FILE... [--connections 1 2 8 32] [--rounds 3] [--seconds 5]

Each connection of wrk (apt-get install wrk), on the loopback, sends an image when the one before is answered. "alone"
is Predictor in a process without a server, decoding included, one image at a time and in batches. All is measured in
turns, and the medians of the rounds are printed. Clients, server and network share the machine's processors.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

import numpy as np
from tabulate import tabulate

from gluon_resnet.deploy import Predictor

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
    args = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("serving.py: error: wrk is not found: apt-get install wrk")

    network = Predictor(args.model, batch_size=args.batch)
    payloads = [pathlib.Path(path).read_bytes() for path in args.images]
    rows: dict[str, list[dict[str, float]]] = {}
    with serving(args.model, args.batch) as url, tempfile.TemporaryDirectory() as folder:
        listing, script = pathlib.Path(folder, "images"), pathlib.Path(folder, "post.lua")
        listing.write_text("".join(f"{pathlib.Path(path).resolve()}\n" for path in args.images))
        script.write_text(SCRIPT % listing)
        for warm in (True, *[False] * args.rounds):
            seconds = min(args.seconds, 1) if warm else args.seconds
            measured = {
                f"alone, batch {size}": alone(network, payloads, size, seconds) for size in (1, args.batch)
            }
            for connections in args.connections:
                measured[f"{connections} connections"] = served(url, script, connections, seconds)
            for name, result in measured.items():
                rows.setdefault(name, []).extend([] if warm else [result])
    columns = {"images/s": "rate", "p50 ms": "p50", "p90 ms": "p90", "p99 ms": "p99", "errors": "errors"}
    table = [
        [name, *(statistics.median(r[key] for r in results) for key in columns.values())]
        for name, results in rows.items()
    ]
    print(
        f"{network.card.network}, {len(payloads)} images, median of {args.rounds} rounds of {args.seconds:g} s"
    )
    print(
        tabulate(table, ["", *columns], tablefmt="github", floatfmt=("", ".1f", ".1f", ".1f", ".1f", ".0f"))
    )


@contextlib.contextmanager
def serving(prefix: str, batch: int) -> Iterator[str]:
    """tools/serve.py as a process; its address."""
    command = [
        "tools/serve.py",
        "--model",
        str(pathlib.Path(prefix).resolve()),
        "--port",
        "0",
        "--batch",
        str(batch),
    ]
    process = subprocess.Popen([sys.executable, *command], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        if not line:
            sys.exit("serving.py: error: the server did not start")
        yield line.split()[-1]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def alone(network: Predictor, payloads: list[bytes], size: int, seconds: float) -> dict[str, float]:
    """Predictor, for so long; a batch is one request."""
    times = []
    begin = time.perf_counter()
    while sum(times) < seconds:
        start = time.perf_counter()
        first = len(times) * size
        images = [payloads[(first + i) % len(payloads)] for i in range(size)]
        network.logits(images)
        times.append(time.perf_counter() - start)
    elapsed = time.perf_counter() - begin
    p50, p90, p99 = np.percentile(times, (50, 90, 99)) * 1000
    return {"rate": len(times) * size / elapsed, "p50": p50, "p90": p90, "p99": p99, "errors": 0}


def served(url: str, script: pathlib.Path, connections: int, seconds: float) -> dict[str, float]:
    """wrk with so many connections, for so long."""
    command = [
        "wrk",
        "-t",
        "1",
        "-c",
        str(connections),
        "-d",
        f"{max(1, round(seconds))}s",
        "--timeout",
        "60s",
    ]
    done = subprocess.run([*command, "-s", str(script), url], capture_output=True, text=True, check=True)
    result = json.loads(done.stdout.splitlines()[-1])
    return {**result, "rate": result["images"] / result["seconds"]}


if __name__ == "__main__":
    main()
