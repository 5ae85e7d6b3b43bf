"""What is asked of the machine: processes that crash or hang, control groups, packages, drivers."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import time
from importlib import metadata

import pytest

from gluon_resnet.environment import driver, packages
from gluon_resnet.environment.apart import NoAnswer, ask_apart
from gluon_resnet.environment.driver import Gpu, count_cards
from gluon_resnet.environment.processor import describe_processor, processor_quota
from gluon_resnet.errors import EnvironmentProblem, UsageError
from tests.support.paths import ROOT
from tests.support.stub_libraries import TWO_GPUS, build_library


def refuse():
    raise UsageError("not like this")


def shout():
    os.write(1, b"{}\n")
    print("{}", flush=True)
    return {"heard": True}


def mumble(status):
    print("first words\nlast words", file=sys.stderr, flush=True)
    os._exit(status)


def test_an_answer_comes_back_whatever_else_is_printed():
    assert ask_apart(shout) == {"heard": True}


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (os.abort, (), "it ended by SIGABRT: without a word"),
        (mumble, (3,), "it ended with status 3: last words"),
        (int, ("four",), "ValueError: invalid literal for int() with base 10: 'four'"),
        (sys.exit, (), "SystemExit: SystemExit"),
    ],
)
def test_a_process_that_ends_badly_is_told_in_one_line(function, arguments, message):
    with pytest.raises(NoAnswer) as caught:
        ask_apart(function, *arguments)
    assert str(caught.value) == message


def test_an_error_that_explains_itself_is_passed_on():
    with pytest.raises(EnvironmentProblem, match="^not like this$") as caught:
        ask_apart(refuse)
    assert not isinstance(caught.value, NoAnswer)


def test_a_process_that_hangs_is_ended():
    with pytest.raises(NoAnswer, match="no answer within 1 s"):
        ask_apart(time.sleep, 600, seconds=1)  # and not after 600, which pytest's limit would end


@pytest.mark.parametrize(
    ("listing", "files", "quota"),
    [
        ("0::/a/b\n", {"a/b/cpu.max": "150000 100000\n"}, 1.5),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "400000 100000\n"}, 4.0),
        ("0::/a/b\n", {"a/b/cpu.max": "300000 100000\n", "a/cpu.max": "200000 100000\n"}, 2.0),
        (
            "0::/a\n",
            {"cpu.max": "100000 100000\n"},
            1.0,
        ),  # of a container, which sees its own group as the root
        ("4:cpu,cpuacct:/a\n", {"cpu/a/cpu.cfs_quota_us": "50000", "cpu/a/cpu.cfs_period_us": "100000"}, 0.5),
        ("4:cpu:/a\n", {"cpu/a/cpu.cfs_quota_us": "-1", "cpu/a/cpu.cfs_period_us": "100000"}, None),
        ("4:cpuset:/a\n0::/\n", {"cpu/a/cpu.cfs_quota_us": "1", "cpu/a/cpu.cfs_period_us": "1"}, None),
        ("0::/a\n", {"a/cpu.max": "garbage\n"}, None),
        ("garbage\n", {}, None),
    ],
)
def test_the_processor_time_of_control_groups(tmp_path, listing, files, quota):
    (tmp_path / "cgroup").write_text(listing)
    for name, text in files.items():
        (tmp_path / "fs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "fs" / name).write_text(text)
    assert processor_quota(str(tmp_path / "cgroup"), str(tmp_path / "fs")) == quota


def test_a_machine_without_control_groups_has_no_limit(tmp_path):
    assert processor_quota(str(tmp_path / "none"), str(tmp_path)) is None


def test_this_machines_processor():
    found = describe_processor()
    assert found.usable == len(os.sched_getaffinity(0)) <= found.present
    flags = pathlib.Path("/proc/cpuinfo").read_text().split()
    assert set(found.instructions) <= set(flags)
    assert ("avx2" in found.instructions) == ("avx2" in flags)


def test_requirements_are_found_by_extra(monkeypatch):
    wanted = [
        "numpy>=1.23",
        'no-such-package==1; extra == "plot"',
        "pytest>7 ; extra == 'dev'",
        'gluon-resnet[plot]; extra == "dev"',
    ]
    monkeypatch.setattr(metadata, "requires", lambda name: wanted)
    assert packages.required_packages() == {
        "": {"numpy": metadata.version("numpy")},
        "plot": {"no-such-package": None},
        "dev": {"pytest": pytest.__version__},
    }


def test_packages_of_a_checkout_that_is_not_installed(monkeypatch):
    def unknown(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", unknown)
    assert packages.required_packages() == {}


def test_both_wheels_of_mxnet_are_seen(tmp_path, monkeypatch):
    for name in ("mxnet", "mxnet_cu112", "mxnet_tools"):
        (tmp_path / f"{name}-1.9.1.dist-info").mkdir()
        metadata_file = tmp_path / f"{name}-1.9.1.dist-info" / "METADATA"
        metadata_file.write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.9.1\n")
    (tmp_path / "broken-1.dist-info").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert packages.mxnet_wheels() == {"mxnet": "1.9.1", "mxnet-cu112": "1.9.1"}


def test_nvidias_display_controllers_are_counted_on_the_bus(tmp_path):
    devices = [("0x10de", "0x030000"), ("0x10de", "0x030200"), ("0x10de", "0x040300"), ("0x1002", "0x030000")]
    for number, (vendor, kind) in enumerate(devices):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "vendor").write_text(f"{vendor}\n")
        (tmp_path / str(number) / "class").write_text(f"{kind}\n")
    (tmp_path / "empty").mkdir()
    assert count_cards(str(tmp_path)) == 2
    assert count_cards(str(tmp_path / "none")) == 0


def test_a_driver_is_asked_for_its_gpus_and_its_cuda(tmp_path):
    build_library(tmp_path / "libcuda.so.1", TWO_GPUS)
    code = "from gluon_resnet.environment.driver import *; print(list_gpus(), driver_cuda())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "LD_LIBRARY_PATH": str(tmp_path), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    gpus = [Gpu("NVIDIA H200", (9, 0)), Gpu("NVIDIA A10", (8, 6))]
    assert done.stdout.strip() == f"{gpus} (12, 4)", done.stderr


@pytest.mark.parametrize(
    ("capability", "runs"),
    [((3, 7), False), ((5, 0), True), ((8, 6), True), ((8, 9), True), ((9, 0), False), ((12, 0), False)],
)
def test_which_gpus_mxnet_has_kernels_for(capability, runs):
    assert driver.Gpu("NVIDIA Test", capability).runs_mxnet is runs
