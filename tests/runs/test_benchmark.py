"""train.py --benchmark: figures that belong together, and no trace of the run."""

from __future__ import annotations

import re

import numpy as np
import pytest

from gluon_resnet.cli import train
from gluon_resnet.errors import UsageError
from gluon_resnet.training.synthetic import SyntheticBatch

NETWORK = "--benchmark --recipe cifar10 --network resnet8"
SMALL = [*NETWORK.split(), "--image-shape", "3,16,16", "--batch-size", "12"]


@pytest.mark.parametrize("devices", [1, 2])
def test_a_benchmark_prints_its_rate_and_writes_nothing(tmp_path, monkeypatch, capsys, devices):
    monkeypatch.chdir(tmp_path)
    assert (
        train.main([*SMALL, "--num-iterations", "6", "--cpus", str(devices), "--disp-batches", "3"]) is None
    )
    printed = capsys.readouterr()
    head, result = printed.out.splitlines()
    assert f"resnet8, float32, batches of 12 images of 16x16 on {devices} device" in head
    pattern = r"6 steps after 5 warm-up steps: (\S+) images/s, (\S+) ms per step \(median; (\S+) to (\S+)\)"
    rate, median, low, high = map(float, re.fullmatch(pattern, result).groups())
    assert low <= median <= high
    assert 12 / high * 1e3 * 0.99 <= rate <= 12 / low * 1e3 * 1.01
    assert "step  3/6" in printed.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "option", ["--data-train a.rec", "--data-val a.rec", "--num-epochs 2", "--load-epoch 3", "--resume"]
)
def test_what_a_benchmark_would_not_do_is_refused(option):
    with pytest.raises(UsageError, match=f"omit {option.split()[0]}"):
        train.main([*SMALL, *option.split()])


def test_training_needs_records_or_a_benchmark():
    with pytest.raises(UsageError, match="give --data-train, the records to train on, or --benchmark"):
        train.main(["--network", "resnet20"])


def test_a_synthetic_batch_is_what_a_trainer_takes():
    batch = SyntheticBatch(5, 8, 3, seed=1)
    images = np.from_dlpack(batch)
    assert (len(batch), batch.pad, images.shape, images.dtype) == (5, 0, (5, 3, 8, 8), np.float32)
    assert 0 <= images.min() < 10 < 245 < images.max() <= 255
    assert set(batch.label) <= {0.0, 1.0, 2.0}
    assert not np.array_equal(images, np.from_dlpack(SyntheticBatch(5, 8, 3, seed=2)))
