"""The loader's state: where it stands at any moment, and what goes on from it, at what number of threads and ranks."""

from __future__ import annotations

import json
import pathlib
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gluon_resnet.data import EvalTransform, Loader
from gluon_resnet.errors import DataError, UsageError
from tests.support.batches import EVAL, TRAIN, contents, ids
from tests.support.pictures import encode, picture, write_records

THREADS = pytest.mark.parametrize("threads", [1, 8])


def place(loader: Loader) -> tuple[int, int]:
    state = loader.state_dict()
    return state["epoch"], state["position"]


def saved(loader: Loader) -> dict[str, Any]:
    """The state, after a way through a file."""
    return json.loads(json.dumps(loader.state_dict()))


def test_what_a_state_holds(record_path: str) -> None:
    loader = Loader(record_path, 4, TRAIN, shuffle=True, seed=2**64 - 1, world_size=2, rank=1)
    next(iter(loader))
    state = saved(loader)
    fingerprint = state.pop("fingerprint")
    assert re.fullmatch("[0-9a-f]{16}", fingerprint)
    assert state == {
        "version": 1,
        "epoch": 0,
        "position": 8,
        "seed": 2**64 - 1,
        "shuffle": True,
        "records": 23,
    }


@pytest.mark.parametrize("stop", range(7))
@THREADS
def test_a_state_goes_on_with_the_same_batches(record_path: str, stop: int, threads: int) -> None:
    def loader(threads: int) -> Loader:
        return Loader(record_path, 4, TRAIN, shuffle=True, seed=7, threads=threads)

    straight = loader(2)
    expected = [contents(straight) for _ in range(3)]
    interrupted = loader(9 - threads)
    list(interrupted)
    epoch = iter(interrupted)
    before = contents(next(epoch) for _ in range(stop))

    resumed = loader(threads)
    resumed.load_state_dict(saved(interrupted))
    assert resumed.state_dict() == interrupted.state_dict()
    after = contents(resumed) if stop < 6 else []  # at its end an epoch is the beginning of the next one
    assert before + after == expected[1]
    assert contents(resumed) == expected[2]


def joined(record_path: str, world_size: int, state: dict[str, Any]) -> list[tuple]:
    """The rest of an epoch and the next one: the real rows of all ranks, a tuple for each step."""
    ranks = []
    for rank in range(world_size):
        batch_size = 8 // world_size
        loader = Loader(record_path, batch_size, TRAIN, shuffle=True, rank=rank, world_size=world_size)
        loader.load_state_dict(state)
        assert loader.state_dict() == state
        ranks.append(
            [
                [(b.data[i].tobytes(), b.label[i], b.ids[i]) for i in range(len(b) - b.pad)]
                for _ in range(2)
                for b in loader
            ]
        )
    return [sum(step, []) for step in zip(*ranks)]


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_a_state_goes_on_with_another_number_of_ranks(record_path: str, steps: int) -> None:
    states = []
    for rank in range(4):
        loader = Loader(record_path, 2, TRAIN, shuffle=True, rank=rank, world_size=4)
        epoch = iter(loader)
        for _ in range(steps):
            next(epoch)
        states.append(saved(loader))
    assert all(state == states[0] for state in states)  # any rank's will do
    whole = joined(record_path, 1, states[0])
    assert len(whole) == 6 - steps
    for world_size in (2, 4, 8):
        assert joined(record_path, world_size, states[0]) == whole


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_every_record_once_whatever_the_ranks_before_and_after(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    records = data.draw(st.integers(1, 50), "records")
    path = tmp_path_factory.mktemp("state") / "a.rec"
    write_records(path, [encode(picture(2, 2), ".png")] * records)

    def loaders() -> list[Loader]:
        batch_size, world_size = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 4))
        options: dict[str, Any] = {"shuffle": True, "last_batch": "keep", "world_size": world_size}
        return [
            Loader(path, batch_size, EvalTransform(None, 2), rank=rank, **options)
            for rank in range(world_size)
        ]

    before, after = loaders(), loaders()
    steps = data.draw(st.integers(0, len(before[0]) - 1), "steps")
    seen: list[int] = []
    for loader in before:
        epoch = iter(loader)
        seen += sum((next(epoch).ids.tolist() for _ in range(steps)), [])
    state = saved(before[-1])
    whole_batch = after[0].batch_size * len(after)
    for loader in after:
        if state["position"] % whole_batch:
            with pytest.raises(UsageError, match=f"expected a multiple of {whole_batch} "):
                loader.load_state_dict(state)
            return
        loader.load_state_dict(state)
        seen += sum(ids(loader), [])
    assert sorted(seen) == list(range(records))


