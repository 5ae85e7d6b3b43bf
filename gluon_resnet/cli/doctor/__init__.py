"""python -m gluon_resnet doctor: what this machine and this environment have for training, and what is missing."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, Optional

from gluon_resnet.cli.command import program
from gluon_resnet.cli.doctor.examination import Examination, examine
from gluon_resnet.cli.parser import Parser
from gluon_resnet.terminal import say

_EPILOG = (
    "The exit status is 0 if training works on this machine, with or without GPUs, and 1 if it does not."
)


def main(argv: Optional[Sequence[str]] = None) -> Optional[int]:
    """Print as `argv` says (default: the command line); return 1 if training cannot work, else None."""
    parser = Parser(
        prog=program("doctor"),
        example="--json",
        description="Show versions, features, threads and GPUs, what is missing, and what to type.",
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args(argv)

    seen = examine()
    if args.json:
        problems = [asdict(problem) for problem in seen.problems]
        print(
            json.dumps({"training_works": seen.training_works, "problems": problems, **seen.facts}, indent=1)
        )
    else:
        for line in _report(seen):
            say(line)
    return None if seen.training_works else 1


def _report(seen: Examination) -> Iterator[str]:
    facts = seen.facts
    for label, text in _rows(facts):
        yield f"{label:<15}{text}"
    yield ""
    for problem in seen.problems:
        yield f"{'needed' if problem.stops_training else 'note'}: {problem.text}"
    gpus = [str(index) for index, gpu in enumerate(facts["gpus"]) if gpu["computes"]]
    if not seen.training_works:
        yield "Training does not work here until everything needed is in place."
    elif gpus:
        yield f"Training works on this machine: --gpus {','.join(gpus)}, or none for the CPU."
    else:
        yield "Training works on this machine, on the CPU."


def _rows(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    ours, python, core, mxnet = (facts[name] for name in ("gluon_resnet", "python", "core", "mxnet"))
    yield "gluon-resnet", f"{ours['version']} in {ours['folder']}"
    yield "Python", f"{python['version']}, {python['executable']}"
    yield "system", str(facts["system"])
    yield "native core", f"works, with {', '.join(core['libraries'])}" if core else "does not work"
    yield from _mxnet_rows(mxnet, facts["mxnet_wheels"] or {})
    yield from _processor_rows(facts["processor"], mxnet)
    if core:
        yield "memory", f"{_gib(core['available_memory'])} left to this process"
    if facts["shared_memory"] is not None:
        yield "/dev/shm", f"{_gib(facts['shared_memory'])} free"
    yield from _gpu_rows(facts)
    if facts["horovod"]:
        yield (
            "Horovod",
            f"{facts['horovod']['version']}, {'for' if facts['horovod']['mxnet'] else 'without'} MXNet",
        )
    yield from _package_rows(facts["packages"] or {})


def _mxnet_rows(mxnet: Optional[dict[str, Any]], wheels: dict[str, str]) -> Iterator[tuple[str, str]]:
    installed = ", ".join(f"{name} {number}" for name, number in wheels.items()) or "no wheel"
    if not mxnet:
        yield "MXNet", f"does not work ({installed} installed)"
        return
    yield "MXNet", f"{mxnet['version']} ({installed}), {mxnet['library']}"
    has = [name for name, enabled in mxnet["features"].items() if enabled]
    lacks = [name for name, enabled in mxnet["features"].items() if not enabled]
    yield "  features", " ".join(has) + (f"; without {' '.join(lacks)}" if lacks else "")


def _processor_rows(
    processor: Optional[dict[str, Any]], mxnet: Optional[dict[str, Any]]
) -> Iterator[tuple[str, str]]:
    if processor:
        quota = f", limited to the time of {processor['quota']:g}" if processor["quota"] else ""
        yield (
            "processors",
            f"{processor['present']} ({processor['model']}), {processor['usable']} for this process{quota}",
        )
        yield "  instructions", " ".join(processor["instructions"]) or "none of those that help"
    if mxnet:
        given = mxnet["set_by_gluon_resnet"]
        if "OMP_NUM_THREADS" not in given:
            who = "OMP_NUM_THREADS"
        elif "GLUON_RESNET_OMP_THREADS" in os.environ:
            who = "GLUON_RESNET_OMP_THREADS"
        else:
            who = "gluon_resnet to the processors for this process"
        yield "  threads", f"{mxnet['threads']}, set by {who}"
        rest = " ".join(f"{name}={value}" for name, value in given.items() if name != "OMP_NUM_THREADS")
        if rest:
            yield "  also set", rest


def _gpu_rows(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if facts["driver_cuda"]:
        yield "NVIDIA driver", f"for CUDA up to {'.'.join(map(str, facts['driver_cuda']))}"
    for index, gpu in enumerate(facts["gpus"]):
        verdict = {True: "computes", False: "does not compute"}.get(gpu["computes"])
        if not verdict:
            verdict = "MXNet can run on it" if gpu["runs_mxnet"] else "MXNet cannot run on it"
        capability = ".".join(map(str, gpu["capability"]))
        yield f"GPU {index}", f"{gpu['name']}, compute capability {capability}: {verdict}"
    if not facts["gpus"]:
        cards = f" ({facts['nvidia_cards']} on the PCI bus)" if facts["nvidia_cards"] else ""
        yield "GPUs", f"none{cards}" + (f": {facts['driver_problem']}" if facts["driver_problem"] else "")


def _package_rows(packages: dict[str, dict[str, Optional[str]]]) -> Iterator[tuple[str, str]]:
    """The installed packages that ours requires, and the missing ones by extra."""
    there: dict[str, str] = {}
    absent: dict[str, list[str]] = {}
    for extra, names in packages.items():
        if extra in ("dev", "cpu", "cu112"):  # for work on the project; MXNet has its own rows
            continue
        for name, number in names.items():
            if number is None:
                absent.setdefault(extra, []).append(name)
            else:
                there[name] = number
    yield "packages", ", ".join(f"{name} {number}" for name, number in there.items()) or "unknown"
    for extra, missing in absent.items():
        if extra not in ("", "beside-mxnet"):  # missing ones are problems
            yield "  not here", f"{', '.join(missing)}: pip install 'gluon-resnet[{extra}]'"


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
