"""tools/reproduce.py cifar10, fashion-mnist and imagenet: train and test the paper's networks, write the report."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Sequence
from typing import Any, Callable, Optional

from gluon_resnet.cli.arguments import gpu_ids, number, one_spelling, shorter_sides
from gluon_resnet.cli.command import as_typed, beside
from gluon_resnet.cli.train import options as train_options
from gluon_resnet.data import RecordFile
from gluon_resnet.environment.processor import usable_processors
from gluon_resnet.errors import EnvironmentProblem, GluonResnetError, UsageError
from gluon_resnet.reproduction.data_sets import SmallImages, cifar10_data, fashion_mnist_data
from gluon_resnet.reproduction.example import EXAMPLE, make_example
from gluon_resnet.reproduction.experiments import CIFAR10, FASHION_MNIST, IMAGENET, Experiment
from gluon_resnet.reproduction.nets import PlannedNet, planned_nets
from gluon_resnet.reproduction.plan import Choices, plan
from gluon_resnet.reproduction.reporting.report import write_report
from gluon_resnet.reproduction.results import planned_conversions, read_study
from gluon_resnet.reproduction.steps import Outcome, Step, run_steps, sole_user
from gluon_resnet.terminal import note, say
from gluon_resnet.training.devices import gpu_contexts

_EPILOG = """\
Finished work is not repeated: after Ctrl-C, a failure or a crash the same command continues, to the same bits, and
with more --nets it trains those as well. The report, OUTPUT/report.html and report.md, exists from the beginning
and grows.
Arguments after -- are for train.py and every network, as in: -- --batch-size 64 --dtype bfloat16"""
# Options of train.py that a study chooses itself.
_OURS = {
    *("--network", "--num-layers", "--shortcut", "--data-train", "--data-val", "--model-prefix", "--resume"),
    *(
        "--recipe",
        "--seed",
        "--num-epochs",
        "--num-iterations",
        "--lr-step-epochs",
        "--benchmark",
        "--replay",
        "--gpus",
    ),
}


def add_targets(targets: Any) -> None:
    """Add the targets to the subparsers of reproduce.py."""
    text = "Figure 6, Table 6 and Figure 7: plain and residual nets on CIFAR-10"
    cifar10 = _add(targets, CIFAR10, text, "--data data --num-epochs 8")
    cifar10.add_argument(
        "--data",
        required=True,
        metavar="PATH",
        help="CIFAR-10: its own archive or batches, a folder with these, with cifar10_train.tar.gz and "
        "cifar10_test.tar.gz of CLASS/NAME, or with cifar10_train.rec and cifar10_test.rec",
    )
    cifar10.set_defaults(reproduce=_cifar10, scales=None)
    text = "the nets of Figure 6 on Fashion-MNIST, which is free and lossless"
    fashion = _add(targets, FASHION_MNIST, text, "--num-epochs 10")
    fashion.add_argument(
        "--data",
        default="/usr/share/datasets/fashion-mnist",
        metavar="PATH",
        help="a folder with Fashion-MNIST's IDX files, or with fashion-mnist_train.rec and fashion-mnist_test.rec "
        "(default: %(default)s, where Debian's package dataset-fashion-mnist has them)",
    )
    fashion.set_defaults(reproduce=_fashion_mnist, scales=None)
    text = "Figure 4 and Tables 2 to 5: plain and residual nets on ImageNet"
    imagenet = _add(
        targets, IMAGENET, text, "--data-train data/train.rec --data-val data/val.rec --gpus 0,1,2,3"
    )
    imagenet.add_argument("--data-train", nargs="+", required=True, metavar="REC", help="training records")
    imagenet.add_argument("--data-val", nargs="+", required=True, metavar="REC", help="validation records")
    imagenet.add_argument(
        "--scales",
        type=shorter_sides,
        metavar="N,N,...",
        help="shorter sides of multi-scale testing (default: the paper's)",
    )
    imagenet.set_defaults(reproduce=_imagenet)


def _add(targets: Any, experiment: Experiment, text: str, example: str) -> argparse.ArgumentParser:
    result: argparse.ArgumentParser = targets.add_parser(
        experiment.data_set,
        help=text,
        description=f"{text}: trained, tested, and compared with the paper's.",
        example=example,
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    whole = number(int, 1)
    result.add_argument(
        "--nets",
        default=",".join(experiment.nets),
        metavar="NET,NET,...",
        help="such as plain34, resnet50 or, with a shortcut option, resnet34-C (default: %(default)s)",
    )
    one_spelling(
        result.add_argument(
            "--num-epochs",
            "--epochs",
            type=whole,
            metavar="E",
            help="epochs per network, with the learning rate falling at the same fractions as in the paper's schedule "
            "(default: the paper's schedule)",
        )
    )
    result.add_argument(
        "--seeds",
        type=whole,
        default=1,
        metavar="N",
        help="train each network N times, with train.py's seeds 0 to N - 1 (default: 1)",
    )
    result.add_argument(
        "--converted",
        nargs="+",
        default=[],
        metavar="PREFIX",
        help="networks that convert.py wrote, to test and show beside the others",
    )
    result.add_argument(
        "--output",
        default=os.path.join("runs", experiment.data_set),
        metavar="FOLDER",
        help="folder of all files (default: %(default)s)",
    )
    result.add_argument(
        "--jobs",
        type=whole,
        default=1,
        help="number of networks to train at once, sharing the processors (default: 1)",
    )
    result.add_argument(
        "--gpus", type=gpu_ids, metavar="ID,ID,...", help="the GPUs of each training (default: the CPU)"
    )
    result.add_argument("--data-nthreads", type=whole, help="decoding threads of each training")
    result.add_argument(
        "--report-only", action="store_true", help="run nothing, and write the report of what exists"
    )
    return result


def _cifar10(args: argparse.Namespace) -> Optional[int]:
    return _small_images(args, CIFAR10, cifar10_data(args.data, args.output))


def _fashion_mnist(args: argparse.Namespace) -> Optional[int]:
    return _small_images(args, FASHION_MNIST, fashion_mnist_data(args.data, args.output))


def _small_images(args: argparse.Namespace, experiment: Experiment, data: SmallImages) -> Optional[int]:
    return _study(args, experiment, (data.train,), (data.test,), data.packing)


def _imagenet(args: argparse.Namespace) -> Optional[int]:
    for path in (*args.data_train, *args.data_val):
        RecordFile(path)  # so that a mistyped path is reported before the work
    return _study(args, IMAGENET, tuple(args.data_train), tuple(args.data_val), ())


def _study(
    args: argparse.Namespace,
    experiment: Experiment,
    train_records: tuple[str, ...],
    test_records: tuple[str, ...],
    packing: tuple[Step, ...],
) -> Optional[int]:
    folder, nets = args.output, planned_nets(args.nets.split(","), experiment.own_shortcut, args.seeds)
    converted = planned_conversions(args.converted, experiment)
    choices = Choices(
        experiment.data_set, train_records, test_records, args.num_epochs, args.scales, args.training
    )
    steps = plan(folder, choices, nets, packing, _machine(args), converted)
    _check_training(steps, args.training)
    if args.gpus:
        gpu_contexts(args.gpus)  # so that missing ones are reported before the work
    command = as_typed(args.argv)
    report = _reporter(folder, command, nets, experiment, test_records, converted)
    if args.report_only:  # even beside a running study
        if not choices.kept(folder):
            raise UsageError(f"there is no study in {folder}: omit --report-only to begin one")
        report()
        return _told(Outcome(), folder, command)
    with sole_user(folder) as lock:
        choices.keep(folder)
        report()
        outcome = run_steps(
            steps,
            lambda c: [*beside(c[0]), *c[1:]],
            jobs=args.jobs,
            variables=_variables(args.jobs),
            lock=lock,
            after=_lenient(report),
        )
        if not outcome.signal:
            _draw_example(folder, test_records[0])
        report()
    return _told(outcome, folder, command)


def _machine(args: argparse.Namespace) -> tuple[str, ...]:
    """The arguments that tell the commands about this machine."""
    gpus = ("--gpus", ",".join(map(str, args.gpus))) if args.gpus else ()
    count = args.data_nthreads
    if count is None and args.jobs > 1:
        count = max(1, usable_processors() // args.jobs)
    threads = ("--data-nthreads", str(count)) if count else ()
    return (*gpus, *threads)


def _variables(jobs: int) -> dict[str, str]:
    """The environment of each command: the threads that MXNet may use, by the user's choice or ours, are shared."""
    threads = int(os.environ.get("OMP_NUM_THREADS", usable_processors()))
    return {"OMP_NUM_THREADS": str(max(1, threads // jobs))}


def _check_training(steps: Sequence[Step], training: Sequence[str]) -> None:
    """UsageError, or argparse's exit, if train.py would refuse its arguments: now, and not after hours."""
    for argument in training:
        name = argument.partition("=")[0]
        if name in _OURS:
            raise UsageError(f"{name} after --: reproduce.py chooses this itself; see its --help")
    for step in steps:
        if step.name.startswith("train "):
            train_options.parser().parse_args(step.command()[1:])


def _reporter(
    folder: str,
    command: str,
    nets: Sequence[PlannedNet],
    experiment: Experiment,
    test_records: Sequence[str],
    converted: Sequence[PlannedNet],
) -> Callable[[], None]:
    """A function that writes the report of what exists."""
    return lambda: write_report(read_study(folder, command, nets, experiment, test_records, converted))


def _draw_example(folder: str, records: str) -> None:
    """Draw the best network's answer, if there is one and the picture does not show it yet."""
    model, picture = os.path.join(folder, "best"), os.path.join(folder, EXAMPLE)
    card = f"{model}-model.json"
    if not os.path.exists(card):
        return
    if not os.path.exists(picture) or os.path.getmtime(picture) < os.path.getmtime(card):
        make_example(folder, model, records)


def _lenient(report: Callable[[], None]) -> Callable[[], None]:
    """`report` for use while trainings run: a full disk is no reason to end them."""

    def write() -> None:
        try:
            report()
        except (OSError, EnvironmentProblem) as problem:
            note(f"the report could not be written: {problem}")

    return write


def _told(outcome: Outcome, folder: str, command: str) -> Optional[int]:
    """Print a line about the end and return the exit status; GluonResnetError if something failed."""
    if outcome.signal:
        say(f"stopped; continue with: {command}")
        return 128 + outcome.signal
    if outcome.failed:
        told = "; ".join(f"{name}: {why}" for name, why in outcome.failed.items())
        count, left = len(outcome.failed), len(outcome.skipped)
        steps, whose = ("1 step", "its") if count == 1 else (f"{count} steps", "their")
        lost = f", and {left} that need {whose} results were skipped" if left else ""
        raise GluonResnetError(f"{steps} failed{lost}: {told}. Type the same command to try again")
    say(f"wrote {shlex.quote(folder)}/report.html and report.md")
    return None
