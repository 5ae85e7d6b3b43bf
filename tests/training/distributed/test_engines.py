"""Engines are checked by name, before any work; and what one process does without a cluster."""

from __future__ import annotations

import builtins
import os
import pickle
import subprocess
import sys

import pytest

from gluon_resnet._mxnet import mx
from gluon_resnet.errors import EnvironmentProblem, UsageError
from gluon_resnet.training.devices import KVSTORES, open_engine
from gluon_resnet.training.distributed.horovod_engine import own_share


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch):
    for name in list(os.environ):
        if name.startswith(("DMLC_", "HOROVOD_")):
            monkeypatch.delenv(name)


@pytest.mark.parametrize("name", ["local", "device"])
def test_one_machine_has_one_worker(name):
    engine = open_engine(name, [mx.cpu()])
    assert (engine.kvstore, engine.rank, engine.count) == (name, 0, 1)
    assert open_engine("nccl", [mx.gpu(0)]).kvstore == "nccl"


@pytest.mark.parametrize("name", ["byteps", "dist", "dist_sync_device", "p3", "Local", ""])
def test_a_name_that_mxnet_would_take_and_train_alone_is_refused(name):
    with pytest.raises(UsageError, match=f"no KVStore {name!r}: choose one of {', '.join(KVSTORES)}"):
        open_engine(name, [mx.cpu()])


def test_an_engine_that_cannot_work_here_says_why(monkeypatch):
    with pytest.raises(UsageError, match="nccl combines GPUs"):
        open_engine("nccl", [mx.cpu()])
    for name in ("dist_sync", "dist_device_sync", "dist_async"):
        with pytest.raises(UsageError, match=f"{name} needs a cluster, but DMLC_ROLE is not set"):
            open_engine(name, [mx.cpu()])
    with pytest.raises(UsageError, match="start them with horovodrun -np N --gloo"):
        open_engine("horovod", [mx.cpu()])


def test_a_machine_without_horovod_is_told_what_to_type(monkeypatch):
    importing = builtins.__import__

    def without(name, *rest):
        if name.startswith("horovod"):
            raise ImportError("No module named 'horovod'")
        return importing(name, *rest)

    monkeypatch.setenv("HOROVOD_RANK", "0")
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(
        EnvironmentProblem, match=r"not installed .*: type scripts/install_horovod\.sh PYTHON"
    ):
        open_engine("horovod", [mx.cpu()])


def test_processes_of_a_machine_deal_out_its_gpus(monkeypatch):
    assert own_share([0, 1, 2, 3]) == [0, 1, 2, 3]
    shares = []
    for rank in range(2):
        monkeypatch.setenv("HOROVOD_LOCAL_RANK", str(rank))
        monkeypatch.setenv("HOROVOD_LOCAL_SIZE", "2")
        shares.append(own_share([3, 1, 2, 0]))
    assert shares == [[3, 1], [2, 0]]
    with pytest.raises(UsageError, match="3 GPUs cannot be divided among 2 processes"):
        own_share([0, 1, 2])


@pytest.mark.parametrize("role", [None, "worker", "node"])
def test_a_server_needs_its_role(role):
    environment = {name: value for name, value in os.environ.items() if name != "DMLC_ROLE"}
    program = "from gluon_resnet.training.distributed.parameter_server import serve; serve()"
    result = subprocess.run(
        [sys.executable, "-c", program],
        env={**environment, **({"DMLC_ROLE": role} if role else {})},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode == 1
    assert (
        f"DMLC_ROLE: expected 'scheduler' or 'server', as a launcher sets it, found {role!r}" in result.stderr
    )


@pytest.mark.parametrize(
    "body", ["pickle", b"", b"{}", b'{"command": "adam"}', b'{"command": "sgd"}', b"[1", b'"sgd"']
)
def test_a_server_ends_at_a_command_it_does_not_know_and_unpickles_nothing(tmp_path, body):
    """MXNet's own server would run what the pickle says."""
    if body == "pickle":
        body = f"cos\nsystem\n(S'touch {tmp_path}/ran'\ntR.".encode()
        pickle.loads(body)
        (tmp_path / "ran").unlink()  # it does run
    program = (
        "import sys; from gluon_resnet.training.distributed.parameter_server import _Server;"
        f"_Server(None, 2).obey(0, {body!r}); print('went on')"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=600)
    assert result.returncode == 1
    assert result.stdout == ""
    assert "parameter server: error: a command was received that is not one of dist_async's" in result.stderr
    assert not (tmp_path / "ran").exists()