def test_a_place_between_no_two_batches_is_refused_with_what_would_fit(record_path: str) -> None:
    loader = Loader(record_path, 6, EVAL)
    epoch = iter(loader)
    next(epoch), next(epoch)
    with pytest.raises(
        UsageError,
        match=r"position: expected a multiple of 8 \(batch_size \* world_size\), found 12, "
        r"which would fit, for example, a batch_size \* world_size of 4",
    ):
        Loader(record_path, 4, EVAL, world_size=2).load_state_dict(loader.state_dict())
    fitting = Loader(record_path, 2, EVAL, world_size=2)
    fitting.load_state_dict(loader.state_dict())
    assert next(iter(fitting)).ids.tolist() == [12, 13]


def test_the_last_batch_may_be_handled_otherwise(record_path: str) -> None:
    loader = Loader(record_path, 4, EVAL)
    epoch = iter(loader)
    for _ in range(5):
        next(epoch)
    assert place(loader) == (0, 20)
    discarding = Loader(record_path, 4, EVAL, last_batch="discard")
    discarding.load_state_dict(loader.state_dict())  # which has no batch behind these
    assert place(discarding) == (1, 0)
    keeping = Loader(record_path, 4, EVAL, last_batch="keep")
    keeping.load_state_dict(loader.state_dict())
    assert ids(keeping) == [[20, 21, 22]]


def test_the_place_at_any_moment(record_path: str) -> None:
    loader = Loader(record_path, 4, EVAL)
    assert place(loader) == (0, 0)
    epoch = iter(loader)
    assert place(loader) == (0, 0)  # batches made ahead do not count
    for number, _batch in enumerate(epoch, 1):
        assert place(loader) == ((0, 4 * number) if number < 6 else (1, 0))
    assert next(epoch, None) is None
    assert place(loader) == (1, 0)

    for _batch in loader:
        break
    assert place(loader) == (1, 4)
    with pytest.raises(ZeroDivisionError):
        for _batch in loader:  # the next epoch: that one is over
            _ = 1 / 0
    assert place(loader) == (2, 4)

    loader.set_epoch(7)
    assert place(loader) == (7, 0)
    epoch = iter(loader)
    next(epoch)
    assert place(loader) == (7, 4)
    state = loader.state_dict()
    next(epoch)
    loader.load_state_dict(state)
    assert place(loader) == (7, 4)
    with pytest.raises(UsageError, match="ended before its last batch"):
        next(epoch)
    assert next(iter(loader)).ids.tolist() == [4, 5, 6, 7]
    assert place(loader) == (7, 8)
    assert next(iter(loader)).ids.tolist() == [0, 1, 2, 3]
    assert place(loader) == (8, 4)


def test_an_epoch_ends_with_set_epoch(record_path: str) -> None:
    loader = Loader(record_path, 4, EVAL)
    epoch = iter(loader)
    next(epoch)
    loader.set_epoch(3)
    with pytest.raises(UsageError, match="ended before its last batch"):  # no loop takes this for its end
        next(epoch)
    assert place(loader) == (3, 0)


@THREADS
def test_the_place_is_behind_a_bad_batch(tmp_path: pathlib.Path, threads: int) -> None:
    payloads = [encode(picture(8, 8))] * 9
    payloads[4] = payloads[8] = b"bad"
    path = write_records(tmp_path / "a.rec", payloads)
    loader = Loader(path, 3, EVAL, threads=threads)
    epoch = iter(loader)
    next(epoch)
    with pytest.raises(DataError):
        next(epoch)
    assert place(loader) == (0, 6)
    resumed = Loader(path, 3, EVAL, threads=threads, on_error="skip")
    resumed.load_state_dict(loader.state_dict())
    assert ids(resumed) == [[6, 7]]
    with pytest.raises(DataError):
        next(epoch)
    assert place(loader) == (1, 0)  # the epoch's last batch was bad
    assert next(epoch, None) is None


def test_numbers_of_numpy_make_a_state_that_json_knows(record_path: str) -> None:
    loader = Loader(record_path, np.int64(4), EVAL, seed=np.uint64(3), shuffle=np.bool_(True))  # type: ignore[arg-type]
    next(iter(loader))
    assert (saved(loader)["position"], saved(loader)["seed"], saved(loader)["shuffle"]) == (4, 3, True)
