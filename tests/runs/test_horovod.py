"""tools/train.py under horovodrun: one signal, a kill, a failure; the weights are those of the parameter server."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import time

import numpy as np
import pytest

from gluon_resnet.models.parameters import read_arrays
from tests.support.cluster import HAS_HOROVOD, NEEDS_HOROVOD, cluster, horovodrun
from tests.support.paths import ROOT
from tests.support.small_training import break_image, pack, training_options

if not HAS_HOROVOD:
    pytest.skip(NEEDS_HOROVOD, allow_module_level=True)
import psutil

TOOL = str(ROOT / "tools" / "train.py")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> list[str]:
    """A command for small batches, whose rate follows errors."""
    options = training_options(tmp_path_factory.mktemp("records"))
    rates = "--lr-mode plateau --lr-patience 0 --warmup-lr 0.01 --warmup-error 70"
    return [TOOL, *options, *f"--batch-size 4 --kv-store horovod {rates}".split()]


def finish(process: subprocess.Popen) -> tuple[int, str]:
    """The exit status of a horovodrun that ends by itself, and all that it and its processes wrote."""
    out, err = process.communicate(timeout=600)
    return process.returncode, out + err


def wait_for_an_epoch(folder: pathlib.Path, process: subprocess.Popen) -> dict[int, psutil.Process]:
    """The workers, by rank, when the first epoch is over."""
    end = time.monotonic() + 60
    log = folder / "a-log.jsonl"
    while not (log.exists() and log.stat().st_size):
        assert time.monotonic() < end
        assert process.poll() is None
        time.sleep(0.05)
    children = psutil.Process(process.pid).children(recursive=True)
    workers = [child for child in children if TOOL in child.cmdline()[1:2]]
    return {int(worker.environ()["HOROVOD_RANK"]): worker for worker in workers}


def test_one_signal_stops_all_and_they_go_on_to_the_same_bits(data, tmp_path):
    command = [*data, "--num-epochs", "4", "--model-prefix"]
    with horovodrun([*command, "whole"], 2, tmp_path) as process:
        status, text = finish(process)
        assert status == 0, text
    with horovodrun([*command, "a"], 2, tmp_path) as process:
        wait_for_an_epoch(tmp_path, process)
        os.kill(process.pid, signal.SIGTERM)
        status, text = finish(process)
    assert status == 1
    assert text.count("stopped; the state is in a-resume.json") == 1
    assert not (tmp_path / "a-0004.params").exists()
    with horovodrun([*command, "a", "--resume"], 2, tmp_path) as process:
        status, text = finish(process)
        assert status == 0, text
    whole = (tmp_path / "whole-0004.params").read_bytes()
    assert (tmp_path / "a-0004.params").read_bytes() == whole

    same = ["dist_sync" if word == "horovod" else word for word in command]
    with cluster([[*same, "dist"]] * 2, tmp_path) as processes:
        for each in processes:
            each.communicate(timeout=600)
    expected = read_arrays(tmp_path / "dist-0004.params")
    for name, array in read_arrays(tmp_path / "whole-0004.params").items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("which", [0, 1])
def test_a_worker_that_is_killed_ends_the_others(data, tmp_path, which):
    command = [*data, "--num-epochs", "1000", "--model-prefix", "a"]
    with horovodrun(command, 2, tmp_path) as process:
        workers = wait_for_an_epoch(tmp_path, process)
        workers[which].kill()
        status, text = finish(process)
        assert status == 1
        assert f"Process {which} exit with status code 137." in text
        assert f"Terminating remaining workers after failure of Process {which}." in text
        assert not psutil.wait_procs(list(workers.values()), timeout=600)[1]


def test_a_worker_that_fails_says_why_and_ends_the_others(data, tmp_path):
    train = break_image(pack(tmp_path / "bad.rec", 64, 0), 17)
    command = [*data, "--data-train", train, "--num-epochs", "1000", "--model-prefix", "a"]
    command += ["--rgb-mean", "90,90,90"]  # measuring one would find it, in all workers
    with horovodrun(command, 2, tmp_path) as process:
        status, text = finish(process)
    assert status == 1
    assert f"train.py: error: {train}: record with key 17 at offset " in text


def test_pytorch_can_be_imported_beside_horovod(tmp_path):
    """tensorboardX does so where it is installed; both carry Gloo, of different versions."""
    pytest.importorskip("torch")
    program = (
        "from gluon_resnet._mxnet import mx; from gluon_resnet.training.devices import open_engine;"
        "engine = open_engine('horovod', [mx.cpu()]); import torch; print('sum', engine.sum([1, 2**48 - 1]))"
    )
    with horovodrun(["-c", program], 2, tmp_path) as process:
        status, text = finish(process)
    assert status == 0, text
    assert text.count(f"sum [2, {2**49 - 2}]") == 2
