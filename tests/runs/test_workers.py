"""tools/train.py as two workers: the default rates, stops, and failures, after which no worker waits for ever."""

from __future__ import annotations

import json
import pathlib
import re
import signal
import subprocess
import time

import pytest

from tests.support.cluster import cluster
from tests.support.paths import ROOT
from tests.support.small_training import break_image, pack, training_options

TOOL = str(ROOT / "tools" / "train.py")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> list[str]:
    """A command for small batches, whose rate follows errors."""
    options = training_options(tmp_path_factory.mktemp("records"))
    rates = "--lr-mode plateau --lr-patience 0 --warmup-lr 0.01 --warmup-error 70"
    return [TOOL, *options, *f"--batch-size 4 --kv-store dist_sync {rates}".split()]


def results(processes: list[subprocess.Popen]) -> tuple[list[int], list[str]]:
    """The exit statuses, and what was written to standard error, of processes that end by themselves."""
    texts = [process.communicate(timeout=600)[1] for process in processes]
    assert not any("Traceback" in text for text in texts), texts
    return [process.returncode for process in processes], texts


def wait_for_an_epoch(folder: pathlib.Path, processes: list[subprocess.Popen]) -> None:
    end = time.monotonic() + 40
    log = folder / "a-log.jsonl"
    while not (log.exists() and log.stat().st_size):
        assert time.monotonic() < end
        assert all(process.poll() is None for process in processes)
        time.sleep(0.02)


def test_one_signal_stops_both_and_they_go_on_to_the_same_bits(data, tmp_path):
    def run(prefix, *more):
        return [[*data, "--num-epochs", "4", "--model-prefix", prefix, *more]] * 2

    with cluster(run("whole"), tmp_path) as processes:
        assert results(processes)[0] == [0, 0, 0, 0]
    with cluster(run("a"), tmp_path) as processes:
        wait_for_an_epoch(tmp_path, processes)
        processes[0].send_signal(signal.SIGTERM)
        assert results(processes)[0] == [143, 143, 0, 0]
    assert not (tmp_path / "a-0004.params").exists()
    with cluster(run("a", "--resume"), tmp_path) as processes:
        assert results(processes)[0] == [0, 0, 0, 0]
    assert (tmp_path / "a-0004.params").read_bytes() == (tmp_path / "whole-0004.params").read_bytes()


def test_dist_async_learns_stops_and_goes_on_without_momentum(data, tmp_path):
    def run(epochs, *more):
        return [[*data, *f"--kv-store dist_async --num-epochs {epochs} --model-prefix a".split(), *more]] * 2

    with cluster(run(1000), tmp_path) as processes:
        wait_for_an_epoch(tmp_path, processes)
        processes[1].send_signal(signal.SIGTERM)
        assert results(processes)[0] == [143, 143, 0, 0]
    done = len((tmp_path / "a-log.jsonl").read_text().splitlines())
    with cluster(run(done + 6, "--resume"), tmp_path) as processes:
        statuses, texts = results(processes)
    assert statuses == [0, 0, 0, 0]
    assert all("the momentum on its servers" in text for text in texts[:2])
    *_, last = map(json.loads, (tmp_path / "a-log.jsonl").read_text().splitlines())
    assert last["epoch"] == done + 6
    assert last["val_top1_error"] < 50  # chance: 75 %


@pytest.mark.parametrize("kvstore", ["dist_sync", "dist_async"])
@pytest.mark.parametrize("which", [0, 1])
def test_a_worker_that_is_killed_ends_the_other(data, tmp_path, which, kvstore):
    command = [*data, "--num-epochs", "1000", "--model-prefix", "a", "--kv-store", kvstore]
    with cluster([command, command], tmp_path) as processes:
        wait_for_an_epoch(tmp_path, processes)
        processes[which].kill()
        (status,), (text,) = results([processes[1 - which]])
    assert status == 1
    assert text.splitlines()[-1].startswith("train.py: error: worker ")
    assert text.rstrip().endswith("has ended, and the others cannot continue: start them all with --resume")


def test_a_worker_that_fails_says_why_and_ends_the_other(data, tmp_path):
    train = break_image(pack(tmp_path / "bad.rec", 64, 0), 17)
    command = [*data, "--data-train", train, "--num-epochs", "1000", "--model-prefix", "a"]
    command += ["--rgb-mean", "90,90,90"]  # measuring one would find it, in both workers
    with cluster([command, command], tmp_path) as processes:
        statuses, texts = results(processes[:2])
    assert statuses == [1, 1]
    failed, other = sorted((text.splitlines()[-1] for text in texts), key=lambda line: "has ended" in line)
    assert failed.startswith(f"train.py: error: {train}: record with key 17 at offset ")
    assert other.endswith("has ended, and the others cannot continue: start them all with --resume")


@pytest.mark.parametrize("number", range(3))
def test_workers_that_fail_at_the_same_step_wait_for_nobody(data, tmp_path, number):
    """One may end while the other's gradients, which it will never push, are queued to be pulled."""
    command = [*data, "--warmup-lr", "1e12", "--num-epochs", "1", "--model-prefix", "a"]
    with cluster([command, command], tmp_path) as processes:
        statuses, texts = results(processes[:2])
    assert statuses == [1, 1]
    assert any("numbers ran out of range" in text for text in texts)


def test_workers_that_find_different_files_do_not_begin(data, tmp_path):
    command = [*data, "--num-epochs", "1", "--model-prefix", "a"]
    with cluster([command], tmp_path) as processes:  # a cluster of one
        assert results(processes)[0] == [0, 0, 0]
    commands = [[*data, "--num-epochs", "2", "--load-epoch", "1", "--model-prefix", p] for p in ("a", "b")]
    weights = bytearray((tmp_path / "a-0001.params").read_bytes())
    weights[len(weights) // 2] ^= 1
    (tmp_path / "b-0001.params").write_bytes(weights)
    with cluster(commands, tmp_path) as processes:
        statuses, texts = results(processes[:2])
    assert statuses == [2, 2]
    assert all("error: the workers would begin with different states, worker " in text for text in texts)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--num-layers", "14"], 'network: "resnet'),  # whose arrays the servers do not have
        (["other records"], "training data's fingerprint: "),
        (["other classes"], 'class 0: "'),
    ],
)
def test_a_worker_with_other_options_or_records_ends_all_before_the_first_step(data, tmp_path, more, told):
    if more[0].startswith("other"):
        records = pack(tmp_path / "other.rec", 132, 9 if more == ["other records"] else 0)
        if more == ["other classes"]:
            (tmp_path / "other.classes").write_text("a\nb\nc\nd\n")
        more = ["--data-train", records, "--data-val", records]
    command = [*data, "--num-epochs", "1", "--model-prefix", "a"]
    with cluster([command, [*command, *more]], tmp_path) as processes:
        statuses, texts = results(processes[:2])
    assert statuses == [2, 2]
    for text in texts:
        assert re.search(rf"error: worker 1 does not train like worker 0 \(.*{told}", text), text
    assert not list(tmp_path.glob("a-*"))
