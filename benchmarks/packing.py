#!/usr/bin/env python3
"""How long tools/im2rec.py and the im2rec.py of MXNet's wheel take to pack the same folder, in one run.

    mkdir data/imagenet && tar -C data/imagenet -xf imagenet_sample.tar
    python benchmarks/packing.py data/imagenet --num-thread 2

Measured are whole processes, from an existing list to the closed record file; the two take turns in every round.
With --pass-through ours looks for damage in every picture, the wheel's does not. Ours flushes to the disk, the
wheel's leaves that to the system. Start-up is the packing of one picture: without it the ratio is what it would be
for very many pictures. Printed are medians over the rounds, and the median of the ratios within a round.
"""

from __future__ import annotations

import argparse
import filecmp
import importlib.util
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from typing import NamedTuple

HERE = pathlib.Path(__file__).resolve().parent.parent
OURS, PEER = "gluon-resnet", "MXNet's wheel"
MODES = {
    "--resize 480": (["--resize", "480"], []),  # arguments, and those that only ours knows
    "--pass-through": (["--pass-through"], []),
    "--pass-through --no-verify": (["--pass-through"], ["--no-verify"]),
}
# MXNet 1.9.1 needs numpy.bool, which gluon_resnet._mxnet gives back.
RUN_PEER = """
import runpy, sys
sys.path.insert(0, sys.argv.pop(1))
import gluon_resnet._mxnet
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def command(who: str) -> list[str]:
    if who == OURS:
        return [sys.executable, str(HERE / "tools" / "im2rec.py")]
    spec = importlib.util.find_spec("mxnet")
    if spec is None or spec.origin is None:
        sys.exit("the peer is not installed: pip install gluon-resnet[cpu]")
    tool = pathlib.Path(spec.origin).parent / "tools" / "im2rec.py"
    return [sys.executable, "-c", RUN_PEER, str(HERE), str(tool)]


class Cost(NamedTuple):
    """Of one process and those it starts, in seconds."""

    wall: float
    processor: float


def cost(who: str, prefix: pathlib.Path, root: pathlib.Path, arguments: list[str]) -> Cost:
    """Of packing PREFIX.lst."""
    prefix.with_suffix(".rec").unlink(missing_ok=True)
    prefix.with_suffix(".idx").unlink(missing_ok=True)
    os.sync()  # what the one before has left to write is not for this one to wait for
    began, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [*command(who), str(prefix), str(root), *arguments], capture_output=True, text=True, check=False
    )
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    pictures = prefix.with_suffix(".lst").read_text().count("\n")
    index = prefix.with_suffix(".idx")
    if done.returncode or not index.exists() or index.read_text().count("\n") != pictures:
        sys.exit(f"{who} has not packed {pictures} pictures:\n{done.stdout}{done.stderr}")
    return Cost(wall, after.ru_utime - used.ru_utime + after.ru_stime - used.ru_stime)


def link(images: pathlib.Path, root: pathlib.Path, repeat: int) -> int:
    """Make `repeat` links to every picture below `root`, and read each once; the number of bytes."""
    size = 0
    for path in sorted(p for p in images.rglob("*") if p.is_file()):
        size += repeat * len(path.read_bytes())
        for copy in range(repeat):
            name = root / path.relative_to(images).with_name(f"{copy}_{path.name}")
            name.parent.mkdir(parents=True, exist_ok=True)
            name.symlink_to(path.resolve())
    return size


def ratio(ours: Iterable[float], theirs: Iterable[float]) -> float:
    return statistics.median(b / a for a, b in zip(ours, theirs))


def report(costs: dict[str, dict[str, list[Cost]]], same: dict[str, bool]) -> None:
    times = f"{'ours':>8} {'theirs':>8} {'ratio':>7}"
    print(f"{'':28} seconds:{times}  without start-up  processor seconds:{times}  records")
    for mode, measured in costs.items():
        cells = {}
        for kind in Cost._fields:
            ours, theirs = ([getattr(one, kind) for one in measured[who]] for who in (OURS, PEER))
            medians = f"{statistics.median(ours):8.2f} {statistics.median(theirs):8.2f}"
            cells[kind] = f"{medians} {ratio(ours, theirs):5.2f} x"
        net = end = ""
        if mode in MODES:
            starts = costs["start-up"]
            work = ([a.wall - b.wall for a, b in zip(measured[who], starts[who])] for who in (OURS, PEER))
            net = f"{ratio(*work):.2f} x"
            end = "identical" if same[mode] else "differ"
        print(f"{mode:28} {'':8}{cells['wall']}  {net:>16}  {'':18}{cells['processor']}  {end}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images", type=pathlib.Path, help="a folder of class folders")
    parser.add_argument("--num-thread", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="pack every picture N times")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", metavar="FILE", help="write all measurements there, too")
    parser.add_argument("--scratch", help="a folder to write to (default: the system's)")
    args = parser.parse_args()

    costs: dict[str, dict[str, list[Cost]]] = {m: {OURS: [], PEER: []} for m in ("start-up", *MODES)}
    same: dict[str, bool] = {}
    threads = ["--num-thread", str(args.num_thread)]
    with tempfile.TemporaryDirectory(dir=args.scratch) as folder:
        scratch = pathlib.Path(folder)
        root, listed = scratch / "images", scratch / "all"
        size = link(args.images, root, args.repeat)
        subprocess.run(
            [*command(OURS), str(listed), str(root), "--list", "--recursive"], check=True, capture_output=True
        )
        lines = listed.with_suffix(".lst").read_text().splitlines(keepends=True)
        prefixes = {}
        for number, who in enumerate(
            (OURS, PEER)
        ):  # in folders of their own: the peer packs every list it sees
            prefixes[who] = scratch / f"all{number}" / "all", scratch / f"one{number}" / "one"
            for prefix, part in zip(prefixes[who], (lines, lines[:1])):
                prefix.parent.mkdir()
                prefix.with_suffix(".lst").write_text("".join(part))
        for _ in range(args.rounds):
            for who, (_, one) in prefixes.items():
                costs["start-up"][who].append(cost(who, one, root, ["--pass-through", *threads]))
            for mode, (arguments, only_ours) in MODES.items():
                for who, (all_of_it, _) in prefixes.items():
                    more = only_ours if who == OURS else []
                    costs[mode][who].append(cost(who, all_of_it, root, [*arguments, *more, *threads]))
                records = [all_of_it.with_suffix(".rec") for all_of_it, _ in prefixes.values()]
                same[mode] = filecmp.cmp(*records, shallow=False)

    print(
        f"{len(lines):,} pictures, {size / 1e6:,.1f} MB, {args.num_thread} threads, median of {args.rounds} rounds"
    )
    report(costs, same)
    if args.json:
        arguments = {
            name: value if isinstance(value, int) else str(value) for name, value in vars(args).items()
        }
        result = {"arguments": arguments, "pictures": len(lines), "bytes": size, "identical": same}
        result["wall_and_processor_seconds"] = costs
        pathlib.Path(args.json).write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
