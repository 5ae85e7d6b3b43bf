"""loader.stats(): times that add up, the side that is the bottleneck, and the records that were not whole."""

from __future__ import annotations

import gc
import io
import multiprocessing
import pathlib
import time

import numpy as np
import pytest
from PIL import Image, ImageFile

from gluon_resnet.data import EvalTransform, Loader, LoaderStats, RecordFile, TrainTransform
from gluon_resnet.errors import ImageError
from tests.support.pictures import encode, picture, write_records

EVAL = EvalTransform(resize=40, size=32)


def shares(stats: LoaderStats) -> float:
    """The part of the workers' time that is accounted for."""
    spent = stats.reading + stats.decoding + stats.augmenting + stats.waiting
    return spent / (stats.threads * stats.seconds)


def test_before_the_first_epoch_there_is_nothing_to_tell(record_path: str) -> None:
    stats = Loader(record_path, 4, EVAL).stats()
    assert (stats.images, stats.batches, stats.seconds, stats.skipped, stats.partial) == (0, 0, 0, (), ())
    assert (stats.images_per_second, stats.bottleneck, stats.cached) == (0, None, None)
    assert str(stats).startswith("0 images/s; workers: 0 % reading")


@pytest.mark.parametrize("threads", [1, 8])
def test_times_add_up(tmp_path: pathlib.Path, photographs: list[bytes], threads: int) -> None:
    path = write_records(tmp_path / "a.rec", photographs * 20)
    loader = Loader(path, 7, TrainTransform(size=64), threads=threads)
    for number, batch in enumerate(loader, 1):
        stats = loader.stats()
        assert stats.batches == number
        assert stats.images == 7 * number - batch.pad
        assert 0 < shares(stats) <= 1
    stats = loader.stats()
    assert stats.images == 460
    assert stats.threads == threads
    assert min(stats.reading, stats.decoding, stats.augmenting) > 0
    assert 0 < shares(stats) <= 1
    assert stats.consumer_waiting <= stats.seconds
    assert stats.images_per_second == pytest.approx(460 / stats.seconds)
    time.sleep(0.05)
    assert loader.stats() == stats  # between epochs nothing goes on


def test_an_epoch_has_its_own_figures(record_path: str) -> None:
    loader = Loader(record_path, 4, EVAL)
    list(loader)
    next(iter(loader))
    assert (loader.stats().batches, loader.stats().images) == (1, 4)
    for batch in loader:
        del batch
        break
    loader.set_epoch(7)
    gc.collect()
    first, second = loader.stats(), loader.stats()
    assert first.batches == 1
    assert first == second  # the epoch ended when nobody had it any more


@pytest.mark.parametrize("prefetch", [1, 3])
def test_a_slow_consumer_is_the_bottleneck(record_path: str, prefetch: int) -> None:
    loader = Loader(record_path, 4, EVAL, threads=2, prefetch=prefetch)
    for _ in loader:
        time.sleep(0.1)
    stats = loader.stats()
    assert stats.bottleneck == "consumer"
    assert stats.waiting > 5 * (stats.reading + stats.decoding + stats.augmenting)
    assert stats.worker_wait_share > stats.consumer_wait_share
    assert "the consumer is the bottleneck" in str(stats)


def test_slow_workers_are_the_bottleneck(tmp_path: pathlib.Path) -> None:
    path = write_records(tmp_path / "a.rec", [encode(picture(900, 900))] * 24)
    loader = Loader(path, 8, EVAL, threads=1)
    for _ in loader:
        pass
    stats = loader.stats()
    assert stats.bottleneck == "loader"
    assert stats.consumer_wait_share > 0.5
    assert stats.decoding > max(stats.reading, stats.augmenting)
    assert "the loader is the bottleneck, decoding most of all" in str(stats)


def test_a_line_says_all_that_matters() -> None:
    stats = LoaderStats(
        images=16430, batches=257, threads=2, seconds=10, reading=0.4, decoding=14.2, augmenting=3.6, waiting=1.8,
        consumer_waiting=0.3, cached=1234, records=20000,
    )  # fmt: skip
    assert str(stats) == (
        "1,643 images/s; workers: 2 % reading, 71 % decoding, 18 % augmenting, 9 % waiting for the consumer; "
        "the consumer waited 3 % of the time: neither side is a bottleneck; 1,234 of 20,000 records are in the cache"
    )


def stats_in_child(loader: Loader, queue: multiprocessing.Queue) -> None:
    queue.put(loader.stats())
    list(loader)
    queue.put(loader.stats())


