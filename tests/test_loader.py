"""The loader: order, ranks, determinism, states, errors, lifetimes."""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import pathlib
import threading
import time
import weakref

import numpy as np
import oracle
import pytest
from conftest import encode, picture, write_records
from hypothesis import given, settings
from hypothesis import strategies as st

from gluon_resnet.data import ColourJitter, EvalTransform, Loader, RecordFile, TrainTransform
from gluon_resnet.errors import ImageError, RecordError, UsageError

EVAL = EvalTransform(resize=40, size=32)
TRAIN = TrainTransform(size=32, colour=ColourJitter(0.4, 0.4, 0.4, 0.1))


def ids(loader: Loader) -> list[list[int]]:
    """The real ids of each batch of one epoch."""
    return [batch.ids[: len(batch) - batch.pad].tolist() for batch in loader]


def contents(batches: object) -> list[tuple]:
    return [(b.data.tobytes(), b.label.tolist(), b.ids.tolist(), b.pad) for b in batches]  # type: ignore[attr-defined]


def test_batches_hold_the_transformed_records(record_path: str, photographs: list[bytes]) -> None:
    loader = Loader(record_path, 8, EVAL)
    batches = list(loader)  # more than the loader has slots of its own
    assert len(loader) == len(batches) == 3
    assert [batch.pad for batch in batches] == [0, 0, 1]
    images = np.concatenate([batch.data for batch in batches])[:23]
    for image, payload in zip(images, photographs):
        np.testing.assert_array_equal(image, EVAL(payload))
        theirs = oracle.evaluate(oracle.decode(payload), 40, 32).transpose(2, 0, 1)
        assert np.abs(image - theirs).max() <= 2
    label = np.concatenate([batch.label for batch in batches])
    assert label.dtype == np.float32
    assert label[:23].tolist() == list(range(23))
    assert ids(loader) == [list(range(8)), list(range(8, 16)), list(range(16, 23))]


@pytest.mark.parametrize(
    ("dtype", "layout"), [(d, y) for d in ("uint8", "float16", "float32") for y in ("NCHW", "NHWC")]
)
def test_dtypes_and_layouts(record_path: str, photographs: list[bytes], dtype: str, layout: str) -> None:
    batch = next(iter(Loader(record_path, 23, TRAIN, dtype=dtype, layout=layout, seed=3)))
    assert batch.data.dtype == np.dtype(dtype)
    assert batch.data.shape == ((23, 3, 32, 32) if layout == "NCHW" else (23, 32, 32, 3))
    assert batch.data.flags.c_contiguous
    assert batch.data.flags.writeable
    for record in (0, 11, 22):
        one = TRAIN(photographs[record], seed=3, record=record, dtype=dtype, layout=layout)
        np.testing.assert_array_equal(batch.data[record], one)


@pytest.mark.parametrize("batch_size", [1, 7, 23, 64])
def test_the_same_bytes_for_any_number_of_threads(record_path: str, batch_size: int) -> None:
    loaders = [Loader(record_path, batch_size, TRAIN, shuffle=True, seed=5, threads=n) for n in (1, 2, 8)]
    for _ in range(3):
        first, *others = [contents(loader) for loader in loaders]
        assert all(other == first for other in others)


def test_a_record_looks_the_same_in_any_batch_on_any_rank(record_path: str) -> None:
    def images(loader: Loader) -> dict[int, bytes]:
        return {int(i): image.tobytes() for batch in loader for i, image in zip(batch.ids, batch.data)}

    whole = images(Loader(record_path, 23, TRAIN, shuffle=True, seed=1))
    assert len(whole) == 23
    assert images(Loader(record_path, 4, TRAIN, shuffle=True, seed=1)) == whole
    parts: dict[int, bytes] = {}
    for rank in range(3):
        parts.update(images(Loader(record_path, 2, TRAIN, shuffle=True, seed=1, rank=rank, world_size=3)))
    assert parts == whole
    assert images(Loader(record_path, 23, TRAIN, shuffle=True, seed=2)) != whole


def test_real_images_load_with_equal_bytes_at_1_and_8_threads(
    tmp_path: pathlib.Path, imagenet_images: list[tuple[str, bytes]]
) -> None:
    path = write_records(tmp_path / "a.rec", [payload for _, payload in imagenet_images])
    one, eight = (
        Loader(path, 64, TrainTransform(), shuffle=True, threads=n, dtype="uint8", last_batch="keep")
        for n in (1, 8)
    )
    count = 0
    for a, b in zip(one, eight):
        assert a.data.tobytes() == b.data.tobytes()
        assert a.ids.tolist() == b.ids.tolist()
        count += len(a)
    assert count == 691


