"""What doctor says of machines with GPUs, and of others that this one is not: the answers are made up."""

from __future__ import annotations

import json
import sys

import pytest

from gluon_resnet.cli import doctor
from gluon_resnet.cli.doctor import examination as doctor_examination
from gluon_resnet.cli.doctor.examination import examine
from gluon_resnet.cli.doctor.questions import compute, describe_core, describe_mxnet, import_training
from gluon_resnet.environment.apart import NoAnswer
from gluon_resnet.environment.driver import driver_cuda, list_gpus
from gluon_resnet.environment.processor import Processor
from gluon_resnet.errors import EnvironmentProblem

NO_DRIVER = EnvironmentProblem(
    "no NVIDIA driver was found (libcuda.so.1): install it, or omit --gpus to train on the CPU"
)
FEATURES = {"CUDA": True, "CUDNN": True, "NCCL": True, "MKLDNN": True}
MXNET = {
    "version": "1.9.1",
    "library": "/site/mxnet/libmxnet.so",
    "features": FEATURES,
    "set_by_gluon_resnet": {"OMP_NUM_THREADS": "8"},
    "threads": 8,
}


@pytest.fixture
def machine(monkeypatch):
    """Pretend a machine; by keyword the answers to what is asked apart, an exception to be raised."""

    def pretend(gpus=(), driver=(11, 4), mxnet=MXNET, wheels=("mxnet-cu112",), **others):
        answers = {
            describe_core: {"libraries": ["libjpeg.so.62"], "available_memory": 2**34},
            describe_mxnet: mxnet,
            import_training: None,
            driver_cuda: list(driver) if gpus else NO_DRIVER,
            list_gpus: [["NVIDIA Test", list(capability)] for capability in gpus],
            compute: None,
            **{globals()[name]: answer for name, answer in others.items()},
        }

        def ask(function, *arguments, seconds=60):
            if isinstance(answers[function], Exception):
                raise answers[function]
            return answers[function]

        for name, answer in {
            "ask_apart": ask,
            "mxnet_wheels": lambda: dict.fromkeys(wheels, "1.9.1"),
            "count_cards": lambda: len(gpus),
            "describe_processor": lambda: Processor("Test", [], 8, 8, None),
            "required_packages": lambda: {"": {"numpy": "1.26.4"}},
        }.items():
            monkeypatch.setattr(doctor_examination, name, answer)

    return pretend


def problems():
    return [(problem.text, problem.stops_training) for problem in examine().problems]


def test_gpus_that_compute_are_named_at_the_end(machine, capsys):
    machine(gpus=[(8, 0), (8, 6)])
    assert doctor.main([]) is None
    out = capsys.readouterr().out
    assert "GPU 1          NVIDIA Test, compute capability 8.6: computes" in out
    assert out.endswith("Training works on this machine: --gpus 0,1, or none for the CPU.\n")
    assert "note: " not in out
    assert "needed: " not in out


