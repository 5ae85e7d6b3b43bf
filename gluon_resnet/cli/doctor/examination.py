"""What doctor examines, and what it finds wrong."""

from __future__ import annotations

import glob
import importlib.util
import math
import os
import platform
import sys
from dataclasses import dataclass, field
from typing import Any, Callable, Optional

import gluon_resnet
from gluon_resnet.cli.doctor.questions import compute, describe_core, describe_mxnet, import_training
from gluon_resnet.environment.apart import NoAnswer, ask_apart
from gluon_resnet.environment.driver import Gpu, count_cards, driver_cuda, list_gpus
from gluon_resnet.environment.extras import LAST_PYTHON_OF_MXNET, how_to_get_mxnet
from gluon_resnet.environment.packages import mxnet_wheels, required_packages, version
from gluon_resnet.environment.processor import describe_processor
from gluon_resnet.errors import EnvironmentProblem

_HOROVOD = "HOROVOD_WITH_MXNET=1 HOROVOD_WITH_GLOO=1 pip install --no-build-isolation horovod==0.28.1"


@dataclass(frozen=True)
class Problem:
    """`text`: one sentence that says what is wrong and what to type."""

    text: str
    stops_training: bool


@dataclass
class Examination:
    """`facts`: the findings, as JSON values; a part that could not be examined is None."""

    facts: dict[str, Any] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    @property
    def training_works(self) -> bool:
        return not any(problem.stops_training for problem in self.problems)

    def add(self, text: str, stops_training: bool = False) -> None:
        self.problems.append(Problem(text, stops_training))

    def ask(self, what: str, question: Callable[..., Any], *arguments: Any) -> Any:
        """The answer, or None; whatever is broken here must not keep the rest from being examined."""
        try:
            return question(*arguments)
        except Exception as error:
            self.add(f"{what} cannot be examined: {type(error).__name__}: {error}")
            return None


def examine() -> Examination:
    """Examine everything; raises nothing, and takes some seconds, in which MXNet starts twice."""
    seen = Examination()
    facts = seen.facts
    facts["gluon_resnet"] = {
        "version": gluon_resnet.__version__,
        "folder": os.path.dirname(gluon_resnet.__file__),
    }
    facts["python"] = {"version": platform.python_version(), "executable": sys.executable}
    facts["system"] = seen.ask("the system", platform.platform)
    facts["packages"] = seen.ask("the list of packages", required_packages)
    facts["mxnet_wheels"] = seen.ask("the list of packages", mxnet_wheels)
    _look_at_core(seen)
    _look_at_gpus(seen)
    _look_at_mxnet(seen)
    _judge_packages(seen)
    _judge_gpus(seen)
    _look_at_processor(seen)
    facts["shared_memory"] = seen.ask("/dev/shm", _free_bytes, "/dev/shm")
    _look_at_horovod(seen)
    return seen


def _look_at_core(seen: Examination) -> None:
    facts = seen.facts
    facts["core"] = None
    try:
        facts["core"] = ask_apart(describe_core)
    except EnvironmentProblem as error:
        # A checkout is built by make; a wheel has a core for the Python that it was made for.
        checkout = os.path.exists(os.path.join(os.path.dirname(facts["gluon_resnet"]["folder"]), "setup.py"))
        fix = "make setup" if checkout else "pip install --force-reinstall --no-deps gluon-resnet"
        seen.add(f"the native core does not work ({error}): {fix}", stops_training=True)


def _look_at_mxnet(seen: Examination) -> None:
    facts, wheels = seen.facts, seen.facts["mxnet_wheels"] or {}
    facts["mxnet"] = None
    try:
        facts["mxnet"] = ask_apart(describe_mxnet, seconds=120)
        if facts["core"]:
            ask_apart(import_training, seconds=120)
    except NoAnswer as error:
        what = "the training program" if facts["mxnet"] else "MXNet"
        fix = f"pip install 'gluon-resnet[{_extra(seen)}]'"
        if wheels and not facts["mxnet"] and "ModuleNotFoundError" not in str(error):
            again = " ".join(f"{name}=={number}" for name, number in wheels.items())
            fix = f"pip install --force-reinstall --no-deps {again}"
        seen.add(f"{what} does not work ({error}): {fix}", stops_training=True)
    except EnvironmentProblem as error:
        text = str(error)
        if not wheels and text == f"this needs MXNet, which {how_to_get_mxnet()}":
            text = f"MXNet {how_to_get_mxnet(_extra(seen))}"
        seen.add(text, stops_training=True)
    if len(wheels) > 1:
        names = " ".join(wheels)
        seen.add(
            f"{' and '.join(wheels)} write to the same folder, and either breaks the other: "
            f"pip uninstall -y {names} && pip install 'gluon-resnet[{_extra(seen)}]'"
        )


