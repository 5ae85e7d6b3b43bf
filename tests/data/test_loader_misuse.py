"""Loaders, epochs and batches used by two threads at once, or in the middle of each other: exceptions, sound memory."""

from __future__ import annotations

import contextlib
import os
import pathlib
import subprocess
import sys
import threading
import time
from typing import Any, Callable

import numpy as np
import pytest

from gluon_resnet.data import Loader, _native
from gluon_resnet.errors import ImageError, UsageError
from tests.support.batches import EVAL, TRAIN, contents, ids
from tests.support.pictures import encode, picture, write_records

# Each runs in a process of its own, which a fault in memory would end. `turns` are many: a race needs its moment.
PROGRAM = '''
import os, signal, sys, threading, time
from gluon_resnet.data import Loader, TrainTransform
from gluon_resnet.errors import UsageError

turns, path = 150, sys.argv[1]
loader = Loader(path, 8, TrainTransform(96), threads=4, shuffle=True)
refused = []

def tries():
    """At least `turns`, and more until the race that is tried was lost once."""
    for turn in range(100 * turns):
        if turn >= turns and refused:
            return
        yield turn

def consume(epoch):
    try:
        for batch in epoch:
            batch.data[0, 0, 0, 0]
    except UsageError as error:
        refused.append(str(error))

def beside(function, *arguments):
    thread = threading.Thread(target=function, args=arguments)
    thread.start()
    return thread
'''
MISUSES = {
    "set_epoch while another thread waits": """
for turn in tries():
    thread = beside(consume, iter(loader)); time.sleep(turn % 10 / 2000)
    loader.set_epoch(turn); thread.join()
assert refused and all("ended before its last batch" in error for error in refused)
""",
    "iter while another thread waits": """
threads = []
for turn in tries():
    threads.append(beside(consume, iter(loader))); time.sleep(turn % 10 / 2000)
[thread.join() for thread in threads]
assert refused and all("ended before its last batch" in error for error in refused)
""",
    "load_state_dict while another thread waits": """
for turn in tries():
    thread = beside(consume, iter(loader)); time.sleep(turn % 10 / 2000)
    loader.load_state_dict(loader.state_dict()); thread.join()
assert refused and all("ended before its last batch" in error for error in refused)
""",
    "next in several threads": """
for turn in tries():
    epoch = iter(loader)
    threads = [beside(consume, epoch) for _ in range(4)]
    [thread.join() for thread in threads]
assert refused and all("one thread at a time" in error for error in refused)
""",
    "iter and set_epoch in several threads": """
def begin():
    for turn in range(turns):
        consume(iter(loader)) if turn % 3 else loader.set_epoch(turn)
        loader.stats(), loader.state_dict(), repr(loader)
threads = [beside(begin) for _ in range(4)]
[thread.join() for thread in threads]
""",
    "a signal's handler ends the epoch that next() waits for": """
signal.signal(signal.SIGALRM, lambda *_: loader.set_epoch(0))
slow = loader
for turn in tries():
    signal.setitimer(signal.ITIMER_REAL, 1e-4 + turn % 10 / 2000)
    consume(iter(loader))
signal.setitimer(signal.ITIMER_REAL, 0)
assert refused and all("ended before its last batch" in error for error in refused)
""",
    "release in another thread": """
for turn in range(turns):
    for batch in loader:
        thread = beside(batch.release)
        try:
            batch.data.sum(), batch.label.sum(), batch.ids.sum(), repr(batch), batch.__dlpack__()
        except UsageError as error:
            assert "has been released" in str(error)
        thread.join()
""",
}


@pytest.mark.parametrize("misuse", MISUSES)
def test_a_misuse_gets_an_exception(record_path: str, misuse: str) -> None:
    program = PROGRAM + MISUSES[misuse] + "\nassert len(list(loader)) == len(loader)\nprint('sound')"
    done = subprocess.run(
        [sys.executable, "-c", program, record_path], capture_output=True, text=True, timeout=600
    )
    assert (done.returncode, done.stdout) == (0, "sound\n"), done.stderr


