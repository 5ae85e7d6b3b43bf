"""The loader for a long time: memory, threads and descriptors stay what they were after the start.

Each measurement runs in a process of its own, so that nothing but the loader is in its figures; -s prints them.
"""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
from collections.abc import Mapping

import pytest

from tests.support.pictures import encode, picture, write_records

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

# What each program begins with. A measurement is of resident memory in MiB, threads and descriptors. Of what is
# freed, malloc keeps a few MiB in the arenas of the threads that happened to free it. Where loaders come and go,
# there is one arena (ONE_ARENA), and it is given back to the system before it is measured (trim).
ONE_ARENA = {"MALLOC_ARENA_MAX": "1"}
PRELUDE = """
import ctypes, gc, os, sys, time
from gluon_resnet.data import EvalTransform, Loader, RecordFile, TrainTransform

PAGE = os.sysconf("SC_PAGESIZE") / 2**20

def measure(trim=False):
    gc.collect()
    for _ in range(100):  # a worker that has nothing left to do ends by itself
        threads = len(os.listdir("/proc/self/task"))
        if threads == 1:
            break
        time.sleep(0.01)
    if trim:
        ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/statm") as statm:
        memory = int(statm.read().split()[1]) * PAGE
    return memory, threads, len(os.listdir("/proc/self/fd"))

def compare(what, start, end):
    print(f"{what}: memory {start[0]:.1f} -> {end[0]:.1f} MiB ({end[0] / start[0] - 1:+.2%}),"
          f" threads {start[1]} -> {end[1]}, descriptors {start[2]} -> {end[2]}")
    assert end[0] <= start[0] * 1.02, "memory grows"
    assert end[1:] == start[1:], "threads or descriptors are left"

def lowest(times, run):
    # Python's own allocator, too, gives back more or less of what is free: a leak raises the lowest as well.
    results = []
    for _ in range(times):
        run()
        results.append(measure(trim=True))
    return min(results)

path = sys.argv[1]
PAD = TrainTransform(size=32, crop="pad")
"""


def soak(program: str, path: str, settings: Mapping[str, str] = ONE_ARENA) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + program, path],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **settings},
        check=False,
    )
    print(done.stdout, end="")
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def small_images(tmp_path_factory: pytest.TempPathFactory) -> str:
    """20,000 records of 200 JPEGs of 32x32."""
    jpegs = [encode(picture(32, 32, seed)) for seed in range(200)]
    return write_records(tmp_path_factory.mktemp("soak") / "small.rec", jpegs * 100)


@pytest.fixture(scope="module")
def damaged_images(tmp_path_factory: pytest.TempPathFactory) -> str:
    """1,000 records of 32x32, every tenth of them bad in one of three ways."""
    payloads = [encode(picture(32, 32, seed)) for seed in range(1000)]
    for i in range(0, 1000, 10):
        payloads[i] = (payloads[i][:300], b"", b"GIF89a")[i // 10 % 3]
    return write_records(tmp_path_factory.mktemp("soak") / "damaged.rec", payloads)


def test_a_million_images_through_one_loader(small_images: str) -> None:
    soak(
        """
loader = Loader(path, 256, PAD, shuffle=True, threads=2)
for batch in loader:
    time.sleep(0.01)  # until every batch that may be under way or held is
    before = batch
del batch, before
start = measure()
images = 0
for epoch in range(50):
    for batch in loader:
        images += len(batch) - batch.pad
    del batch
assert images == 1_000_000
compare(f"{images:,} images", start, measure())
""",
        small_images,
        settings={},
    )


def test_a_thousand_loaders_opened_used_and_closed(small_images: str) -> None:
    soak(
        """
for i in range(1100):
    loader = Loader(path, 64, PAD, shuffle=True, seed=i, threads=1 + i % 8)
    for batch in loader:
        break
    del loader, batch
    if i == 99:
        start = measure(trim=True)
compare("1,000 loaders", start, measure(trim=True))
""",
        small_images,
    )


def test_bad_records_cost_no_memory(damaged_images: str) -> None:
    """`stats().skipped` lists those of one epoch, and so it does not grow."""
    soak(
        """
def run(epochs):
    loader = Loader(path, 50, PAD, shuffle=True, threads=4, on_error="skip")
    for _ in range(epochs):
        for batch in loader:
            pass
    assert len(loader.stats().skipped) == 100
    return loader

start = lowest(5, lambda: run(20))
end = lowest(20, lambda: run(20))
compare("400 epochs with 100 bad records of 1,000, 20 loaders", start, end)
compare("300 epochs of one loader", start, lowest(1, lambda: run(300)))
""",
        damaged_images,
    )


def test_errors_raised_to_the_consumer_leak_nothing(damaged_images: str) -> None:
    soak(
        """
from gluon_resnet.errors import DataError

def run(epochs):
    errors = 0
    loader = Loader(path, 5, PAD, shuffle=True, threads=4)
    for _ in range(epochs):
        batches = iter(loader)
        while True:
            try:
                next(batches)
            except StopIteration:
                break
            except DataError:
                errors += 1
    return errors

run(30)
start = measure(trim=True)
errors = run(100)
compare(f"{errors:,} errors raised", start, measure(trim=True))
""",
        damaged_images,
    )


def test_record_files_opened_and_closed(damaged_images: str, tmp_path: pathlib.Path) -> None:
    """With an index, by a scan, and files that are refused."""
    broken = tmp_path / "broken.rec"
    broken.write_bytes(pathlib.Path(damaged_images).read_bytes()[:-3])
    soak(
        f"""
from gluon_resnet.errors import DataError

def run(times):
    for i in range(times):
        if i % 10 == 0:
            try:
                RecordFile({str(broken)!r})
            except DataError:
                continue
            raise AssertionError("a cut file is refused")
        file = RecordFile(path)
        file[i % len(file)]

run(100)
start = measure()
run(10_000)
compare("10,000 record files", start, measure())
""",
        damaged_images,
    )


def test_batches_that_are_kept_and_dropped(small_images: str) -> None:
    """The pool grows with what the consumer keeps, and gives it back when it is dropped."""
    soak(
        """
import numpy as np

most = 0

def run():
    global most
    loader = Loader(path, 100, PAD, shuffle=True, threads=2)
    kept = list(loader)
    arrays = [np.from_dlpack(batch)[:1] for batch in kept]
    most = max(most, measure()[0])
    del kept
    arrays.clear()

start = lowest(3, run)
end = lowest(6, run)
assert most > start[0] + 200 * 100 * 32 * 32 * 3 * 4 / 2**20 * 0.9, "the batches were kept"
print(f"with an epoch's batches kept: {most:.1f} MiB")
compare("6 epochs of kept batches", start, end)
""",
        small_images,
    )
