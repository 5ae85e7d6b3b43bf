"""The cache of decoded images: the same bytes as without it, whatever fits, in any process."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pathlib
import resource
import subprocess
import sys

import numpy as np
import pytest

from gluon_resnet.data import ColorJitter, EvalTransform, Loader, TrainTransform
from gluon_resnet.data.memory import _left_to_groups, available_memory
from gluon_resnet.errors import ImageError, RecordError, UsageError
from tests.support.pictures import encode, picture, write_records

TRANSFORMS = {
    "center": EvalTransform(resize=40, size=32),
    "random-resized": TrainTransform(size=32, color=ColorJitter(0.4, 0.4, 0.4, 0.1)),
    "scale-jitter": TrainTransform(size=32, crop="scale-jitter", scale=(40, 60)),
    "pad": TrainTransform(size=64, crop="pad", padding=8, fill=(1, 2, 3)),
    "cubic": TrainTransform(size=32, interpolation="cubic"),
}


def contents(loader: Loader) -> list[tuple]:
    return [(b.data.tobytes(), b.label.tolist(), b.ids.tolist(), b.pad) for b in loader]


@pytest.mark.parametrize("threads", [1, 8])
@pytest.mark.parametrize("crop", TRANSFORMS)
def test_batches_are_the_same_bytes_as_without(record_path: str, crop: str, threads: int) -> None:
    options = {"shuffle": True, "seed": 3, "threads": threads}
    plain = Loader(record_path, 5, TRANSFORMS[crop], **options)
    cached = Loader(record_path, 5, TRANSFORMS[crop], cache="decoded", cache_size=8, **options)
    for epoch in range(3):
        assert contents(cached) == contents(plain)
        stats = cached.stats()
        assert stats.cached == 23
        assert (stats.reading == 0) == (stats.decoding == 0) == (epoch > 0)
        assert "23 of 23 records are in the cache" in str(stats)


@pytest.mark.parametrize("threads", [1, 8])
def test_what_does_not_fit_is_decoded_again(tmp_path: pathlib.Path, threads: int) -> None:
    """1 MiB has room for five images of 262 x 262, and then for smaller ones."""
    payloads = [encode(picture(262, 262, i)) for i in range(8)] + [
        encode(picture(50, 50, i)) for i in range(3)
    ]
    path = write_records(tmp_path / "a.rec", payloads)
    transform = TRANSFORMS["random-resized"]
    plain = Loader(path, 4, transform, threads=threads)
    cached = Loader(path, 4, transform, threads=threads, cache="decoded", cache_size=1)
    for _ in range(3):
        assert contents(cached) == contents(plain)
        assert cached.stats().cached == 5 + 2
        assert cached.stats().decoding > 0
    assert "7 of 11 records are in the cache" in str(cached.stats())


def test_a_cached_record_is_not_read_again(record_path: str) -> None:
    loader = Loader(record_path, 5, TRANSFORMS["center"], cache="decoded", cache_size=8)
    before = contents(loader)
    os.truncate(record_path, 0)
    assert contents(loader) == before
    with pytest.raises(RecordError):
        list(Loader(record_path, 5, TRANSFORMS["center"]))


def test_several_labels_are_kept(tmp_path: pathlib.Path, photographs: list[bytes]) -> None:
    labels = [[float(i), i / 3, -1e30, 1e-30, float(-i)] for i in range(23)]
    path = write_records(tmp_path / "a.rec", photographs, labels)
    loader = Loader(path, 23, TRANSFORMS["center"], cache="decoded", cache_size=8)
    (first,), (second,) = loader, loader
    np.testing.assert_array_equal(first.label, np.float32(labels))
    np.testing.assert_array_equal(second.label, first.label)


def test_ranks_and_skipped_epochs(record_path: str) -> None:
    for rank in range(3):
        options = {"shuffle": True, "seed": 2, "rank": rank, "world_size": 3, "threads": 2}
        plain = Loader(record_path, 3, TRANSFORMS["random-resized"], **options)
        cached = Loader(
            record_path, 3, TRANSFORMS["random-resized"], cache="decoded", cache_size=8, **options
        )
        for epoch in (0, 5, 1, 9):
            plain.set_epoch(epoch)
            cached.set_epoch(epoch)
            assert contents(cached) == contents(plain)
        next(iter(cached))  # leave one early
        assert contents(cached) == (plain.set_epoch(11), contents(plain))[1]


@pytest.mark.parametrize("on_error", ["raise", "skip", "partial"])
@pytest.mark.parametrize("threads", [1, 8])
def test_bad_records_are_what_they_are_without(
    tmp_path: pathlib.Path, photographs: list[bytes], on_error: str, threads: int
) -> None:
    payloads = list(photographs)
    payloads[3] = payloads[3][: len(payloads[3]) // 2]
    payloads[4] = payloads[4][:-9]  # only crops at the bottom need what is missing
    payloads[8] = b"GIF89a" if on_error != "partial" else payloads[8]
    path = write_records(tmp_path / "a.rec", payloads)

    def told(loader: Loader) -> list:
        result: list = []
        epoch = iter(loader)
        while True:
            try:
                batch = next(epoch)
            except StopIteration:
                break
            except ImageError as error:
                result.append(str(error))
            else:
                result.append((batch.data.tobytes(), batch.ids.tolist(), batch.pad))
        stats = loader.stats()
        return [*result, sorted(stats.skipped), sorted(stats.partial)]

    transform = TrainTransform(size=16, area=(0.05, 0.2))
    plain = Loader(path, 5, transform, on_error=on_error, threads=threads)
    cached = Loader(path, 5, transform, on_error=on_error, threads=threads, cache="decoded", cache_size=8)
    bad = 3 if on_error != "partial" else 2
    for _ in range(6):
        assert told(cached) == told(plain)
        assert cached.stats().cached == 23 - bad


MEMORY = """
import gc
from gluon_resnet.data import Loader, TrainTransform

