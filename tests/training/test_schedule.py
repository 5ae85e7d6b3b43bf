"""Learning rates against tables worked out by hand, and against PyTorch's schedulers."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gluon_resnet.training.schedule import WINDOW, Observed, Schedule


def test_a_schedule_without_steps_is_constant():
    assert [Schedule(0.1)(i) for i in (0, 1, 10**9)] == [0.1] * 3


def test_warm_up_and_steps():
    schedule = Schedule(0.8, factor=0.5, steps=(6, 8), warmup=4)
    table = [0.2, 0.4, 0.6, 0.8, 0.8, 0.8, 0.4, 0.4, 0.2, 0.2]
    assert [schedule(i) for i in range(10)] == pytest.approx(table, rel=1e-12)


def test_a_warm_up_may_begin_above_zero():
    schedule = Schedule(0.5, warmup=4, warmup_lr=0.1)
    assert [schedule(i) for i in range(5)] == pytest.approx([0.2, 0.3, 0.4, 0.5, 0.5], rel=1e-12)


@pytest.mark.parametrize(("warmup", "min_lr"), [(0, 0.0), (7, 0.0), (7, 0.003)])
def test_half_a_cosine_is_pytorchs(warmup, min_lr):
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.4)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50 - warmup, eta_min=min_lr)
    ours = Schedule(0.4, "cosine", iterations=50, warmup=warmup, min_lr=min_lr)
    for iteration in range(warmup, 50):
        assert ours(iteration) == pytest.approx(theirs.get_last_lr()[0], rel=1e-9)
        optimizer.step()
        theirs.step()
    assert ours(50) == ours(60) == pytest.approx(min_lr, abs=1e-12)  # a run that is made longer


@given(
    errors=st.lists(st.sampled_from([*range(20, 31), 24.99, 25.01, 0.0]), min_size=1, max_size=60),
    patience=st.integers(0, 4),
    threshold=st.sampled_from([0.0, 1e-4, 0.05]),
)
def test_plateaus_are_pytorchs(errors, patience, threshold):
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.1, patience=patience, threshold=threshold, min_lr=1e-4
    )
    ours = Schedule(0.1, "plateau", 0.1, patience=patience, threshold=threshold, min_lr=1e-4)
    observed = Observed()
    for error in errors:
        theirs.step(error)
        observed = ours.after_epoch(observed, error)
        observed = Observed(**json.loads(json.dumps(asdict(observed))))  # as a resumed run has it
        assert ours(0, observed) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)


def test_the_rate_falls_after_more_epochs_than_patience():
    schedule, observed, rates = Schedule(0.1, "plateau", patience=1), Observed(), []
    for error in (50, 40, 41, 40, 39.9999, 39, 39, 39):
        observed = schedule.after_epoch(observed, error)
        rates.append(schedule(0, observed))
    assert rates == pytest.approx([0.1, 0.1, 0.1, 0.01, 0.01, 0.01, 0.01, 0.001])
    assert Schedule(0.1).after_epoch(Observed(), 50) == Observed()  # other modes do not look


def test_a_warm_up_lasts_until_the_error_of_a_whole_window_is_low():
    """Windows with 85, 80 (which is not below) and 79.9 per cent, in batches of 10 images."""
    wrong = [10, 7] * 50 + [8] * 100 + [8] * 99 + [7]
    schedule = Schedule(0.1, steps=(350,), warmup_lr=0.01, warmup_error=80.0)
    observed, rates = Observed(), []
    for iteration in range(4 * WINDOW):
        rates.append(schedule(iteration, observed))
        if schedule.warming(observed):
            observed = schedule.after_update(observed, iteration + 1, wrong[iteration], 10)
    assert observed == Observed(warm_from=3 * WINDOW)
    assert rates == pytest.approx([0.01] * 300 + [0.1] * 50 + [0.01] * 50)  # the steps stay where they are
    assert schedule(3 * WINDOW - 1, observed) == 0.01  # what the log says of an epoch that ended there


def test_what_was_observed_is_checked():
    assert Observed(best_error=12.5, warm_from=100).best_error == 12.5
    for wrong in ({"reductions": -1}, {"bad_epochs": "1"}, {"window_images": None}, {"warm_from": 1.5}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))}: expected a number from 0, found "):
            Observed(**wrong)
