"""The loader: what batches hold, records that cannot be loaded, arguments."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest

from gluon_resnet.data import EvalTransform, Loader, RecordFile, TrainTransform
from gluon_resnet.errors import ImageError, RecordError, UsageError
from tests.support import oracle
from tests.support.batches import EVAL, TRAIN, contents, ids
from tests.support.pictures import encode, picture, write_records


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


@pytest.fixture
def damaged(tmp_path: pathlib.Path, photographs: list[bytes]) -> str:
    """Records 3, 4 and 17 of 23 cannot be decoded."""
    payloads = list(photographs)
    payloads[3] = payloads[3][:200]
    payloads[4] = b"GIF89a"
    payloads[17] = b""
    return write_records(tmp_path / "damaged.rec", payloads)


@pytest.mark.parametrize("threads", [1, 8])
def test_a_bad_record_raises_with_its_place_and_one_may_go_on(damaged: str, threads: int) -> None:
    loader = Loader(damaged, 5, EVAL, threads=threads)
    epoch = iter(loader)
    with pytest.raises(ImageError, match="record with key 3 at offset .*: bad JPEG: Premature end") as caught:
        next(epoch)
    assert (caught.value.path, caught.value.key) == (damaged, 3)
    assert caught.value.offset == RecordFile(damaged).offset(3)
    assert next(epoch).ids.tolist() == [5, 6, 7, 8, 9]
    assert loader.state_dict()["position"] == 10
    assert next(epoch).ids.tolist() == [10, 11, 12, 13, 14]
    with pytest.raises(ImageError, match="key 17 .*found no bytes: the file is empty"):
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
    with pytest.raises(RecordError, match="expected 2 labels, like the first record, found 1"):
        list(Loader(path, 2, EVAL))


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
        ({"dtype": "uint8", "transform": EvalTransform(40, 32, mean=(1, 2, 3))}, "uint8 cannot hold"),
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