def test_what_two_threads_get_is_each_batch_once(record_path: str) -> None:
    """The one whose call is refused has taken nothing."""
    expected = contents(Loader(record_path, 2, TRAIN, shuffle=True))
    epoch = iter(Loader(record_path, 2, TRAIN, shuffle=True, threads=2))
    found: list[Any] = []

    def consume() -> None:
        while True:
            try:
                found.append(next(epoch))
            except UsageError:
                time.sleep(0.001)
            except StopIteration:
                return

    threads = [threading.Thread(target=consume) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(contents(found)) == sorted(expected)


def tasks() -> int:
    return len(os.listdir("/proc/self/task"))


@pytest.mark.parametrize("threads", [1, 8])
def test_the_workers_end_where_the_loop_is_left(record_path: str, threads: int) -> None:
    loader = Loader(record_path, 2, TRAIN, threads=threads)
    before = tasks()
    for _batch in loader:
        assert tasks() > before
        break
    assert tasks() == before
    with pytest.raises(ZeroDivisionError) as caught:
        for _batch in loader:
            _ = 1 / 0
    assert tasks() == before  # and the exception is still there, with its frames
    assert caught.value.__traceback__ is not None
    next(iter(loader))
    assert tasks() == before
    assert (loader.state_dict()["epoch"], loader.state_dict()["position"]) == (2, 2)
    assert len(ids(loader)) == 12


def test_stats_outlive_a_loop_that_was_left(record_path: str) -> None:
    loader = Loader(record_path, 2, TRAIN, threads=2)
    for _batch in loader:
        break
    first = loader.stats()
    time.sleep(0.01)
    assert (first.images, first.batches) == (2, 1)
    assert loader.stats().seconds == first.seconds


@pytest.mark.parametrize(
    "use",
    [
        lambda: _native.NativeMeter().read(),
        lambda: _native.NativeEpoch().meter().read(),
        lambda: _native.NativeEpoch().next(),
        lambda: _native.Batch().data,
        lambda: len(_native.Batch()),
        lambda: _native.Batch().__dlpack__(),
    ],
)
def test_what_only_a_loader_makes_is_empty(use: Callable[[], Any]) -> None:
    with pytest.raises(UsageError):
        use()
    _native.NativeEpoch().close()
    assert repr(_native.Batch()) == "Batch(released)"


def packer(folder: pathlib.Path, convert: Any = lambda _: None, threads: int = 2) -> _native.NativePacker:
    options = {"pass_through": False, "verify": True, "center_crop": False, "resize": 0, "color": "rgb"}
    return _native.NativePacker(
        str(folder / "a.rec"),
        str(folder / "a.idx"),
        convert,
        png=False,
        quality=90,
        threads=threads,
        **options,  # type: ignore[arg-type]
    )


def test_a_packer_closed_while_another_thread_hands_in(tmp_path: pathlib.Path) -> None:
    payload = encode(picture(64, 64))
    for turn in range(40):
        under_test, refused = packer(tmp_path), []

        def hand_in(packer: _native.NativePacker = under_test, refused: list[str] = refused) -> None:
            for key in range(100_000):
                try:
                    packer.submit(key, [0.0], "a", payload)
                    packer.done(), packer.failures()
                except UsageError as error:
                    refused.append(str(error))
                    return

        threads = [threading.Thread(target=hand_in) for _ in range(2)]
        for thread in threads:
            thread.start()
        time.sleep(turn % 8 / 1000)
        under_test.__exit__()
        for thread in threads:
            thread.join()
        assert refused == ["this packer has been closed"] * 2


def test_a_packer_closed_by_its_own_converter(tmp_path: pathlib.Path) -> None:
    found: list[str] = []

    def convert(payload: bytes) -> None:
        try:
            under_test.__exit__()
        except UsageError as error:
            found.append(str(error))

    under_test = packer(tmp_path, convert)
    under_test.submit(0, [0.0], "a", b"BM of another kind")
    while not under_test.finish(0.1):
        pass
    assert found == ["a packer cannot be closed by its own converter"]
    with pytest.raises(UsageError, match="no picture after finish"):
        under_test.submit(1, [0.0], "b", b"BM")
    under_test.__exit__()


@pytest.mark.parametrize("shape", [(4, 4, 2), (4, 4, 5), (4,), (1, 4, 4, 3)])
def test_pixels_of_a_shape_that_no_image_has(tmp_path: pathlib.Path, shape: tuple[int, ...]) -> None:
    with packer(tmp_path) as under_test, pytest.raises(UsageError, match="expected an image of shape"):
        under_test.submit(0, [0.0], "a", np.zeros(shape, np.uint8))


def test_bytes_that_change_while_they_are_decoded(tmp_path: pathlib.Path) -> None:
    """Another thread writes into them: what was there when the call began is decoded, or is an error."""
    payload = bytearray(encode(picture(64, 64)))
    whole = bytes(payload)
    expected = EVAL(whole)
    ends = threading.Event()

    def scribble() -> None:
        while not ends.is_set():
            payload[200:] = bytes(len(payload) - 200)
            payload[200:] = whole[200:]

    thread = threading.Thread(target=scribble)
    thread.start()
    view = memoryview(payload)
    try:
        for _ in range(200):
            with contextlib.suppress(ImageError):
                EVAL(view)
    finally:
        ends.set()
        thread.join()
    np.testing.assert_array_equal(EVAL(bytes(payload)), expected)


def test_no_epoch_is_taken_for_the_end_of_another(tmp_path: pathlib.Path) -> None:
    path = write_records(tmp_path / "a.rec", [encode(picture(8, 8, i)) for i in range(6)])
    loader = Loader(path, 2, EVAL)
    with pytest.raises(UsageError, match="a loader runs one epoch at a time"):
        list(zip(loader, loader))
    for number, _batch in enumerate(loader):
        assert number == 0
        with pytest.raises(UsageError, match="ended before its last batch"):
            for _other in loader:
                raise_of = iter(loader)
                next(raise_of)
        break