def _look_at_gpus(seen: Examination) -> None:
    facts = seen.facts
    facts["nvidia_cards"] = seen.ask("the PCI bus", count_cards)
    facts["driver_cuda"], facts["gpus"], facts["driver_problem"] = None, [], None
    try:
        facts["driver_cuda"] = ask_apart(driver_cuda)
        for name, capability in ask_apart(list_gpus):
            gpu = Gpu(name, (capability[0], capability[1]))
            facts["gpus"].append({**gpu._asdict(), "runs_mxnet": gpu.runs_mxnet, "computes": None})
    except NoAnswer as error:
        facts["driver_problem"] = f"the NVIDIA driver does not work ({error})"
    except EnvironmentProblem as error:
        facts["driver_problem"] = str(error).split(": install it")[0]


def _judge_gpus(seen: Examination) -> None:
    """Let each GPU compute that can, and say why the others cannot."""
    facts, gpus = seen.facts, seen.facts["gpus"]
    with_cuda = bool(facts["mxnet"] and facts["mxnet"]["features"]["CUDA"])
    if facts["driver_problem"] and (facts["nvidia_cards"] or "does not work" in facts["driver_problem"]):
        seen.add(
            f"{facts['driver_problem']}: reinstall NVIDIA's driver (Debian: apt-get install nvidia-driver; "
            "Ubuntu: ubuntu-drivers install), or start the container with --gpus all"
        )
    if gpus and with_cuda and facts["driver_cuda"] < [11, 0]:
        newest = ".".join(map(str, facts["driver_cuda"]))
        seen.add(
            f"the NVIDIA driver runs CUDA up to {newest}, but MXNet needs 11.0: install driver 450.80 or later "
            "(Debian: apt-get install nvidia-driver; Ubuntu: ubuntu-drivers install)",
            stops_training=True,
        )
        return
    for index, gpu in enumerate(gpus):
        if not gpu["runs_mxnet"]:
            seen.add(
                f"GPU {index} ({gpu['name']}) cannot be used: MXNet 1.9.1 has no kernels for compute capability "
                f"{'.'.join(map(str, gpu['capability']))}, only for 5.0 to 8.x: omit it from --gpus"
            )
        elif with_cuda:
            try:
                ask_apart(compute, "gpu", index, seconds=300)
                gpu["computes"] = True
            except EnvironmentProblem as error:
                gpu["computes"] = False
                seen.add(
                    f"GPU {index} ({gpu['name']}) does not compute ({error}): omit it from --gpus, or "
                    "pip install --force-reinstall 'gluon-resnet[cu112]'",
                    stops_training=True,
                )
    if any(gpu["runs_mxnet"] for gpu in gpus) and facts["mxnet"] and not with_cuda:
        names = " ".join(facts["mxnet_wheels"] or ["mxnet"])
        seen.add(
            "MXNet was built without CUDA, so the GPUs are idle: "
            f"pip uninstall -y {names} && pip install 'gluon-resnet[cu112]'"
        )


def _judge_packages(seen: Examination) -> None:
    """Report what every command may need; what only another extra provides is not a problem."""
    told: set[str] = set()
    # If MXNet does not run here, pip installs none of the packages that accompany it.
    for extra in ("", "beside-mxnet") if sys.version_info[:2] <= LAST_PYTHON_OF_MXNET else ("",):
        packages = (seen.facts["packages"] or {}).get(extra, {})
        missing = [name for name, number in packages.items() if number is None and name not in told]
        told.update(missing)
        if missing:
            verb = "is" if len(missing) == 1 else "are"
            seen.add(
                f"{', '.join(missing)} {verb} missing: pip install 'gluon-resnet[{_extra(seen)}]'",
                stops_training=not extra,
            )


def _look_at_processor(seen: Examination) -> None:
    facts = seen.facts
    processor = seen.ask("the processor", describe_processor)
    facts["processor"] = processor and processor._asdict()
    if not processor or not facts["mxnet"]:
        return
    threads = facts["mxnet"]["threads"]
    limit = min(processor.usable, math.ceil(processor.quota or processor.usable))
    if threads > limit:
        seen.add(
            f"MXNet uses {threads} threads, but this process may use only {limit} of the processors, which makes it "
            f"slow: export OMP_NUM_THREADS={limit}"
        )


def _look_at_horovod(seen: Examination) -> None:
    number = seen.ask("Horovod", version, "horovod")
    spec = seen.ask("Horovod", importlib.util.find_spec, "horovod")
    seen.facts["horovod"] = None
    if number and spec:
        folder = os.path.dirname(spec.origin or "")
        with_mxnet = bool(glob.glob(os.path.join(glob.escape(folder), "mxnet", "mpi_lib*.so")))
        seen.facts["horovod"] = {"version": number, "mxnet": with_mxnet}
        if not with_mxnet:
            seen.add(f"Horovod was built without MXNet: pip uninstall -y horovod && {_HOROVOD}")


def _extra(seen: Examination) -> str:
    """The extra for this machine: the installed one, or else the one for its GPUs."""
    wheels = seen.facts["mxnet_wheels"] or {}
    if len(wheels) == 1:
        return "cu112" if "mxnet-cu112" in wheels else "cpu"
    return "cu112" if any(gpu["runs_mxnet"] for gpu in seen.facts["gpus"]) else "cpu"


def _free_bytes(folder: str) -> Optional[int]:
    if not os.path.isdir(folder):
        return None
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize
