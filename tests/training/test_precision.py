"""Mixed precision: who may use it, what stays float32, and a loss scale that finds its value and is kept."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gluon_resnet._mxnet import mx
from gluon_resnet.errors import EnvironmentProblem, UsageError
from gluon_resnet.training import precision
from gluon_resnet.training.anomaly import Anomaly
from gluon_resnet.training.checkpoints.checkpoint import Checkpoints
from gluon_resnet.training.fit import fit
from gluon_resnet.training.position import Position
from gluon_resnet.training.precision import use_precision
from gluon_resnet.training.schedule import Schedule
from gluon_resnet.training.trainer import Trainer
from tests.support.fakes import FakeLoader, tiny_net
from tests.support.paths import ROOT

# Imported here, behind the module that makes MXNet importable.
LossScaler = importlib.import_module("mxnet.contrib.amp.loss_scaler").LossScaler
CPU, GPU = [mx.cpu()], [SimpleNamespace(device_type="gpu")]


def scaler(scale: float) -> Any:
    result = LossScaler()
    result._loss_scale = result._next_loss_scale = scale
    return result


def half_net(contexts=None) -> object:
    """Between its layers numbers go through float16, gradients, too: those above 65504 are infinite."""
    nn = mx.gluon.nn
    net = nn.HybridSequential()
    net.add(nn.HybridLambda(lambda F, x: F.cast(F.cast(x, "float16"), "float32")))
    whole = nn.HybridSequential()
    layers = tiny_net(contexts)
    whole.add(layers[0], net, *layers[1:])
    return whole


def run(prefix, scale=None, net=tiny_net, stop=lambda: False, contexts=1):
    """The trainer of a run and the records of its epochs."""
    devices = [mx.cpu(i) for i in range(contexts)]
    trainer = Trainer(net(devices), devices, 4, scaler=scale and scaler(scale))
    checkpoints, epochs = Checkpoints(str(prefix), {}), []
    position = checkpoints.resume(trainer) or Position()
    fit(
        trainer,
        FakeLoader(),
        None,
        15,
        Schedule(0.1),
        position=position,
        checkpoints=checkpoints,
        on_epoch=epochs.append,
        stop=stop,
    )
    return trainer, epochs


@pytest.mark.parametrize(
    ("dtype", "contexts", "error", "message"),
    [
        ("float16", CPU, UsageError, "float16 needs a GPU"),
        ("bfloat16", GPU, UsageError, "bfloat16 on CPUs only: choose float16"),
        (
            "float64",
            CPU,
            UsageError,
            "there is no precision 'float64': choose one of float32, float16, bfloat16",
        ),
    ],
)
def test_a_precision_that_the_device_does_not_have_is_refused(dtype, contexts, error, message):
    with pytest.raises(error, match=message):
        use_precision(dtype, contexts)


@pytest.mark.parametrize(
    ("instructions", "has"),
    [(["avx2", "avx512f"], False), (["avx2", "avx512_bf16"], True), (["amx_bf16"], True)],
)
def test_bfloat16_needs_a_processor_that_has_it(monkeypatch, instructions, has):
    monkeypatch.setattr(precision, "describe_processor", lambda: SimpleNamespace(instructions=instructions))
    assert precision.has_bfloat16() is has
    if not has:
        with pytest.raises(EnvironmentProblem, match="no bfloat16 instructions .*omit --dtype"):
            use_precision("bfloat16", CPU)


@pytest.mark.parametrize("contexts", [1, 2])
def test_a_scaled_loss_makes_the_same_updates(tmp_path, contexts):
    """To the bit, because scales are powers of two; norms and records are those of the loss itself."""
    plain, records = run(tmp_path / "plain", contexts=contexts)
    scaled, scaled_records = run(tmp_path / "scaled", 2.0**16, contexts=contexts)
    state = scaled.state()
    for name, array in plain.state().items():
        np.testing.assert_array_equal(state[name], array, err_msg=name)
    assert [r.gradient_norm for r in scaled_records] == pytest.approx([r.gradient_norm for r in records])
    assert [(r.loss_scale, r.skipped_steps) for r in scaled_records] == [(2.0**16, 0)] * 3
    assert scaled_records[-1].line(3, 4).endswith("images/s  loss scale 65536, 0 updates skipped")


TOO_LARGE = 2.0**24


def test_updates_out_of_range_are_skipped_until_the_scale_fits(tmp_path):
    """Each halves it. The weights are then those of a run without the first batches."""
    trainer, records = run(tmp_path / "a", TOO_LARGE, half_net)
    skipped = records[0].skipped_steps
    assert 0 < skipped < 5
    assert [(r.loss_scale, r.skipped_steps) for r in records] == [
        (TOO_LARGE / 2**skipped, n) for n in (skipped, 0, 0)
    ]
    other, loader = Trainer(half_net(), CPU, 4, scaler=scaler(TOO_LARGE / 2**skipped)), FakeLoader()
    meter = other.new_meter()
    for epoch in range(3):
        loader.set_epoch(epoch)
        for number, batch in enumerate(loader):
            if epoch or number >= skipped:
                other.step(batch, 0.1, meter, "")
    state = trainer.state()
    for name, array in other.state().items():
        if name != "loss_scale":  # it knows how many steps ago it fell
            np.testing.assert_array_equal(state[name], array, err_msg=name)


def test_the_loss_scale_goes_on_with_a_resumed_run(tmp_path):
    """Stopped while it fell."""
    whole, _ = run(tmp_path / "whole", TOO_LARGE, half_net)
    asked = iter(range(100))
    run(tmp_path / "a", TOO_LARGE, half_net, stop=lambda: next(asked) >= 1)
    trainer, _ = run(tmp_path / "a", 2.0**10, half_net)  # another one, but for the state
    state = trainer.state()
    for name, array in whole.state().items():
        np.testing.assert_array_equal(state[name], array, err_msg=name)
    assert 2.0**10 < state["loss_scale"][0] < TOO_LARGE


def test_a_scale_that_falls_for_ever_is_an_anomaly(tmp_path, monkeypatch):
    """Gradients that no scale brings into range."""
    monkeypatch.setattr(LossScaler, "has_overflow", lambda self, _: setattr(self, "_loss_scale", 0.5) or True)

    class Endless(FakeLoader):
        def __iter__(self):
            for batch in super().__iter__():
                batch.data *= np.float32(1e38)
                yield batch

    trainer = Trainer(tiny_net(), CPU, 4, scaler=scaler(2.0))
    with pytest.raises(Anomaly, match="numbers ran out of range in iteration"):
        fit(trainer, Endless(), None, 10, Schedule(0.1))


@pytest.mark.skipif(not precision.has_bfloat16(), reason="this processor has no bfloat16 instructions")
@pytest.mark.slow
def test_mixed_precision_trains():
    """By bfloat16, which CPUs compute; in a process of its own, because the choice is for good."""
    program = """
from tests.support.fakes import FakeLoader, tiny_net
from gluon_resnet._mxnet import mx
from gluon_resnet.training.trainer import Trainer
batches = list(FakeLoader(batches=1, rows=16))
trainer = Trainer(tiny_net(norm=True), [mx.cpu()], 4, dtype="bfloat16")
before = trainer.evaluate(batches).mean_loss
for _ in range(30):
    meter = trainer.new_meter()
    trainer.step(batches[0], 0.1, meter, "")
    meter.sums()
state = trainer.state()
assert {array.dtype.name for array in state.values()} == {"float32"}, state
assert meter.sums().mean_loss < 0.8 * before, (meter.sums(), before)
names = trainer.net._cached_graph[1].get_internals().list_outputs()
assert [name.partition("_")[0][:-1] for name in names if "amp_cast" in name] == ["conv"] * 3 + ["dense"] * 3, names
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment, timeout=600)
