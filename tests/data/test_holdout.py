"""Records set apart for validation: none in both parts, always the same, and every index usable by itself."""

from __future__ import annotations

import numpy as np
import pytest

from gluon_resnet.data import Loader, RecordFile
from gluon_resnet.data.holdout import hold_out
from gluon_resnet.errors import UsageError
from tests.support.batches import EVAL, TRAIN, ids
from tests.support.pictures import encode, picture, write_records


def split(path, count, folder, name="a"):
    return hold_out(RecordFile(path), count, folder / f"{name}-train.idx", folder / f"{name}-holdout.idx")


@pytest.mark.parametrize("count", [1, 7, 22])
def test_every_record_is_in_exactly_one_part(record_path, tmp_path, count):
    file = RecordFile(record_path)
    train, held = split(record_path, count, tmp_path / "new")
    assert (len(train), len(held)) == (23 - count, count)
    keys = [[part.key(i) for i in range(len(part))] for part in (train, held)]
    assert sorted(keys[0] + keys[1]) == list(range(23))
    assert keys == [sorted(keys[0]), sorted(keys[1])]  # in the order of the file
    for part in (train, held):
        for i in range(len(part)):
            assert part[i].payload == file.by_key(part.key(i)).payload
    loaded = [sorted(sum(ids(Loader(part, 4, EVAL, threads=1)), [])) for part in (train, held)]
    assert loaded == keys


def test_the_split_is_the_documented_one(record_path, tmp_path):
    _, held = split(record_path, 5, tmp_path)
    drawn = np.random.RandomState(0).permutation(23)[:5]
    assert [held.key(i) for i in range(5)] == sorted(drawn.tolist()) == [10, 11, 14, 20, 21]
    first = [(tmp_path / f"a-{part}.idx").read_bytes() for part in ("train", "holdout")]
    split(record_path, 5, tmp_path, "b")
    assert [(tmp_path / f"b-{part}.idx").read_bytes() for part in ("train", "holdout")] == first


def test_a_file_without_an_index_has_the_same_split(tmp_path, photographs):
    offsets = []
    for name, index in (("with", True), ("without", False)):
        path = write_records(tmp_path / f"{name}.rec", photographs, index=index)
        _, held = split(path, 6, tmp_path, name)
        offsets.append([held.offset(i) for i in range(6)])
    assert offsets[0] == offsets[1]


def test_an_index_of_some_of_the_records_splits_these(record_path, tmp_path):
    train, _ = split(record_path, 5, tmp_path)
    again, held = hold_out(train, 4, tmp_path / "c-train.idx", tmp_path / "c-holdout.idx")
    assert (len(again), len(held)) == (14, 4)
    assert {again.key(i) for i in range(14)} | {held.key(i) for i in range(4)} == {
        train.key(i) for i in range(18)
    }


def test_a_state_of_another_split_is_refused(record_path, tmp_path):
    loaders = [
        Loader(part, 3, TRAIN, shuffle=True, threads=1, last_batch="discard")
        for part in (split(record_path, 5, tmp_path, "a")[0], RecordFile(record_path))
    ]
    batches = iter(loaders[0])
    next(batches)
    with pytest.raises(UsageError, match="belongs to a different loader: records: expected 23, found 18"):
        loaders[1].load_state_dict(loaders[0].state_dict())


@pytest.mark.parametrize("count", [0, -1, 23, 5000])
def test_a_part_without_records_is_refused_before_any_file(record_path, tmp_path, count):
    with pytest.raises(UsageError, match=rf"{count} records cannot be held out of the 23 images in .*\.rec"):
        split(record_path, count, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_insightfaces_lists_are_in_no_part(tmp_path):
    """Its record 0 says where the images end; what follows are lists."""
    payloads = [b"", *[encode(picture(40, 40, i)) for i in range(8)], b"", b""]
    path = write_records(tmp_path / "faces.rec", payloads, [[9.0, 11.0], *range(8), [1.0, 5.0], [5.0, 9.0]])
    assert list(RecordFile(path).images) == list(range(1, 9))
    train, held = split(path, 3, tmp_path)
    keys = [part.key(i) for part in (train, held) for i in range(len(part))]
    assert sorted(keys) == list(range(1, 9))
    assert list(train.images) == list(range(5))
