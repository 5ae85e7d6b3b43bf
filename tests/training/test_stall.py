"""What is told of a loop that hangs: what it waits for, and that it goes on."""

from __future__ import annotations

import re
import sys
import threading
import time
from types import SimpleNamespace

import pytest

from gluon_resnet._mxnet import mx
from gluon_resnet.data import Loader
from gluon_resnet.data.loader_stats import LoaderStats
from gluon_resnet.training.activity import activity, doing
from gluon_resnet.training.distributed.engine import Engine
from gluon_resnet.training.distributed.workers import Workers
from gluon_resnet.training.fit import fit
from gluon_resnet.training.schedule import Schedule
from gluon_resnet.training.stall import StallWatch, describe_loader
from gluon_resnet.training.trainer import Trainer
from tests.support.fakes import FakeLoader, tiny_net


def wait_for(text: str, capfd, told: str = "") -> str:
    """All of standard error, as soon as it has `text`."""
    end = time.monotonic() + 60
    while text not in told:
        assert time.monotonic() < end, told
        time.sleep(0.01)
        told += capfd.readouterr().err
    return told


def test_the_innermost_activity_of_each_thread_counts():
    here = threading.get_ident()
    assert activity(here) is None
    with doing("outer") as outer:
        began = outer.since
        with doing("inner"):
            assert activity(here).what == "inner"
            other = threading.Thread(target=lambda: doing("elsewhere").__enter__())
            other.start()
            other.join()
            assert activity(here).what == "inner"
        assert activity(here) is outer
        assert outer.since > began  # the end of a part is a sign of life
    assert activity(here) is None


def test_an_exception_leaves_its_activity():
    with pytest.raises(ValueError):
        with doing("something"):
            raise ValueError
    assert activity(threading.get_ident()) is None


def test_a_stall_is_told_with_its_details_and_all_stacks_and_again_and_its_end(capfd):
    with StallWatch(0.05, "worker 3: ", again=0.2):
        with doing("waiting for Godot", lambda: "a tree\na road"):
            told = wait_for("nothing has happened for", capfd)
            told = wait_for("Current thread", capfd, told)
            again = wait_for("nothing has happened for", capfd)
        wait_for("worker 3: work has resumed after", capfd)
    assert re.search(
        r"stall watch: worker 3: nothing has happened for \d+ s \(since ..:..:..\): waiting for Godot\n", told
    )
    assert "\n  a tree\n  a road\n" in told
    assert "waiting for Godot" in again
    assert "test_a_stall_is_told" in told + again  # a stack of this thread


def test_details_that_fail_do_not_end_the_watch(capfd):
    def details():
        raise RuntimeError("too late")

    with StallWatch(0.05, again=0.1), doing("something", details):
        told = wait_for("no details: RuntimeError('too late')", capfd)
        wait_for("something", capfd)
    assert "something" in told


def test_a_loop_that_moves_is_not_told_of(capfd):
    with StallWatch(5.0):
        for _ in range(10):
            with doing("a step"):
                time.sleep(0.01)
    assert capfd.readouterr().err == ""


def test_zero_watches_nothing(capfd):
    before = threading.active_count()
    with StallWatch(0), doing("something"):
        assert threading.active_count() == before
    assert capfd.readouterr().err == ""


def test_a_loader_that_sleeps_is_named_with_its_figures(capfd):
    told = []

    class Sleeping(FakeLoader):
        files = (SimpleNamespace(path="/slow/disk/train.rec"),)

        def stats(self):
            return LoaderStats(images=12, batches=2, threads=7, reading=30.0)

        def __iter__(self):
            for number, batch in enumerate(super().__iter__()):
                if number == 2:
                    told.append(wait_for("/slow/disk/train.rec", capfd))
                yield batch

    trainer = Trainer(tiny_net(), [mx.cpu()], 4)
    with StallWatch(0.5):
        assert fit(trainer, Sleeping(), None, 5, Schedule(0.1))
    assert "waiting for a batch of the loader\n" in told[0]
    assert "handed out 12 images of this epoch, and its 7 threads have spent 30.0 s reading" in told[0]


def test_a_validation_that_sleeps_is_named(capfd):
    told = []

    class Sleeping(FakeLoader):
        def __iter__(self):
            told.append(wait_for("validation's loader", capfd))
            return super().__iter__()

    with StallWatch(0.5):
        fit(Trainer(tiny_net(), [mx.cpu()], 4), FakeLoader(), Sleeping(), 5, Schedule(0.1))
    assert told


def test_a_device_that_hangs_is_named_with_the_step(capfd, monkeypatch):
    """Its place is taken by a metric that does not come."""
    trainer, stuck = Trainer(tiny_net(), [mx.cpu()], 4), []
    array = type(mx.nd.zeros(1))
    original = array.asnumpy

    def hang(self):
        current = activity(threading.get_ident())
        if current and current.what.startswith("waiting for the device") and not stuck:
            stuck.append(wait_for("waiting for the device", capfd))
        return original(self)

    monkeypatch.setattr(array, "asnumpy", hang)
    with StallWatch(0.5):
        fit(trainer, FakeLoader(), None, 3, Schedule(0.25))
    assert (
        "waiting for the device to compute a step\n  iteration 1, batch 1 of epoch 1/1 (learning rate 0.25)"
        in stuck[0]
    )
    assert "in _read" in wait_for("in _read", capfd, stuck[0])


def test_workers_that_do_not_come_are_told_of(capfd):
    told = []

    class Late(Engine):
        """Whose workers are late."""

        def sum(self, values):
            told.append(wait_for("this is worker 1 of 3", capfd))
            return list(values)

    workers = Workers(Late(rank=1, count=3))
    with StallWatch(0.2, "worker 1: "):
        assert workers.any(True)
    assert "worker 1: nothing has happened for 0 s" in told[0]
    assert "waiting for the other workers to reach the same point" in told[0]


def test_what_is_said_of_a_real_loader(record_path):
    from tests.support.batches import TRAIN

    loader = Loader(record_path, 4, TRAIN, threads=2)
    epoch = iter(loader)
    next(epoch)
    lines = describe_loader(loader).splitlines()
    assert lines[0].startswith("the loader has handed out 4 images of this epoch, and its 2 threads have")
    assert lines[1:] == [f"it reads {record_path}"]
    assert describe_loader([]) == ""


def test_standard_error_that_is_no_file(monkeypatch):
    """A notebook's, for example."""
    import io

    text = io.StringIO()
    monkeypatch.setattr(sys, "stderr", text)
    with StallWatch(0.05), doing("waiting"):
        end = time.monotonic() + 60
        while "the stacks of Python's threads" not in text.getvalue():
            assert time.monotonic() < end
            time.sleep(0.01)
    assert not [thread for thread in threading.enumerate() if thread.name == "stall watch"]