def test_a_forked_child_has_its_own_figures(record_path: str) -> None:
    loader = Loader(record_path, 4, EVAL, threads=2)
    epoch = iter(loader)
    next(epoch)
    fork = multiprocessing.get_context("fork")
    queue = fork.Queue()
    child = fork.Process(target=stats_in_child, args=(loader, queue))
    child.start()
    assert queue.get(timeout=600).images == 0
    assert queue.get(timeout=600).images == 23
    child.join(600)
    list(epoch)
    assert loader.stats().images == 23


@pytest.mark.parametrize("threads", [1, 8])
def test_skipped_records_are_those_of_one_epoch(
    tmp_path: pathlib.Path, photographs: list[bytes], threads: int
) -> None:
    payloads = list(photographs)
    payloads[2], payloads[21] = b"GIF89a", b""
    path = write_records(tmp_path / "a.rec", payloads)
    loader = Loader(path, 5, EVAL, threads=threads, on_error="skip", shuffle=True)
    offsets = RecordFile(path)
    for epoch in range(3):
        assert sum(len(batch) - batch.pad for batch in loader) == 21
        stats = loader.stats()
        assert stats.images == 21
        assert stats.partial == ()
        assert sorted((r.epoch, r.path, r.key, r.offset) for r in stats.skipped) == [
            (epoch, path, key, offsets.offset(key)) for key in (2, 21)
        ]
        assert all(
            f"{path}: record with key {r.key} at offset {r.offset}: " in r.reason for r in stats.skipped
        )
        assert str(stats).endswith("; 2 skipped")


def pillow(data: bytes) -> np.ndarray:
    """RGB, as far as the data goes."""
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = False


@pytest.mark.parametrize("threads", [1, 8])
@pytest.mark.parametrize("last_batch", ["pad", "keep"])
def test_a_truncated_jpeg_is_raised_skipped_or_decoded_as_far_as_it_goes(
    tmp_path: pathlib.Path, photographs: list[bytes], threads: int, last_batch: str
) -> None:
    whole = encode(picture(96, 96))
    data = whole[: 2 * len(whole) // 3]
    path = write_records(tmp_path / "a.rec", [*photographs[:4], data, *photographs[4:6]])
    offset = RecordFile(path).offset(4)
    options = {"threads": threads, "last_batch": last_batch, "dtype": "uint8"}
    transform = EvalTransform(None, 32)

    loader = Loader(path, 5, transform, **options)
    epoch = iter(loader)
    with pytest.raises(ImageError, match="key 4 .*Premature end"):
        next(epoch)
    assert len(list(epoch)) == 1
    assert (loader.stats().skipped, loader.stats().partial) == ((), ())

    loader = Loader(path, 5, transform, on_error="skip", **options)
    assert sum((b.ids[: len(b) - b.pad].tolist() for b in loader), []) == [0, 1, 2, 3, 5, 6]
    assert [r.key for r in loader.stats().skipped] == [4]
    assert loader.stats().partial == ()

    loader = Loader(path, 5, transform, on_error="partial", **options)
    batches = list(loader)
    assert sum((b.ids[: len(b) - b.pad].tolist() for b in batches), []) == list(range(7))
    (bad,) = loader.stats().partial
    assert bad[:4] == (0, path, 4, offset)
    assert f"{path}: record with key 4 at offset {offset}: its data ends early" in bad.reason
    assert loader.stats().skipped == ()
    assert str(loader.stats()).endswith("; 1 decoded in part")
    # Chroma is interpolated from the rows below, so that the last two in front of the cut may differ.
    theirs = pillow(data)
    first_lost = int(np.argmax((theirs != pillow(whole)).any(axis=(1, 2))))
    sure = slice(32, first_lost - 2)  # of the centre
    assert 36 < sure.stop < 62
    ours = batches[0].data[4].transpose(1, 2, 0)
    np.testing.assert_array_equal(ours[: sure.stop - 32], theirs[sure, 32:64])


def test_what_the_crop_does_not_need_may_be_missing(tmp_path: pathlib.Path) -> None:
    """The data ends behind the crop: no error, and nothing to list."""
    whole = encode(picture(96, 96))
    path = write_records(tmp_path / "a.rec", [whole[:-40], whole])
    for on_error in ("raise", "partial"):
        loader = Loader(path, 2, EvalTransform(None, 32), on_error=on_error)
        (batch,) = loader
        np.testing.assert_array_equal(batch.data[0], batch.data[1])
        assert loader.stats().partial == ()


def test_corrupt_images_raise_under_partial_and_are_not_listed(tmp_path: pathlib.Path) -> None:
    path = write_records(tmp_path / "a.rec", [encode(picture(40, 40)), b"GIF89a"])
    loader = Loader(path, 2, EVAL, on_error="partial")
    with pytest.raises(ImageError, match="key 1"):
        list(loader)
    assert (loader.stats().skipped, loader.stats().partial) == ((), ())
