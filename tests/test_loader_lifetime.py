"""Loaders and their memory in threads and processes: what is left early, lent, forked, sent and collected."""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import pathlib
import pickle
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from batches import EVAL, TRAIN, contents, ids
from conftest import encode, picture, write_records

from gluon_resnet.data import Loader, TrainTransform
from gluon_resnet.errors import ImageError, UsageError

pytestmark = pytest.mark.timeout(60)


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


def run_in_child(method: str, *arguments: Any) -> Any:
    """The answer of `child_main` in another process."""
    context = multiprocessing.get_context(method)
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=child_main, args=(sender, *arguments))
    child.start()
    assert receiver.poll(50)
    answer = receiver.recv()
    child.join(30)
    assert child.exitcode == 0
    for end in (receiver, sender, child):
        end.close()
    return answer


def child_main(sender: Any, loader: Loader, epoch: Any) -> None:
    answer = {"state": loader.state_dict(), "skipped": loader.skipped}
    before = os.listdir("/proc/self/task")  # MXNet, where it was imported, starts some in a child
    if epoch is not None:
        with pytest.raises(UsageError, match="started in another process"):
            next(epoch)
    answer["first"], answer["second"] = ids(loader), ids(loader)
    answer["skipped after"] = [(record.epoch, record.key) for record in loader.skipped]
    answer["threads left"] = len(os.listdir("/proc/self/task")) - len(before)
    sender.send(answer)


@pytest.fixture
def damaged(tmp_path: pathlib.Path) -> str:
    """Record 2 of 14 cannot be decoded."""
    payloads = [encode(picture(40, 40, i)) for i in range(14)]
    payloads[2] = b"bad"
    return write_records(tmp_path / "damaged.rec", payloads)


def test_a_forked_child_has_an_epoch_of_its_own(damaged: str) -> None:
    loader = Loader(damaged, 4, EVAL, threads=4, on_error="skip")
    epoch = iter(loader)
    next(epoch)
    descriptors = os.listdir("/proc/self/fd")
    for _ in range(3):  # while workers of the parent run
        answer = run_in_child("fork", loader, epoch)
        assert answer["state"] == loader.state_dict()
        whole = [[0, 1, 3], [4, 5, 6, 7], [8, 9, 10, 11], [12, 13]]
        assert (answer["first"], answer["second"]) == (whole, whole)
        assert answer["skipped after"] == [(1, 2), (2, 2)]
        assert answer["threads left"] == 0
    assert os.listdir("/proc/self/fd") == descriptors
    assert [batch.ids[0] for batch in epoch] == [4, 8, 12]
    assert [(record.epoch, record.key) for record in loader.skipped] == [(0, 2)]


def test_a_spawned_child_goes_on(damaged: str) -> None:
    loader = Loader(damaged, 4, EVAL, threads=4, on_error="skip")
    epoch = iter(loader)
    next(epoch)
    answer = run_in_child("spawn", loader, None)
    assert answer["state"] == loader.state_dict()
    assert answer["first"] == [[4, 5, 6, 7], [8, 9, 10, 11], [12, 13]]
    assert answer["second"] == [[0, 1, 3], [4, 5, 6, 7], [8, 9, 10, 11], [12, 13]]
    assert (answer["skipped"], answer["skipped after"]) == ([], [(1, 2)])
    assert [batch.ids[0] for batch in epoch] == [4, 8, 12]


def test_a_pickled_loader_is_the_same_loader(record_path: str) -> None:
    loader = Loader(
        [record_path, record_path],
        3,
        TRAIN,
        shuffle=True,
        seed=5,
        threads=2,
        rank=1,
        world_size=2,
        last_batch="keep",
        dtype="float16",
        layout="NHWC",
        on_error="skip",
        prefetch=2,
    )
    loader.set_epoch(4)
    next(iter(loader))
    copy = pickle.loads(pickle.dumps(loader))
    again = pickle.loads(pickle.dumps(copy))
    rest = contents(loader._current)  # type: ignore[arg-type]
    assert len(rest) == 7
    assert contents(copy) == contents(again) == rest
    assert contents(copy) == contents(loader)


def test_a_pickled_loader_whose_records_have_changed(record_path: str, photographs: list[bytes]) -> None:
    pickled = pickle.dumps(Loader(record_path, 4, EVAL))
    write_records(pathlib.Path(record_path), photographs[::-1])
    with pytest.raises(UsageError, match="fingerprint"):
        pickle.loads(pickled)


def test_workers_of_a_torch_loader(record_path: str) -> None:
    data = pytest.importorskip("torch.utils.data")

    class Images(data.IterableDataset):  # type: ignore[misc, name-defined]
        """Each worker is a rank."""

        def __init__(self) -> None:
            self.ranks = [Loader(record_path, 4, EVAL, rank=r, world_size=2, threads=2) for r in (0, 1)]

        def __iter__(self) -> Iterator[list[int]]:
            return iter(ids(self.ranks[data.get_worker_info().id]))

    images = Images()
    next(iter(images.ranks[0]))  # under way where the workers are forked off
    for _ in range(2):
        workers = data.DataLoader(images, batch_size=None, num_workers=2, multiprocessing_context="fork")
        assert sorted(sum(workers, [])) == list(range(23))


EXITS = {
    "at the end of the program": ("epoch = iter(loader); next(epoch)", 0),
    "in the loop": ("for batch in loader: sys.exit(3)", 3),
    "by an exception": ("for batch in loader: raise SystemExit(4)", 4),
    "with an epoch that nobody frees": (
        "import ctypes; epoch = iter(loader); kept = ctypes.py_object(epoch); ctypes.pythonapi.Py_IncRef(kept)",
        0,
    ),
    "in a cycle": ("import gc; gc.disable(); a = [loader, iter(loader)]; a.append(a); del loader", 0),
    "while another thread waits for a batch": (
        "threading.Thread(target=lambda: [0 for _ in range(9999) for _ in loader], daemon=True).start()\n"
        "time.sleep(0.05)",
        0,
    ),
    "in a forked child": (
        "epoch = iter(loader); next(epoch); child = os.fork()\n"
        "if child == 0: sys.exit(5)\n"
        "next(epoch); sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))",
        5,
    ),
}


@pytest.mark.parametrize("how", EXITS)
def test_the_interpreter_ends_in_the_middle_of_an_epoch(record_path: str, how: str) -> None:
    code, status = EXITS[how]
    program = (
        "import os, sys, threading, time\n"
        "from gluon_resnet.data import Loader, TrainTransform\n"
        f"loader = Loader({record_path!r}, 2, TrainTransform(), threads=4)\n{code}"
    )
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", program], stderr=subprocess.PIPE, timeout=30
        )
        assert (done.returncode, done.stderr) == (status, b"")


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
