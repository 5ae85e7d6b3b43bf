"""Loaders and their memory within a process: what is left early, lent, collected, or used by threads."""

from __future__ import annotations

import contextlib
import gc
import os
import pathlib
import pickle
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from gluon_resnet.data import Loader, TrainTransform
from gluon_resnet.errors import ImageError, UsageError
from tests.support.batches import EVAL, TRAIN, contents
from tests.support.pictures import encode, picture, write_records


@contextlib.contextmanager
def nothing_left() -> Iterator[None]:
    """No thread, no descriptor, and no more memory than malloc may keep for itself."""

    def held() -> tuple[int, int]:
        return len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))

    def resident() -> int:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    gc.collect()
    before, bytes_before = held(), resident()
    yield
    gc.collect()
    assert held() == before
    assert resident() - bytes_before < 96 << 20


def test_memory_is_lent_until_the_last_view_goes(record_path: str) -> None:
    loader = Loader(record_path, 2, TRAIN, threads=1, prefetch=1)
    epoch = iter(loader)
    first = next(epoch)
    view = first.data
    copy = view.copy()
    first.release()
    with pytest.raises(UsageError, match="released"):
        _ = first.data
    for batch in epoch:  # as many as want the memory
        batch.release()
    np.testing.assert_array_equal(view, copy)


def test_memory_is_used_again(record_path: str) -> None:
    loader = Loader(record_path, 2, TRAIN, threads=4, prefetch=2)
    addresses = {batch.data.ctypes.data for _ in range(5) for batch in loader}
    assert len(addresses) <= 4  # two under way, the consumer's, and one more while he changes


def test_views_outlive_the_loader(record_path: str) -> None:
    loader = Loader(record_path, 23, TRAIN)
    (batch,) = loader
    view, copy = batch.data, batch.data.copy()
    capsule = batch.__dlpack__()
    del loader, batch
    gc.collect()
    np.testing.assert_array_equal(view, copy)
    del capsule


LARGE = TrainTransform(size=224)  # a batch of 8 has 4.8 MB: 40 of them are seen


def leave_early(path: str) -> None:
    for _batch in Loader(path, 8, LARGE, threads=4, shuffle=True):
        break


def drop_an_epoch(path: str) -> None:
    epoch = iter(Loader(path, 8, LARGE, threads=4))
    next(epoch)
    gone = weakref.ref(epoch)
    del epoch
    assert gone() is None


def begin_again_and_again(path: str) -> None:
    loader = Loader(path, 8, LARGE, threads=4)
    for _ in range(3):
        next(iter(loader))


def fail_in_the_loop(path: str) -> None:
    with pytest.raises(ZeroDivisionError):
        for _batch in Loader(path, 8, LARGE, threads=4):
            _ = 1 / 0


def leave_a_bad_batch(path: str) -> None:
    epoch = iter(Loader([path, path + ".bad"], 8, LARGE, threads=4))
    next(epoch), next(epoch)
    with pytest.raises(ImageError):
        next(epoch)


def close_in_a_cycle(path: str) -> None:
    loader = Loader(path, 8, LARGE, threads=4)
    cycle: list[Any] = [loader, iter(loader)]
    next(cycle[1])
    cycle.append(cycle)  # only the garbage collector ends this


def keep_batches(path: str) -> None:
    batches = list(Loader(path, 8, LARGE, threads=4))
    assert len({batch.data.ctypes.data for batch in batches}) == 3


def go_on_elsewhere(path: str) -> None:
    loader = Loader(path, 8, LARGE, threads=4)
    next(iter(loader))
    next(iter(pickle.loads(pickle.dumps(loader))))


@pytest.mark.parametrize(
    "use",
    [
        leave_early,
        drop_an_epoch,
        begin_again_and_again,
        fail_in_the_loop,
        leave_a_bad_batch,
        close_in_a_cycle,
        keep_batches,
        go_on_elsewhere,
    ],
)
def test_nothing_is_left(record_path: str, use: Any) -> None:
    write_records(pathlib.Path(record_path + ".bad"), [b"bad"])
    use(record_path)  # what is made once, is made
    with nothing_left():
        for _ in range(40):
            use(record_path)
            if use is close_in_a_cycle:
                gc.collect()


def test_several_loaders_and_consumers_at_once(record_path: str) -> None:
    expected = contents(Loader(record_path, 4, TRAIN, shuffle=True))
    found: list = [None] * 6

    def consume(i: int) -> None:
        found[i] = contents(Loader(record_path, 4, TRAIN, shuffle=True, threads=2))

    with nothing_left():
        consumers = [threading.Thread(target=consume, args=(i,)) for i in range(6)]
        for thread in consumers:
            thread.start()
        for thread in consumers:
            thread.join()
    assert all(one == expected for one in found)


def test_loaders_of_one_file_take_turns(record_path: str) -> None:
    first, second = (Loader(record_path, 4, TRAIN, shuffle=True, seed=seed) for seed in (1, 2))
    expected = [contents(loader) for loader in (first, second)]
    first.set_epoch(0), second.set_epoch(0)
    pairs = list(zip(first, second))
    assert [contents(batches) for batches in zip(*pairs)] == expected


def test_other_threads_run_while_one_waits(tmp_path: pathlib.Path) -> None:
    """Nothing holds the GIL: a counter in another thread goes on during next()."""
    path = write_records(tmp_path / "a.rec", [encode(picture(1500, 1500))] * 8)
    steps, done = [0], threading.Event()

    def count() -> None:
        while not done.is_set():
            steps[0] += 1
            time.sleep(0.001)

    thread = threading.Thread(target=count)
    thread.start()
    before = steps[0]
    next(iter(Loader(path, 8, EVAL, threads=1)))
    assert steps[0] > before + 3
    done.set()
    thread.join()