def test_epochs_are_shuffled_globally_over_files(tmp_path: pathlib.Path) -> None:
    payload = encode(picture(8, 8))
    files = [
        write_records(tmp_path / f"{n}.rec", [payload] * n, [100 * n + i for i in range(n)])
        for n in (5, 40, 1)
    ]
    loader = Loader(files, 10, EvalTransform(None, 8), shuffle=True, seed=9, last_batch="keep")
    assert loader.num_records == 46
    every = sorted([500 + i for i in range(5)] + [4000 + i for i in range(40)] + [100])
    epochs = [np.concatenate([batch.label.copy() for batch in loader]).astype(int).tolist() for _ in range(3)]
    assert all(sorted(epoch) == every for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert epochs[0] != every
    loader.set_epoch(1)
    assert np.concatenate([batch.label.copy() for batch in loader]).astype(int).tolist() == epochs[1]


@settings(max_examples=80, deadline=None)
@given(
    records=st.integers(1, 60),
    batch_size=st.integers(1, 9),
    world_size=st.integers(1, 5),
    last_batch=st.sampled_from(["pad", "keep", "discard"]),
    shuffle=st.booleans(),
)
def test_ranks_share_an_epoch(
    tmp_path_factory: pytest.TempPathFactory,
    records: int,
    batch_size: int,
    world_size: int,
    last_batch: str,
    shuffle: bool,
) -> None:
    path = tmp_path_factory.mktemp("ranks") / "a.rec"
    write_records(path, [encode(picture(2, 2), ".png")] * records)
    options = {"shuffle": shuffle, "seed": 4, "last_batch": last_batch, "threads": 2}
    transform = EvalTransform(None, 2)
    whole_batch = batch_size * world_size
    if last_batch == "discard" and records < whole_batch:
        with pytest.raises(UsageError, match=f"{records} records do not fill one batch of {batch_size}"):
            Loader(path, batch_size, transform, world_size=world_size, **options)
        return
    ranks = [
        ids(Loader(path, batch_size, transform, rank=rank, world_size=world_size, **options))
        for rank in range(world_size)
    ]
    assert len({len(batches) for batches in ranks}) == 1  # every rank has as many batches
    joined = [[i for batch in step for i in batch] for step in zip(*ranks)]
    assert joined == ids(
        Loader(path, whole_batch, transform, **options)
    )  # and the order is that of one process
    seen = sorted(i for step in joined for i in step)
    if last_batch == "discard":
        assert len(seen) == len(set(seen)) == records // whole_batch * whole_batch
    else:
        assert seen == list(range(records))


def test_every_position_is_equally_likely(tmp_path: pathlib.Path) -> None:
    """The keyed permutation is a fair shuffle: chi-squared of (record, position) over 3,000 epochs."""
    path = write_records(tmp_path / "a.rec", [encode(picture(1, 1), ".png")] * 7)
    loader = Loader(path, 7, EvalTransform(None, 1), shuffle=True, threads=1)
    counts = np.zeros((7, 7))
    for _ in range(3000):
        (batch,) = loader
        counts[np.arange(7), batch.ids.astype(int)] += 1
    expected = 3000 / 7
    assert ((counts - expected) ** 2 / expected).sum() < 73  # 36 degrees of freedom: p = 0.0003


@pytest.mark.parametrize("stop", [0, 1, 3, 6])
def test_a_state_goes_on_with_the_same_batches(record_path: str, stop: int) -> None:
    def loader(threads: int) -> Loader:
        return Loader(record_path, 4, TRAIN, shuffle=True, seed=7, threads=threads)

    straight = loader(2)
    expected = [contents(straight) for _ in range(3)]
    interrupted = loader(1)
    list(interrupted)
    epoch = iter(interrupted)
    before = contents(next(epoch) for _ in range(stop))
    state = json.loads(json.dumps(interrupted.state_dict()))

    resumed = loader(8)
    resumed.load_state_dict(state)
    assert resumed.state_dict() == state or stop == 6
    after = contents(resumed) if stop < 6 else []
    assert before + after == expected[1]
    assert contents(resumed) == expected[2]


def test_a_state_of_another_loader_is_refused(record_path: str, tmp_path: pathlib.Path) -> None:
    state = Loader(record_path, 4, EVAL, seed=1).state_dict()
    with pytest.raises(UsageError, match="expected seed 2, found 1"):
        Loader(record_path, 4, EVAL, seed=2).load_state_dict(state)
    other = write_records(tmp_path / "b.rec", [encode(picture(8, 8))])
    with pytest.raises(UsageError, match="expected records 1, found 23"):
        Loader(other, 1, EVAL, seed=1).load_state_dict(state)


@pytest.fixture
def damaged(tmp_path: pathlib.Path, photographs: list[bytes]) -> str:
    """Records 3, 4 and 17 of 23 cannot be decoded."""
    payloads = list(photographs)
    payloads[3] = payloads[3][:200]
    payloads[4] = b"GIF89a"
    payloads[17] = b""
    return write_records(tmp_path / "damaged.rec", payloads)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("threads", [1, 8])
def test_a_bad_record_raises_with_its_place_and_one_may_go_on(damaged: str, threads: int) -> None:
    loader = Loader(damaged, 5, EVAL, threads=threads)
    epoch = iter(loader)
    with pytest.raises(ImageError, match="record with key 3 at offset .*: bad JPEG: Premature end") as caught:
        next(epoch)
    assert (caught.value.path, caught.value.key) == (damaged, 3)
    assert caught.value.offset == RecordFile(damaged).offset(3)
    assert next(epoch).ids.tolist() == [5, 6, 7, 8, 9]
    assert loader.state_dict()["batch"] == 2
    assert next(epoch).ids.tolist() == [10, 11, 12, 13, 14]
    with pytest.raises(ImageError, match="key 17 .*empty; convert it, or pack it anew with tools/im2rec.py"):
        next(epoch)
    assert next(epoch).pad == 2
    assert next(epoch, None) is None


@pytest.mark.parametrize("last_batch", ["pad", "keep"])
@pytest.mark.parametrize("threads", [1, 8])
def test_skipped_records_are_listed_and_become_padding(damaged: str, last_batch: str, threads: int) -> None:
    loader = Loader(damaged, 5, EVAL, threads=threads, last_batch=last_batch, on_error="skip")
    batches = list(loader)
    assert [b.ids[: len(b) - b.pad].tolist() for b in batches] == [
        [0, 1, 2],
        [5, 6, 7, 8, 9],
        [10, 11, 12, 13, 14],
        [15, 16, 18, 19],
        [20, 21, 22],
    ]
    assert [b.pad for b in batches] == ([2, 0, 0, 1, 2] if last_batch == "pad" else [0] * 5)
    assert all(np.array_equal(batches[0].data[i], EVAL(RecordFile(damaged)[i].payload)) for i in range(3))
    assert sorted((s.key, s.epoch, s.path) for s in loader.stats().skipped) == [
        (k, 0, damaged) for k in (3, 4, 17)
    ]
    assert "Premature end" in next(s.reason for s in loader.stats().skipped if s.key == 3)


def test_when_every_record_is_bad(tmp_path: pathlib.Path) -> None:
    path = write_records(tmp_path / "a.rec", [b"bad"] * 3)
    (batch,) = Loader(path, 4, EVAL, on_error="skip")
    assert batch.pad == len(batch) == 4
    assert not batch.data.any()
    (batch,) = Loader(path, 4, EVAL, on_error="skip", last_batch="keep")
    assert batch.data.shape == (0, 3, 32, 32)


def test_corrupt_records_in_a_good_file(record_path: str) -> None:
    offset = RecordFile(record_path).offset(9)
    with open(record_path, "r+b") as file:
        file.seek(offset)
        file.write(b"junk")
    with pytest.raises(
        RecordError, match=f"photographs.rec: at offset {offset}: expected the magic number"
    ) as caught:
        list(Loader(record_path, 5, EVAL))
    assert caught.value.key == 9
    loader = Loader(record_path, 5, EVAL, on_error="skip")
    assert sum(ids(loader), []) == [i for i in range(23) if i != 9]


def test_labels_of_several_numbers(tmp_path: pathlib.Path) -> None:
    payload = encode(picture(8, 8))
    path = write_records(tmp_path / "a.rec", [payload] * 3, [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    (batch,) = Loader(path, 3, EVAL)
    assert batch.label.tolist() == [[1, 2], [3, 4], [5, 6]]
    path = write_records(tmp_path / "b.rec", [payload] * 2, [[1.0, 2.0], 3.0])
    with pytest.raises(RecordError, match="expected 2 labels, as the first record has, found 1"):
        list(Loader(path, 2, EVAL))


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


def test_numpy_takes_a_batch_by_dlpack(record_path: str) -> None:
    for dtype in ("uint8", "float16", "float32"):
        (batch,) = Loader(record_path, 23, TRAIN, dtype=dtype)
        taken = np.from_dlpack(batch)
        assert taken.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(taken, batch.data)
        assert taken.ctypes.data == batch.data.ctypes.data


def threads_of_this_process() -> int:
    return len(os.listdir("/proc/self/task"))


@pytest.mark.timeout(60)
def test_nothing_leaks_when_an_epoch_is_left_early(record_path: str) -> None:
    gc.collect()
    threads, descriptors = threads_of_this_process(), len(os.listdir("/proc/self/fd"))
    for _ in range(100):
        loader = Loader(record_path, 3, TRAIN, threads=4, shuffle=True)
        for _batch in loader:
            break
        epoch = iter(loader)
        next(epoch)
        gone = weakref.ref(epoch)
        del epoch, loader
        assert gone() is None
    assert threads_of_this_process() == threads
    assert len(os.listdir("/proc/self/fd")) <= descriptors + 1  # the last loader's file


@pytest.mark.timeout(60)
def test_several_loaders_and_consumers_at_once(record_path: str) -> None:
    expected = contents(Loader(record_path, 4, TRAIN, shuffle=True))
    found: list = [None] * 6

    def consume(i: int) -> None:
        found[i] = contents(Loader(record_path, 4, TRAIN, shuffle=True, threads=2))

    consumers = [threading.Thread(target=consume, args=(i,)) for i in range(6)]
    for thread in consumers:
        thread.start()
    for thread in consumers:
        thread.join()
    assert all(one == expected for one in found)


def consume_in_child(loader: Loader, epoch: object, queue: multiprocessing.Queue) -> None:
    try:
        next(epoch)  # type: ignore[call-overload]
    except UsageError as error:
        queue.put(str(error))
    queue.put(sum(ids(loader), []))


@pytest.mark.timeout(60)
def test_a_forked_child_uses_the_loader(record_path: str) -> None:
    loader = Loader(record_path, 4, TRAIN, threads=2)
    epoch = iter(loader)
    next(epoch)
    queue = multiprocessing.get_context("fork").Queue()
    child = multiprocessing.get_context("fork").Process(target=consume_in_child, args=(loader, epoch, queue))
    child.start()
    assert "started in another process" in queue.get(timeout=30)
    assert queue.get(timeout=30) == list(range(23))
    child.join(30)
    assert child.exitcode == 0
    assert len(list(epoch)) == 5


@pytest.mark.timeout(60)
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


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch_size": 0}, "batch_size: expected a whole number from 1"),
        ({"threads": 0}, "threads"),
        ({"rank": 2, "world_size": 2}, "rank: expected a whole number from 0 to 1, found 2"),
        ({"last_batch": "drop"}, "last_batch: expected one of pad, discard, keep, found 'drop'"),
        ({"dtype": "float64"}, "dtype: expected one of uint8, float16, float32"),
        ({"layout": "HWC"}, "layout"),
        ({"on_error": "ignore"}, "on_error"),
        ({"seed": -1}, "seed"),
        ({"dtype": "uint8", "transform": EvalTransform(40, 32, mean=(1, 2, 3))}, "uint8 has no room"),
        ({"records": []}, "at least one record file"),
    ],
)
def test_bad_arguments(record_path: str, options: dict, words: str) -> None:
    arguments = {"records": record_path, "batch_size": 4, "transform": EVAL, **options}
    with pytest.raises(UsageError, match=words):
        Loader(**arguments)


def test_a_missing_and_an_empty_file(tmp_path: pathlib.Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere.rec"):
        Loader(tmp_path / "nowhere.rec", 4, EVAL)
    (tmp_path / "empty.rec").touch()
    with pytest.raises(RecordError, match="empty.rec: at offset 0: the file is empty"):
        Loader(tmp_path / "empty.rec", 4, EVAL)
