"""The options for the networks to test, on what and where: those of evaluate.py and responses.py."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, Union

from gluon_resnet.cli.arguments import epoch, gpu_ids, number
from gluon_resnet.errors import UsageError


def add_network_options(parser: argparse.ArgumentParser, several: str, required: bool) -> None:
    """Add --model-prefix and --epoch; `several` says what several networks mean."""
    group = parser.add_argument_group("networks")
    group.add_argument(
        "--model-prefix",
        nargs="+",
        required=required,
        default=[],
        metavar="PREFIX",
        help=f"prefix of files from train.py, convert.py or export.py; several: {several}",
    )
    group.add_argument(
        "--epoch",
        nargs="+",
        type=epoch,
        default=[None],
        metavar="N",
        help="the epoch of PREFIX-NNNN.params, or best; one for all or one for each (default: the newest)",
    )


def add_data_options(parser: argparse.ArgumentParser, required: bool) -> argparse._ArgumentGroup:
    """Add --data-val, --recompute-statistics, --data-nthreads and --batch-size; return their group in the help."""
    group = parser.add_argument_group("data")
    group.add_argument(
        "--data-val",
        nargs="+",
        required=required,
        default=[],
        metavar="REC",
        help="records, each of which counts once",
    )
    group.add_argument(
        "--recompute-statistics",
        nargs="+",
        default=[],
        metavar="REC",
        help="first replace batch normalization's running averages by the statistics of these records, usually those "
        "of training, in batches of --batch-size; the files of the network stay as they are",
    )
    group.add_argument(
        "--data-nthreads", type=number(int, 1), help="decoding threads (default: one per processor)"
    )
    group.add_argument("--batch-size", type=number(int, 1), default=64, help="images at once (default: 64)")
    return group


def add_device_options(parser: argparse.ArgumentParser) -> None:
    """Add --gpus and --cpus."""
    group = parser.add_argument_group("devices").add_mutually_exclusive_group()
    group.add_argument("--gpus", type=gpu_ids, metavar="ID,ID,...", help="default: the CPU")
    group.add_argument(
        "--cpus", type=number(int, 1), default=1, help="data-parallel CPU contexts (default: 1)"
    )


def passes(args: argparse.Namespace, contexts: Sequence[Any]) -> dict[str, Any]:
    """How the command line wants images to go through networks: keyword arguments of all that does so."""
    from gluon_resnet.training.progress import Progress  # responses.py shows what was measured without MXNet

    return {
        "batch_size": args.batch_size,
        "threads": args.data_nthreads,
        "contexts": contexts,
        "progress": Progress(every=0),
    }


def epochs(args: argparse.Namespace) -> list[Union[int, str, None]]:
    """The value of --epoch for each --model-prefix; UsageError if their numbers do not match."""
    if len(args.epoch) not in (1, len(args.model_prefix)):
        raise UsageError(
            f"--epoch: expected one for all or one for each of {len(args.model_prefix)} networks, "
            f"found {len(args.epoch)}"
        )
    return args.epoch * (len(args.model_prefix) // len(args.epoch))
