"""The loop over epochs: stopping, resuming to the same bits, and what is on disk in between."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import threading
import time
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from gluon_resnet._mxnet import mx
from gluon_resnet.errors import GluonResnetError, UsageError
from gluon_resnet.models.parameters import load_parameters, read_arrays
from gluon_resnet.runs.files.history import EpochLog, StepLog, read_steps
from gluon_resnet.training.activity import activity
from gluon_resnet.training.checkpoints.checkpoint import Checkpoints
from gluon_resnet.training.fit import count_epochs, fit
from gluon_resnet.training.mixup import Mixup
from gluon_resnet.training.position import Position
from gluon_resnet.training.progress import Progress
from gluon_resnet.training.schedule import Schedule
from gluon_resnet.training.trainer import Trainer
from tests.support.fakes import FakeLoader, random_batch, tiny_net

SCHEDULE = Schedule(0.1, steps=(7, 12), warmup=3)
VALIDATION = (random_batch(3), random_batch(2))


class PlainLoader:
    """Batches without a state: a resumed epoch is read from its beginning."""

    def __init__(self) -> None:
        self._loader = FakeLoader()

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self):
        return iter(self._loader)

    def set_epoch(self, epoch: int) -> None:
        self._loader.set_epoch(epoch)


class Stop:
    """Becomes true when it is asked for the n-th time."""

    def __init__(self, times: int) -> None:
        self.left = times

    def __call__(self) -> bool:
        self.left -= 1
        return self.left <= 0


def run(
    prefix,
    stop=lambda: False,
    loader=FakeLoader,
    contexts=1,
    iterations=15,
    schedule=SCHEDULE,
    validation=VALIDATION,
    training=None,
    recompute_statistics=0,
    **options,
) -> bool:
    """Go on with the run at `prefix`, or begin it; whether it is done."""
    devices = [mx.cpu(i) for i in range(contexts)]
    trainer = Trainer(tiny_net(devices, norm=True), devices, 4, **(training or {}))
    checkpoints = Checkpoints(str(prefix), {"devices": contexts}, **options)
    position = checkpoints.resume(trainer) or Position()
    log = EpochLog(f"{prefix}-log.jsonl", position.epoch)
    return fit(
        trainer,
        loader(),
        validation,
        iterations,
        schedule,
        position=position,
        checkpoints=checkpoints,
        on_epoch=log.append,
        recompute_statistics=recompute_statistics,
        stop=stop,
    )


def results(prefix):
    """What a run leaves behind, but for times."""
    with open(f"{prefix}-log.jsonl", encoding="utf-8") as stream:
        records = [json.loads(line) for line in stream]
    for record in records:
        del record["seconds"], record["images_per_second"], record["communication"]
    parameters = [pathlib.Path(f"{prefix}-{epoch:04d}.params").read_bytes() for epoch in (1, 2, 3)]
    with open(f"{prefix}-resume.json", encoding="utf-8") as stream:
        state = json.load(stream)["arrays"]["name"]
    return records, parameters, (pathlib.Path(prefix).parent / state).read_bytes()


@pytest.fixture(scope="module", params=[1, 2], ids=["one device", "two devices"])
def whole(request, tmp_path_factory):
    """The number of devices, and the results of a run that never stopped."""
    prefix = tmp_path_factory.mktemp("whole") / "run"
    assert run(prefix, contexts=request.param)
    return request.param, results(prefix)


@pytest.mark.parametrize("loader", [FakeLoader, PlainLoader])
@pytest.mark.parametrize("times", range(1, 30, 2))
def test_a_stopped_run_goes_on_to_the_same_bits(tmp_path, whole, times, loader):
    """Stopped between any two batches of training or validation."""
    contexts, expected = whole
    finished = run(tmp_path / "run", Stop(times), loader, contexts)
    assert finished or run(tmp_path / "run", loader=loader, contexts=contexts)
    assert results(tmp_path / "run") == expected


def test_a_run_stopped_many_times(tmp_path, whole):
    contexts, expected = whole
    stops = 0
    while not run(tmp_path / "run", Stop(4), contexts=contexts):
        stops += 1
    assert stops >= 4
    assert results(tmp_path / "run") == expected


@pytest.fixture
def short_windows(monkeypatch):
    """A warm-up may end after 6 iterations, of which an epoch has 5."""
    monkeypatch.setattr("gluon_resnet.training.schedule.WINDOW", 6)


# All that a run has to remember: a warm-up that ends in the second epoch, a plateau after each one, mixed images; and
# a last epoch of three batches.
REMEMBERING = {
    "schedule": Schedule(0.1, "plateau", 0.5, patience=0, warmup_lr=0.02, warmup_error=78.0),
    "training": {"mixup": Mixup(0.4, seed=3), "label_smoothing": 0.1},
    "iterations": 13,
}


@pytest.mark.parametrize("validation", [VALIDATION, None], ids=["validated", "not"])
@pytest.mark.parametrize("contexts", [1, 2])
def test_what_the_learning_rate_depends_on_is_resumed(tmp_path, short_windows, contexts, validation):
    options = {**REMEMBERING, "contexts": contexts, "validation": validation}
    assert run(tmp_path / "whole", **options)
    expected = results(tmp_path / "whole")
    rates = [record["lr"] for record in expected[0]]
    assert rates[:2] == pytest.approx([0.02, 0.1])
    assert rates[2] == 0.05 or validation is None  # this network has all validation images wrong
    for times in range(1, 26, 2):
        prefix = tmp_path / f"stopped{times}"
        finished = run(prefix, Stop(times), **options)
        assert finished or run(prefix, **options)
        assert results(prefix) == expected, times


def test_dropout_draws_the_same_numbers_in_a_run_that_goes_on(tmp_path):
    """Whatever the run drew before, on two devices."""

    def go_on(prefix, stop=lambda: False) -> bool:
        devices = [mx.cpu(0), mx.cpu(1)]
        trainer = Trainer(tiny_net(devices, dropout=0.5), devices, 4, seed=5)
        checkpoints = Checkpoints(str(tmp_path / prefix), {})
        position = checkpoints.resume(trainer) or Position()
        return fit(
            trainer, FakeLoader(), None, 12, SCHEDULE, position=position, checkpoints=checkpoints, stop=stop
        )

    assert go_on("whole")
    for times in (2, 4, 9):
        assert not go_on(f"stopped{times}", Stop(times))
        mx.nd.random.uniform(shape=(times,)).wait_to_read()
        assert go_on(f"stopped{times}")
    ends = {path.read_bytes() for path in tmp_path.glob("*-0003.params")}
    assert len(list(tmp_path.glob("*-0003.params"))) == 4
    assert len(ends) == 1
    without = Trainer(tiny_net(), [mx.cpu()], 4)
    assert fit(without, FakeLoader(), None, 12, SCHEDULE)
    weights = read_arrays(tmp_path / "whole-0003.params")["0.weight"]
    assert not np.array_equal(weights, without.state()["0.weight"])


@pytest.mark.parametrize("contexts", [1, 2])
@pytest.mark.parametrize("iterations", [15, 13])
def test_statistics_are_recomputed_after_the_last_update(tmp_path, contexts, iterations):
    """On the first batches of the epoch that would follow, before the validation, however often the run stopped."""
    options = {"contexts": contexts, "iterations": iterations}
    assert run(tmp_path / "without", **options)
    assert run(tmp_path / "whole", **options, recompute_statistics=3)
    records, parameters, state = results(tmp_path / "whole")
    before = results(tmp_path / "without")
    assert (records[:2], parameters[:2]) == (before[0][:2], before[1][:2])
    devices = [mx.cpu(i) for i in range(contexts)]
    trainer = Trainer(tiny_net(devices, norm=True), devices, 4)
    load_parameters(trainer.net, tmp_path / "without-0003.params")
    following = FakeLoader()
    following.set_epoch(3)
    trainer.recompute_statistics(islice(following, 3))
    found = read_arrays(tmp_path / "whole-0003.params")
    for name, parameter in trainer.net._collect_params_with_prefix().items():
        np.testing.assert_array_equal(found[name], parameter.data().asnumpy(), err_msg=name)
    expected = trainer.evaluate(VALIDATION)
    assert records[2]["val_loss"] == pytest.approx(expected.mean_loss)
    assert records[2]["val_loss"] != before[0][2]["val_loss"]
    for times in range(3, 26, 4):
        prefix = tmp_path / f"stopped{times}"
        finished = run(prefix, Stop(times), **options, recompute_statistics=3)
        assert finished or run(prefix, **options, recompute_statistics=3)
        assert results(prefix) == (records, parameters, state), times


def test_a_run_ends_at_its_last_iteration(tmp_path):
    """Within an epoch: that one is validated, logged and saved like any other."""
    assert run(tmp_path / "a", iterations=12, save_period=5)
    records = EpochLog(str(tmp_path / "a-log.jsonl"), 3).records
    assert [(record.epoch, record.iteration) for record in records] == [(1, 5), (2, 10), (3, 12)]
    assert records[2].val_loss is not None
    assert (tmp_path / "a-0003.params").exists()
    assert (tmp_path / "a-resume-00000012.params").exists()


def test_a_run_is_its_iterations_one_after_another():
    """Each with its own learning rate and its own number, on which mixup depends."""
    one, other = (Trainer(tiny_net(norm=True), [mx.cpu()], 4, mixup=Mixup(0.5)) for _ in range(2))
    assert fit(one, FakeLoader(), None, 12, SCHEDULE)
    loader, meter = FakeLoader(), other.new_meter()
    for iteration in range(12):
        if iteration % 5 == 0:
            loader.set_epoch(iteration // 5)
            batches = iter(loader)
        other.step(next(batches), SCHEDULE(iteration), meter, "", iteration)
    state = one.state()
    for name, array in other.state().items():
        np.testing.assert_array_equal(state[name], array, err_msg=name)


@pytest.mark.parametrize(("validation", "seen"), [(VALIDATION, "val_top1_error"), (None, "train_top1_error")])
def test_plateaus_are_those_of_the_validation_if_there_is_one(tmp_path, monkeypatch, validation, seen):
    errors = []
    monkeypatch.setattr(Schedule, "after_epoch", lambda self, known, error: errors.append(error) or known)
    assert run(tmp_path / "a", validation=validation)
    assert errors == [getattr(record, seen) for record in EpochLog(str(tmp_path / "a-log.jsonl"), 3).records]
    assert len(errors) == 3


@pytest.mark.parametrize(
    ("position", "iterations", "epochs"),
    [
        (Position(), 15, 3),
        (Position(), 11, 3),
        (Position(), 1, 1),
        (Position(epoch=1, batch=2, iteration=7), 10, 2),
        (Position(epoch=1, batch=2, iteration=7), 11, 3),
        (Position(epoch=1, batch=5, trained=True, iteration=10), 10, 2),
        (Position(epoch=2, batch=2, trained=True, iteration=12), 12, 3),
        (
            Position(epoch=2, batch=2, trained=True, iteration=12),
            13,
            4,
        ),  # made longer after a part of an epoch
        (Position(epoch=3, iteration=12), 18, 5),
        (Position(epoch=3, iteration=12), 12, 3),
    ],
)
def test_epochs_of_five_batches_are_counted(position, iterations, epochs):
    assert count_epochs(position, iterations, 5) == epochs


class Killed(BaseException):
    """Ends the writing where it comes, as a kill would."""


@pytest.mark.parametrize("function", ["replace", "unlink", "symlink"])
def test_a_run_killed_between_two_files_goes_on_to_the_same_bits(tmp_path, monkeypatch, function):
    """At any of its changes to the folder."""
    assert run(tmp_path / "whole", save_every=2)
    kills = 0
    for when in range(1, 60):
        prefix = tmp_path / f"killed{when}"
        with monkeypatch.context() as patch:
            patch.setattr(os, function, killed_at(when, getattr(os, function)))
            try:
                assert run(prefix, save_every=2)
                break
            except Killed:
                kills += 1
        assert run(prefix, save_every=2)
        assert results(prefix) == results(tmp_path / "whole")
    assert kills > 5


def killed_at(when, original):
    calls = iter(range(1, 1000))

    def function(*arguments, **options):
        if next(calls) == when:
            raise Killed
        return original(*arguments, **options)

    return function


@pytest.mark.parametrize("error", [Killed, GluonResnetError])
def test_nothing_is_being_written_when_a_run_has_failed(tmp_path, monkeypatch, error):
    """Or a run that goes on in the same process would write beside it."""
    failed, writing = threading.Event(), []

    def fails(log, record) -> None:
        failed.set()
        raise error("in the training")

    def slow_replace(*arguments) -> None:
        if threading.current_thread() is threading.main_thread():  # the log begins
            original(*arguments)
            return
        assert failed.wait(600)
        writing.append("begun")
        time.sleep(0.1)
        original(*arguments)
        writing.append("done")

    original = os.replace
    monkeypatch.setattr(os, "replace", slow_replace)
    monkeypatch.setattr(EpochLog, "append", fails)
    with pytest.raises(error):
        run(tmp_path / "a")
    assert "begun" in writing
    assert writing.count("begun") == writing.count("done")
    assert (tmp_path / "a-resume.json").exists()


def test_the_first_line_has_no_figures_that_nothing_has_been_measured_of(capsys):
    net = Trainer(tiny_net(), [mx.cpu()], 4)
    assert fit(net, FakeLoader(), None, 5, Schedule(0.1), progress=Progress(1))
    first, second, *_ = capsys.readouterr().err.splitlines()
    assert first == "epoch 1/1  1/5  lr 0.1"
    assert re.fullmatch(r"epoch 1/1  2/5  loss \d\.\d+  error \d+\.\d %  \d+ images/s  lr 0\.1", second)


@pytest.mark.parametrize("every", [1, 2])
def test_a_run_killed_behind_a_state_has_all_of_its_steps(tmp_path, every):
    """What the updates before the state came to is told before it is saved: behind it they are not counted again."""

    def go_on(prefix, steps=99):
        trainer = Trainer(tiny_net(norm=True), [mx.cpu()], 4)
        checkpoints = Checkpoints(str(tmp_path / prefix), {}, save_every=3)
        position = checkpoints.resume(trainer) or Position()
        log = StepLog(str(tmp_path / f"{prefix}-steps.jsonl"), position.iteration)
        step, left = trainer.step, iter(range(steps))

        def killed(*arguments):
            checkpoints._writer.flush()  # so that no state is left out
            if next(left, None) is None:
                raise KeyboardInterrupt
            step(*arguments)

        trainer.step = killed
        with contextlib.suppress(KeyboardInterrupt):
            fit(
                trainer,
                FakeLoader(),
                None,
                10,
                Schedule(0.1),
                position=position,
                checkpoints=checkpoints,
                on_step=log.append,
                step_every=every,
            )
        records = read_steps(str(tmp_path / f"{prefix}-steps.jsonl"))
        return [replace(record, images_per_second=0.0) for record in records]

    whole = go_on("whole")
    assert whole[-1].iteration == 10
    assert [record.iteration for record in go_on("a", 3)][-1] == 3
    assert go_on("a") == whole


def test_learning_rates_and_files(tmp_path):
    assert run(tmp_path / "a", save_period=2)
    records = EpochLog(str(tmp_path / "a-log.jsonl"), 3).records
    assert [record.lr for record in records] == [SCHEDULE(4), SCHEDULE(9), SCHEDULE(14)]
    assert [record.iteration for record in records] == [5, 10, 15]
    assert sorted(os.listdir(tmp_path)) == [
        "a-0001.params",  # the best
        "a-0002.params",
        "a-0003.params",  # the last one, too
        "a-best.params",
        "a-last.params",
        "a-log.jsonl",
        "a-resume-00000010.json",
        "a-resume-00000010.params",
        "a-resume-00000015.json",
        "a-resume-00000015.params",
        "a-resume.json",
    ]
    net = tiny_net(norm=True)
    net.load_parameters(str(tmp_path / "a-0003.params"))


def test_a_finished_run_has_nothing_to_do_and_can_be_made_longer(tmp_path):
    assert run(tmp_path / "a", iterations=10)
    before = (tmp_path / "a-log.jsonl").read_bytes()
    assert run(tmp_path / "a", iterations=10)
    assert (tmp_path / "a-log.jsonl").read_bytes() == before
    assert run(tmp_path / "a")
    assert run(tmp_path / "b")
    assert results(tmp_path / "a") == results(tmp_path / "b")


def test_a_loss_that_is_not_finite_keeps_the_last_good_checkpoint(tmp_path):
    class Bad(FakeLoader):
        def __iter__(self):
            for number, batch in enumerate(super().__iter__()):
                if self._epoch == 1 and number == 2:
                    batch.data[0] = np.nan
                yield batch

    with pytest.raises(GluonResnetError, match=r"batch 3 of epoch 2/3 \(learning rate 0.01\)"):
        run(tmp_path / "a", loader=Bad)
    assert not (tmp_path / "a-0002.params").exists()
    assert all(np.isfinite(array).all() for array in read_arrays(tmp_path / "a-0001.params").values())
    assert run(tmp_path / "a")
    assert run(tmp_path / "b")
    assert results(tmp_path / "a") == results(tmp_path / "b")


def test_a_slow_disk_has_a_name_for_those_who_watch(tmp_path, monkeypatch):
    """A stall watch would otherwise say that it does not know what the training is at."""
    seen = []

    def note(*_: object) -> None:
        here = activity(threading.get_ident())
        seen.append(here and here.what)

    checkpoints = Checkpoints(str(tmp_path / "a"), {})
    monkeypatch.setattr(checkpoints, "flush", note)
    trainer = Trainer(tiny_net(), [mx.cpu()], 4)
    assert fit(trainer, FakeLoader(), None, 5, SCHEDULE, checkpoints=checkpoints, on_epoch=note)
    assert seen == ["writing the results of an epoch", "waiting until the last state is written"]


def test_other_settings_are_refused_by_name(tmp_path):
    assert run(tmp_path / "a", iterations=5)
    with pytest.raises(UsageError, match=r"another devices \(1, now 2\).*--load-epoch"):
        run(tmp_path / "a", contexts=2)


@pytest.mark.parametrize("contexts", [1, 2])
def test_records_of_steps_and_epochs_add_up_to_each_other(tmp_path, contexts):
    devices = [mx.cpu(i) for i in range(contexts)]
    trainer = Trainer(tiny_net(devices, norm=True), devices, 4)
    steps, epochs = [], []
    fit(
        trainer,
        FakeLoader(batches=25),
        None,
        60,
        SCHEDULE,
        on_step=steps.append,
        step_every=10,
        on_epoch=epochs.append,
    )
    assert [step.iteration for step in steps] == [10, 20, 25, 30, 40, 50, 60]
    assert [step.epoch for step in steps] == [1, 1, 1, 2, 2, 2, 3]
    assert [step.lr for step in steps] == [SCHEDULE(step.iteration - 1) for step in steps]
    for number, epoch in enumerate(epochs, 1):
        own = [step for step in steps if step.epoch == number]
        updates = np.diff([25 * (number - 1)] + [step.iteration for step in own])
        for name, mean in (("loss", epoch.train_loss), ("top1_error", epoch.train_top1_error)):
            values = [getattr(step, name) for step in own]
            assert np.average(values, weights=updates) == pytest.approx(mean)
        assert epoch.gradient_norm > 0
        assert (epoch.loss_scale, epoch.skipped_steps) == (None, None)
        if contexts == 1:
            assert epoch.communication is None  # there is nothing to combine
        else:
            assert 0 < epoch.communication <= 1
    assert all(step.gradient_norm > 0 for step in steps)
