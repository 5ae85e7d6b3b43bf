"""tools/launch.py: runs a command as the workers of a parameter server, on one machine or several."""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import socket
from collections.abc import Sequence
from typing import Optional

from gluon_resnet.cli.arguments import number
from gluon_resnet.cli.command import program
from gluon_resnet.cli.parser import Parser, as_shown
from gluon_resnet.environment.extras import how_to_get_mxnet
from gluon_resnet.errors import EnvironmentProblem, UsageError
from gluon_resnet.launch.hosts import check_ssh, own_address, read_hosts
from gluon_resnet.launch.job import Plan
from gluon_resnet.launch.run import run

_PROGRAMS = {"ssh": "ssh", "mpi": "mpirun", "slurm": "srun"}  # the programs that start processes elsewhere


def main(argv: Optional[Sequence[str]] = None) -> Optional[int]:
    """Launch as `argv` says (default: the command line); return the exit status."""
    args = _parser().parse_args(argv)
    command = args.command[1:] if args.command[:1] == ["--"] else args.command
    _check(args, command)
    hosts = read_hosts(args.hostfile) if args.hostfile else []
    local = args.launcher == "local"
    plan = Plan(
        launcher=args.launcher,
        workers=args.num_workers,
        servers=args.num_workers if args.num_servers is None else args.num_servers,
        command=command,
        address=args.host_ip or ("127.0.0.1" if local else own_address(hosts)),
        hosts=args.hostfile,
        nodes=int(os.environ.get("SLURM_JOB_NUM_NODES", 1)),
        environment=args.env,
    )
    return run(
        plan, args.max_restarts, (lambda: check_ssh(hosts)) if args.launcher == "ssh" else lambda: None
    )


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog=program("launch"),
        example=f"-n 2 -s 1 -- {as_shown(program('train'))} --network resnet20 --recipe cifar10 "
        "--data-train data/cifar10_train.rec --kv-store dist_sync",
        usage=f"%(prog)s [options] -- {as_shown(program('train'))} ...",
        description="Run a command as the workers of MXNet's parameter server, with its servers and scheduler. "
        "Their lines are prefixed with role and rank. When one process fails, all end with its exit status.",
    )
    parser.add_argument(
        "-n", "--num-workers", type=number(int, 1, 4096), required=True, help="number of workers"
    )
    parser.add_argument(
        "-s",
        "--num-servers",
        type=number(int, 1, 4096),
        help="number of servers, which keep the weights (default: as many as workers)",
    )
    parser.add_argument(
        "--launcher",
        choices=("local", "ssh", "mpi", "slurm"),
        help="local: on this machine; ssh, mpi: on those of --hostfile; slurm: within an allocation "
        "(default: ssh with a --hostfile, local without)",
    )
    parser.add_argument("-H", "--hostfile", help="file with HOST, HOST:PORT or HOST slots=N on each line")
    parser.add_argument(
        "--host-ip",
        type=_address,
        help="the IPv4 address of this machine that the others can reach (default: found)",
    )
    parser.add_argument(
        "--env",
        type=_variable,
        action="append",
        default=[],
        metavar="NAME[=VALUE]",
        help="an environment variable for all processes, by default with its value here; may be repeated",
    )
    parser.add_argument(
        "--max-restarts",
        type=number(int, 0),
        default=0,
        metavar="N",
        help="run the command again, up to N times, when a process fails; give train.py --resume from the start",
    )
    parser.add_argument(
        "command", nargs=argparse.REMAINDER, help="the command that each worker runs, in this folder"
    )
    return parser


def _check(args: argparse.Namespace, command: Sequence[str]) -> None:
    """UsageError or EnvironmentProblem for arguments that cannot work; fills in the launcher."""
    args.launcher = args.launcher or ("ssh" if args.hostfile else "local")
    if not command:
        train = as_shown(program("train"))
        raise UsageError(f"there is no command: give one after --, like -- {train} ...")
    if args.launcher == "ssh" and not args.hostfile:
        raise UsageError("--launcher ssh needs the machines: -H FILE")
    if args.launcher in ("local", "slurm") and args.hostfile:
        raise UsageError(f"--launcher {args.launcher} takes no --hostfile: choose ssh or mpi")
    if args.max_restarts and "--resume" not in command and _trains(command):
        raise UsageError(
            "--max-restarts runs the same command again: give train.py --resume from the start, "
            "since without a state it begins from scratch"
        )
    if importlib.util.find_spec("dmlc_tracker") is None:
        raise EnvironmentProblem(
            f"this needs dmlc_tracker, which comes with MXNet; MXNet {how_to_get_mxnet()}"
        )
    starter = _PROGRAMS.get(args.launcher)
    if starter and not shutil.which(starter):
        raise EnvironmentProblem(f"--launcher {args.launcher} needs {starter}, which is not installed")
    if args.launcher == "slurm" and "SLURM_JOB_ID" not in os.environ:
        raise EnvironmentProblem(
            "--launcher slurm runs within an allocation: begin with salloc --nodes=N, or sbatch"
        )


def _address(text: str) -> str:
    parts = text.split(".")
    if len(parts) != 4 or not all(part.isascii() and part.isdigit() and int(part) < 256 for part in parts):
        raise argparse.ArgumentTypeError(f"expected an IPv4 address like 10.0.0.1, found {text!r}")
    with socket.socket() as probe:
        try:
            probe.bind((text, 0))
        except OSError:
            raise argparse.ArgumentTypeError(f"{text} is not an address of this machine") from None
    return text


def _trains(command: Sequence[str]) -> bool:
    """Whether the command is our training command, by any of its names."""
    return any(
        os.path.basename(word) == "train.py"
        or (word == "train" and os.path.basename(before) in ("gluon-resnet", "gluon_resnet"))
        for before, word in zip(["", *command], command)
    )


def _variable(text: str) -> tuple[str, str]:
    name, given, value = text.partition("=")
    if not name or not (given or name in os.environ):
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, or a variable that is set, found {text!r}")
    return name, value if given else os.environ[name]