def test_a_gpu_that_ought_to_compute_and_does_not_fails_the_machine(machine, capsys):
    machine(gpus=[(7, 0)], compute=NoAnswer("MXNetError: no kernel image"))
    assert doctor.main(["--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["gpus"] == [
        {"name": "NVIDIA Test", "capability": [7, 0], "runs_mxnet": True, "computes": False}
    ]
    (problem,) = found["problems"]
    assert problem["text"].startswith(
        "GPU 0 (NVIDIA Test) does not compute (MXNetError: no kernel image): omit it from --gpus"
    )


def test_a_driver_older_than_cuda_11_is_told(machine):
    machine(gpus=[(7, 0)], driver=(10, 2))
    ((text, stops),) = problems()
    assert text.startswith("the NVIDIA driver runs CUDA up to 10.2, but MXNet needs 11.0: install driver")
    assert stops


def test_gpus_beside_a_cpu_build_are_told(machine):
    cpu = {**MXNET, "features": {**FEATURES, "CUDA": False}}
    machine(gpus=[(7, 0)], mxnet=cpu, wheels=["mxnet"])
    assert problems() == [
        (
            "MXNet was built without CUDA, so the GPUs are idle: "
            "pip uninstall -y mxnet && pip install 'gluon-resnet[cu112]'",
            False,
        )
    ]


@pytest.mark.parametrize(("gpus", "extra"), [([], "cpu"), ([(9, 0)], "cpu"), ([(8, 6)], "cu112")])
def test_without_mxnet_the_extra_for_this_machine_is_named(machine, gpus, extra):
    missing = EnvironmentProblem("this needs MXNet, which is not installed: pip install 'gluon-resnet[cpu]'")
    machine(gpus=gpus, mxnet=missing, wheels=[])
    assert (f"MXNet is not installed: pip install 'gluon-resnet[{extra}]'", True) in problems()


def test_two_wheels_of_mxnet_are_told(machine):
    machine(wheels=["mxnet", "mxnet-cu112"])
    assert problems() == [
        (
            "mxnet and mxnet-cu112 write to the same folder, and either breaks the other: pip uninstall -y "
            "mxnet mxnet-cu112 && pip install 'gluon-resnet[cpu]'",
            False,
        )
    ]


def test_a_training_program_that_cannot_be_imported_is_told(machine):
    machine(import_training=NoAnswer("ModuleNotFoundError: No module named 'scipy'"))
    assert problems() == [
        (
            "the training program does not work (ModuleNotFoundError: No module named 'scipy'): "
            "pip install 'gluon-resnet[cu112]'",
            True,
        )
    ]


def test_a_core_that_crashes_is_told(machine):
    machine(describe_core=NoAnswer("it ended by SIGILL: without a word"))
    assert problems() == [
        ("the native core does not work (it ended by SIGILL: without a word): make setup", True)
    ]


def test_missing_packages_are_told(machine, monkeypatch):
    machine()
    wanted = {
        "": {"numpy": None, "tqdm": None},
        "beside-mxnet": {"numpy": None, "scipy": None},
        "plot": {"matplotlib": None},
    }
    monkeypatch.setattr(doctor_examination, "required_packages", lambda: wanted)
    assert problems() == [
        ("numpy, tqdm are missing: pip install 'gluon-resnet[cu112]'", True),
        ("scipy is missing: pip install 'gluon-resnet[cu112]'", False),
    ]
    assert "\n  not here     matplotlib: pip install 'gluon-resnet[plot]'\n" in "\n".join(
        doctor._report(examine())
    )


@pytest.mark.parametrize(("usable", "quota", "limit"), [(8, 1.5, 2), (4, None, 4), (8, 8.0, None)])
def test_more_threads_than_processors_are_told(machine, monkeypatch, usable, quota, limit):
    machine()
    monkeypatch.setattr(
        doctor_examination, "describe_processor", lambda: Processor("Test", [], 64, usable, quota)
    )
    expected = (
        f"MXNet uses 8 threads, but this process may use only {limit} of the processors, which makes it slow: "
        f"export OMP_NUM_THREADS={limit}"
    )
    assert problems() == ([(expected, False)] if limit else [])


def test_a_horovod_without_mxnet_is_told(machine, monkeypatch, tmp_path):
    machine()
    (tmp_path / "horovod" / "mxnet").mkdir(parents=True)
    (tmp_path / "horovod" / "__init__.py").touch()
    monkeypatch.setattr(doctor_examination, "version", lambda name: "0.28.1")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "horovod", raising=False)
    ((text, stops),) = problems()
    assert text.startswith(
        "Horovod was built without MXNet: pip uninstall -y horovod && HOROVOD_WITH_MXNET=1 "
    )
    assert not stops
    (tmp_path / "horovod" / "mxnet" / "mpi_lib.cpython-311-x86_64-linux-gnu.so").touch()
    assert problems() == []


def test_what_cannot_be_looked_at_hides_nothing_else(machine, monkeypatch):
    machine()

    def fail(*arguments):
        raise RuntimeError("no such thing")

    for name in (
        "describe_processor",
        "required_packages",
        "mxnet_wheels",
        "count_cards",
        "version",
        "_free_bytes",
    ):
        monkeypatch.setattr(doctor_examination, name, fail)
    seen = examine()
    assert seen.training_works
    assert {problem.text.split(" cannot be examined: ")[1] for problem in seen.problems} == {
        "RuntimeError: no such thing"
    }
    assert len(seen.problems) == 6
    assert "\n".join(doctor._report(seen)).endswith("Training works on this machine, on the CPU.")
