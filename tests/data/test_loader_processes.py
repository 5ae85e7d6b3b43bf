"""Loaders in other processes: forked, spawned, in the workers of PyTorch, and where the interpreter ends."""

from __future__ import annotations

import multiprocessing
import os
import pathlib
import pickle
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from gluon_resnet.data import Loader
from gluon_resnet.errors import UsageError
from tests.support.batches import EVAL, TRAIN, contents, ids
from tests.support.pictures import encode, picture, write_records


def run_in_child(method: str, *arguments: Any) -> Any:
    """The answer of `child_main` in another process."""
    context = multiprocessing.get_context(method)
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=child_main, args=(sender, *arguments))
    child.start()
    assert receiver.poll(50)
    answer = receiver.recv()
    child.join(600)
    assert child.exitcode == 0
    for end in (receiver, sender, child):
        end.close()
    return answer


def child_main(sender: Any, loader: Loader, epoch: Any) -> None:
    answer = {"state": loader.state_dict(), "skipped": loader.stats().skipped}
    before = os.listdir("/proc/self/task")  # MXNet, where it was imported, starts some in a child
    if epoch is not None:
        with pytest.raises(UsageError, match="started in another process"):
            next(epoch)
    answer["first"], answer["second"] = ids(loader), ids(loader)
    answer["skipped after"] = [(record.epoch, record.key) for record in loader.stats().skipped]
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
        assert answer["skipped after"] == [(2, 2)]
        assert answer["threads left"] == 0
    assert os.listdir("/proc/self/fd") == descriptors
    assert [batch.ids[0] for batch in epoch] == [4, 8, 12]
    assert [(record.epoch, record.key) for record in loader.stats().skipped] == [(0, 2)]


def test_a_spawned_child_goes_on(damaged: str) -> None:
    loader = Loader(damaged, 4, EVAL, threads=4, on_error="skip")
    epoch = iter(loader)
    next(epoch)
    answer = run_in_child("spawn", loader, None)
    assert answer["state"] == loader.state_dict()
    assert answer["first"] == [[4, 5, 6, 7], [8, 9, 10, 11], [12, 13]]
    assert answer["second"] == [[0, 1, 3], [4, 5, 6, 7], [8, 9, 10, 11], [12, 13]]
    assert (answer["skipped"], answer["skipped after"]) == ((), [(1, 2)])
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
    epoch = iter(loader)
    next(epoch)
    copy = pickle.loads(pickle.dumps(loader))
    again = pickle.loads(pickle.dumps(copy))
    rest = contents(epoch)
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
            [sys.executable, "-W", "ignore", "-c", program], stderr=subprocess.PIPE, timeout=600
        )
        assert (done.returncode, done.stderr) == (status, b"")
