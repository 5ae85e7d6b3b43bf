#!/usr/bin/env python3
"""How long tools/im2rec.py and the im2rec.py of MXNet's wheel take to pack the same folder, in one run.

    mkdir data/imagenet && tar -C data/imagenet -xf imagenet_sample.tar
    python benchmarks/packing.py data/imagenet --num-thread 2

Measured are whole processes, from an existing list to the closed record file; the two take turns in every round.
With --pass-through ours looks for damage in every picture, the wheel's does not. Ours flushes to the disk, the
wheel's leaves that to the system. Start-up is the packing of one picture: the last column is without it, as it
would be for very many pictures. Printed are medians over the rounds, and the median of the ratios within a round.
"""

from __future__ import annotations

import argparse
import filecmp
import importlib.util
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

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


def seconds(who: str, prefix: pathlib.Path, root: pathlib.Path, arguments: list[str]) -> float:
    """Of one process that packs PREFIX.lst."""
    prefix.with_suffix(".rec").unlink(missing_ok=True)
    prefix.with_suffix(".idx").unlink(missing_ok=True)
    os.sync()  # what the one before has left to write is not for this one to wait for
    began = time.perf_counter()
    done = subprocess.run(
        [*command(who), str(prefix), str(root), *arguments], capture_output=True, text=True, check=False
    )
    took = time.perf_counter() - began
    pictures = prefix.with_suffix(".lst").read_text().count("\n")
    index = prefix.with_suffix(".idx")
    if done.returncode or not index.exists() or index.read_text().count("\n") != pictures:
        sys.exit(f"{who} has not packed {pictures} pictures:\n{done.stdout}{done.stderr}")
    return took


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

    times: dict[str, dict[str, list[float]]] = {m: {OURS: [], PEER: []} for m in ("start-up", *MODES)}
    same: dict[str, bool] = {}
    with tempfile.TemporaryDirectory(dir=args.scratch) as folder:
        scratch = pathlib.Path(folder)
        root = scratch / "images"
        size = link(args.images, root, args.repeat)
        all_of_it = scratch / "all.lst"
        subprocess.run(
            [*command(OURS), str(all_of_it.with_suffix("")), str(root), "--list", "--recursive"],
            check=True,
            capture_output=True,
        )
        prefixes = {}
        for number, who in enumerate(
            (OURS, PEER)
        ):  # folders of their own: the wheel's packs every list it sees
            prefixes[who] = scratch / f"out{number}" / "all"
            prefixes[who].parent.mkdir()
            shutil.copy(all_of_it, prefixes[who].with_suffix(".lst"))
            one = scratch / f"one{number}" / "all.lst"
            one.parent.mkdir()
            one.write_text(all_of_it.read_text().split("\n")[0] + "\n")
        threads = ["--num-thread", str(args.num_thread)]
        for _ in range(args.rounds):
            for number, who in enumerate((OURS, PEER)):
                one = scratch / f"one{number}" / "all"
                times["start-up"][who].append(seconds(who, one, root, ["--pass-through", *threads]))
            for mode, (arguments, only_ours) in MODES.items():
                for who, prefix in prefixes.items():
                    more = only_ours if who == OURS else []
                    times[mode][who].append(seconds(who, prefix, root, [*arguments, *more, *threads]))
                records = [prefix.with_suffix(".rec") for prefix in prefixes.values()]
                same[mode] = filecmp.cmp(*records, shallow=False)
        count = all_of_it.read_text().count("\n")

    print(
        f"{count:,} pictures, {size / 1e6:,.1f} MB, {args.num_thread} threads, median of {args.rounds} rounds"
    )
    print(f"{'':28} {OURS:>13} {PEER:>15}  ratio  without start-up  records")
    for mode, measured in times.items():
        ours, theirs = measured[OURS], measured[PEER]
        line = f"{mode:28} {statistics.median(ours):11.2f} s {statistics.median(theirs):13.2f} s"
        if mode in MODES:
            ratio = statistics.median(b / a for a, b in zip(ours, theirs))
            starts = zip(times["start-up"][OURS], times["start-up"][PEER])
            net = statistics.median((b - d) / (a - c) for a, b, (c, d) in zip(ours, theirs, starts))
            line += f" {ratio:4.2f} x  {net:14.2f} x  {'identical' if same[mode] else 'differ'}"
        print(line)
    if args.json:
        arguments = {name: str(value) for name, value in vars(args).items()}
        result = {
            "arguments": arguments,
            "pictures": count,
            "bytes": size,
            "seconds": times,
            "identical": same,
        }
        pathlib.Path(args.json).write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