def resident():
    with open("/proc/self/statm") as stream:
        return int(stream.read().split()[1]) * 4096

transform = TrainTransform(size=8, crop="pad", padding=0)
list(Loader({path!r}, 4, TrainTransform(size=8), threads=1))
before = resident()
for _ in range(3):
    loader = Loader({path!r}, 4, TrainTransform(size=8), threads=1, cache="decoded", cache_size=100)
    list(loader)
    assert loader.stats().cached == 24
    full = resident()
    del loader
    gc.collect()
print(full - before, resident() - before)
"""


def test_memory_comes_as_it_fills_and_goes_with_the_loader(tmp_path: pathlib.Path) -> None:
    path = write_records(tmp_path / "a.rec", [encode(picture(1000, 1000))] * 24)
    code = MEMORY.format(path=path)
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=600
    )
    assert run.returncode == 0, run.stderr
    full, after = map(int, run.stdout.split())
    images = 24 * 3_000_000
    assert images < full < images + (24 << 20)
    assert after < 16 << 20


def test_an_epoch_outlives_its_loader_with_the_cache(record_path: str) -> None:
    loader = Loader(record_path, 5, TRANSFORMS["center"], cache="decoded", cache_size=8)
    expected = contents(loader)
    epoch = iter(loader)
    del loader
    gc.collect()
    assert [(b.data.tobytes(), b.label.tolist(), b.ids.tolist(), b.pad) for b in epoch] == expected


def load_in_child(loader: Loader, queue: multiprocessing.Queue) -> None:
    queue.put((loader.stats().cached, contents(loader), loader.stats().cached, loader.stats().reading))


def test_forked_children_use_what_is_kept_and_keep_the_rest(record_path: str) -> None:
    plain = Loader(record_path, 2, TRANSFORMS["random-resized"], shuffle=True)
    loader = Loader(
        record_path, 2, TRANSFORMS["random-resized"], shuffle=True, threads=4, cache="decoded", cache_size=8
    )
    first, second = contents(plain), contents(plain)
    fork = multiprocessing.get_context("fork")
    queue = fork.Queue()
    for epoch, begin in ((first, 1), (second, 23)):
        loader.set_epoch(0 if begin == 1 else 1)
        running = iter(loader)  # workers are busy while the child is made
        child = fork.Process(target=load_in_child, args=(_at(loader, epoch is second), queue))
        child.start()
        before, found, after, reading = queue.get(timeout=600)
        child.join(600)
        assert child.exitcode == 0
        assert found == epoch
        assert after >= 23 - 4  # but for what the parent's four workers had in hand at the fork
        list(running)
        assert loader.stats().cached == 23
        if begin == 23:
            assert before == after == 23
            assert reading == 0


def _at(loader: Loader, second: bool) -> Loader:
    loader._next_epoch = int(second)  # the child begins the epoch that runs in the parent
    return loader


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"cache": "encoded"}, "cache: expected one of decoded, found 'encoded'"),
        ({"cache": "decoded", "cache_size": 0}, "cache_size: expected a whole number from 1"),
        ({"cache_size": 10}, "cache_size: given without a cache; add cache='decoded'"),
        (
            {"cache": "decoded", "fast": True},
            "cache: fast=True decodes an image at the scale of each epoch's crop",
        ),
    ],
)
def test_bad_arguments(record_path: str, options: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Loader(record_path, 4, TRANSFORMS["center"], **options)


def test_addresses_that_are_not_to_be_had(record_path: str) -> None:
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (64 << 30, limits[1]))
    try:
        with pytest.raises(
            MemoryError, match="cache_size: cannot reserve 65536 MiB of addresses: Cannot allocate"
        ):
            Loader(record_path, 4, TRANSFORMS["center"], cache="decoded", cache_size=64 << 10)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
    Loader(record_path, 4, TRANSFORMS["center"], cache="decoded")  # the default is to be had


def write_group(folder: pathlib.Path, files: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)


def test_limits_of_control_groups_count(tmp_path: pathlib.Path) -> None:
    """Version 2, with limits on a group and on the one that it is in; version 1, seen from inside a container."""
    listing = tmp_path / "cgroup"
    new = tmp_path / "new"
    listing.write_text("0::/a/b/c\n")
    write_group(
        new / "a", {"memory.max": "1000", "memory.current": "900", "memory.stat": "inactive_file 50\n"}
    )
    write_group(new / "a/b", {"memory.max": "800", "memory.current": "1", "memory.stat": "inactive_file 0\n"})
    write_group(new / "a/b/c", {"memory.max": "max", "memory.current": "1"})
    assert _left_to_groups(str(listing), str(new)) == [799, 150]
    old = tmp_path / "old"
    listing.write_text("9:cpu,cpuacct:/x\n4:memory:/docker/abc\n0::/\n")
    write_group(
        old / "memory",
        {
            "memory.limit_in_bytes": "500",
            "memory.usage_in_bytes": "400",
            "memory.stat": "total_inactive_file 7\n",
        },
    )
    assert _left_to_groups(str(listing), str(old)) == [107]
    assert _left_to_groups(str(tmp_path / "none"), str(old)) == []
    assert available_memory() > 0
