#!/usr/bin/env python3
"""Images a second on CPUs: our predictors, in float32 and INT8, beside MXNet, onnxruntime and PyTorch, in one run.

    make predict
    python benchmarks/inference.py --imagenet data/imagenet.rec --program build/predict/predict --output inference.json

Each is a process of its own, started once with the same number of threads, and all take turns in every round while
the others sleep. The network has random weights; the INT8 one is calibrated on the records. First batches that are
there as arrays, then the JPEG files of the records, decoded by what each one's users take (OpenCV for onnxruntime,
Pillow for PyTorch). Printed are medians over the rounds, and of the ratios to onnxruntime's speed within a round,
with their range: above 1 is faster.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from inference_runs import ARRAYS, COMPILED, FILES, MEAN, RUNS, STD, Job
from tabulate import tabulate
from training import Measured, compare, is_worker, processor, versions

PEER = "onnxruntime"


def prepare(network: str, records: str, folder: str) -> None:
    """The files of FOLDER/NETWORK: float32, ONNX, and INT8; a worker's work, as MXNet would keep its threads here."""
    import numpy as np

    from gluon_resnet._mxnet import mx
    from gluon_resnet.card import ModelCard
    from gluon_resnet.deploy.export import export
    from gluon_resnet.deploy.quantize import quantize
    from gluon_resnet.models import build_network
    from gluon_resnet.models.saved import save_network

    small = network == "resnet20"
    classes = tuple(map(str, range(10 if small else 1000)))
    size, resize = (32, None) if small else (224, 256)
    card = ModelCard(network, classes, size, MEAN, STD, resize=resize)
    mx.random.seed(1)
    net = build_network(card)
    net.initialize()
    noise = np.random.default_rng(0).uniform(0, 255, (4, 3, size, size))
    with mx.autograd.record():  # else activations grow from unit to unit, beyond what any calibration is for
        net(mx.nd.array(noise))
    prefix = os.path.join(folder, network)
    save_network(f"{prefix}-run", 0, card, net)
    export(f"{prefix}-run", 0, prefix, "both")
    quantize(prefix, f"{prefix}-int8", records, mode="naive", batches=2, batch_size=16)


def write_images(records: str, folder: str, most: int) -> None:
    """The first JPEG files of the records, as files."""
    from gluon_resnet.data import RecordFile

    file = RecordFile(records)
    os.makedirs(folder)
    for position in file.images[:most]:
        with open(os.path.join(folder, f"{position:06}.jpg"), "wb") as stream:
            stream.write(file[position].payload)


def rows(batch_size: int, measured: Measured, peer: str) -> list[list[object]]:
    """One for each name: milliseconds a pass, of processor time, images a second, times the peer's speed."""
    result: list[list[object]] = []
    for name, values in measured.items():
        wall, used = map(statistics.median, zip(*values))
        row: list[object] = [name, wall * 1e3, used * 1e3, batch_size / wall]
        if peer in measured:
            ratios = [other / own for (own, _), (other, _) in zip(values, measured[peer])]
            row += [statistics.median(ratios), f"{min(ratios):.2f} to {max(ratios):.2f}"]
        result.append(row)
    return result


def main() -> None:
    if is_worker(RUNS, Job):
        return
    if sys.argv[1:2] == ["--prepare"]:
        prepare(*sys.argv[2:])
        return
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--network", choices=("resnet20", "resnet50"), default="resnet50")
    parser.add_argument(
        "--records", "--imagenet", required=True, metavar="REC", help="of JPEGs; for resnet20 of CIFAR images"
    )
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 16], metavar="N", help="default: 1 16")
    parser.add_argument("--program", metavar="FILE", help="the C++ one; left out without")
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", help="of the printed names, those that begin so (and the peer)"
    )
    parser.add_argument("--compiled", action="store_true", help="torch.compile, too")
    parser.add_argument(
        "--threads", type=int, default=len(os.sched_getaffinity(0)), help="default: all processors"
    )
    parser.add_argument("--rounds", type=int, default=7, help="default: 7")
    parser.add_argument(
        "--seconds", type=float, default=1.5, help="of each measurement, two passes at least (default: 1.5)"
    )
    parser.add_argument("--output", metavar="FILE", help="write all measurements there as JSON")
    args = parser.parse_args()

    found = versions("onnxruntime")
    print(processor(), *(f"{name} {number}" for name, number in found.items()), sep=", ", flush=True)
    results: dict[str, dict[str, Measured]] = {}
    with tempfile.TemporaryDirectory() as folder:
        threads = {**os.environ, "OMP_NUM_THREADS": str(args.threads)}
        script = os.path.abspath(__file__)
        subprocess.run(
            [sys.executable, script, "--prepare", args.network, args.records, folder], check=True, env=threads
        )
        images = os.path.join(folder, "images")
        write_images(args.records, images, 500)
        for batch_size in args.batches:
            small = args.network == "resnet20"
            job = Job(
                network=args.network,
                batch_size=batch_size,
                size=32 if small else 224,
                resize=None if small else 256,
                classes=10 if small else 1000,
                threads=args.threads,
                prefix=os.path.join(folder, args.network),
                images=images,
                program=args.program and os.path.abspath(args.program),
            )
            results[str(batch_size)] = {}
            for title, runs, peer in (
                ("arrays", {**ARRAYS, **(COMPILED if args.compiled else {})}, PEER),
                ("JPEG files", FILES, f"{PEER}, OpenCV, files"),
            ):
                names = [
                    name
                    for name in runs
                    if (name == peer or not args.only or name.startswith(tuple(args.only)))
                    and (args.program or "C++" not in name)
                ]
                measured = compare(job, names, args.rounds, args.seconds, script)
                results[str(batch_size)][title] = measured
                print(
                    f"\n{args.network}, {title}, batch {batch_size}, threads: {args.threads}; "
                    f"medians of {args.rounds} rounds"
                )
                headers = ["", "ms a pass", "of processors", "images/s", f"times {PEER}", "range"]
                table = rows(batch_size, measured, peer)
                print(
                    tabulate(table, headers=headers, floatfmt=("", ".2f", ".2f", ".1f", ".2f", "")),
                    flush=True,
                )
    if args.output:
        about = {"machine": processor(), "versions": found, "arguments": vars(args)}
        with open(args.output, "w", encoding="utf-8") as stream:
            json.dump({**about, "seconds_a_pass_and_of_processors": results}, stream, indent=1)
            stream.write("\n")


if __name__ == "__main__":
    main()
