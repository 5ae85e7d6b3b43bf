"""insightface's record files, which hold records without an image: a header, and a list for each identity."""

from __future__ import annotations

import pathlib
import random
from typing import Any, Union

import pytest

from gluon_resnet.data import Loader, RecordFile, check
from gluon_resnet.errors import DataError, ImageError
from tests.support import oracle
from tests.support.batches import EVAL, ids
from tests.support.pictures import encode, picture

Label = Union[float, list[float]]
PEOPLE = [3, 1, 2]  # images of each
IMAGES = [encode(picture(20, 20, i)) for i in range(sum(PEOPLE))]
PERSON = [0.0, 0.0, 0.0, 1.0, 2.0, 2.0]
HEADER: tuple[int, Label, bytes] = (0, [7.0, 10.0], b"")


def faces(labels: list[Any], header: tuple[int, Label, bytes] = HEADER) -> list[tuple[int, Label, bytes]]:
    """(key, label, payload) in the order in which insightface's face2rec2.py writes them."""
    images = [(key, label, image) for key, (label, image) in enumerate(zip(labels, IMAGES), 1)]
    people = [(7, [1.0, 4.0], b""), (8, [4.0, 5.0], b""), (9, [5.0, 7.0], b"")]
    return [*images, header, *people]


def write(path: pathlib.Path, items: list[tuple[int, Label, bytes]], index: bool = True) -> str:
    data, lines = b"", ""
    for key, label, payload in items:
        lines += f"{key}\t{len(data)}\n"
        data += oracle.record(payload, label, key)
    path.write_bytes(data)
    if index:
        path.with_suffix(".idx").write_text(lines)
    return str(path)


def orders() -> dict[str, list[tuple[int, Label, bytes]]]:
    as_packed = faces(PERSON)
    by_key = sorted(as_packed, key=lambda item: item[0])
    mixed = list(as_packed)
    random.Random(3).shuffle(mixed)
    without_lists = faces(PERSON, (0, [7.0, 3.0], b""))[
        :7
    ]  # other packers: the second label counts the people
    return {"as packed": as_packed, "by key": by_key, "mixed": mixed, "without lists": without_lists}


@pytest.mark.parametrize("order", ["as packed", "by key", "mixed", "without lists"])
@pytest.mark.parametrize("index", [True, False])
def test_the_images_are_loaded_and_nothing_else(tmp_path: pathlib.Path, order: str, index: bool) -> None:
    items = orders()[order]
    path = write(tmp_path / "train.rec", items, index)
    file = RecordFile(path)
    assert len(file) == len(items)  # the file as it is
    assert file.by_key(0).header.label.tolist()[0] == 7
    assert [file.key(i) for i in file.images] == [key for key, _, payload in items if payload]

    loader = Loader(path, 4, EVAL, threads=2)
    assert (loader.num_records, loader.label_width, len(loader)) == (6, 1, 2)
    assert sum(ids(loader), []) == [key for key, _, payload in items if payload]
    rows = {int(i): (x, y) for batch in loader for i, x, y in zip(batch.ids, batch.data, batch.label)}
    for key, (image, person) in enumerate(zip(IMAGES, PERSON), 1):
        assert (rows[key][0] == EVAL(image)).all()
        assert rows[key][1] == person


def test_an_epoch_over_an_insightface_file_and_another_one(tmp_path: pathlib.Path) -> None:
    insightface = write(tmp_path / "a.rec", faces(PERSON))
    ordinary = write(tmp_path / "b.rec", [(key, 5.0, IMAGES[0]) for key in range(100, 105)])
    loader = Loader([ordinary, insightface, ordinary], 4, EVAL, shuffle=True)
    assert loader.num_records == 16
    assert sorted(sum(ids(loader), [])) == sorted([*range(100, 105), *range(1, 7), *range(100, 105)])


def test_images_with_several_labels(tmp_path: pathlib.Path) -> None:
    labels = [[person, 1.0] for person in PERSON]  # (person, whether the face is aligned)
    loader = Loader(write(tmp_path / "a.rec", faces(labels)), 6, EVAL)
    (batch,) = loader
    assert loader.label_width == 2
    assert batch.label.tolist() == labels


def test_all_images_are_checked_and_nothing_else(tmp_path: pathlib.Path) -> None:
    path = write(tmp_path / "a.rec", faces(PERSON))
    report = check(path)
    assert (report.records, report.bad) == (10, ())
    items = faces(PERSON)
    items[4] = (5, 2.0, b"bad")
    report = check(write(tmp_path / "b.rec", items))
    assert [bad.key for bad in report.bad] == [5]


@pytest.mark.parametrize(
    "header",
    [
        (0, [7.0, 10.0], IMAGES[0]),  # with an image it is an image
        (0, [7.5, 10.0], b""),
        (0, [float("nan"), 10.0], b""),
        (0, [float("inf"), 10.0], b""),
        (0, [3e9, 4e9], b""),
        (0, [-7.0, 10.0], b""),
        (0, [1.0, 10.0], b""),  # no image at all
        (0, [6.0, 10.0], b""),  # record 6 is an image, and not a list
        (0, [8.0, 10.0], b""),  # record 7 is a list, and not an image
        (0, [70.0, 71.0], b""),  # there is no record 69
        (0, 7.0, b""),
        (0, [7.0, 10.0, 1.0], b""),
        (11, [7.0, 10.0], b""),  # the key is not 0
    ],
)
def test_what_is_no_header(tmp_path: pathlib.Path, header: tuple[int, Label, bytes]) -> None:
    """A broken record, say, with the key 0: it is not passed over in silence."""
    path = write(tmp_path / "a.rec", faces(PERSON, header))
    assert list(RecordFile(path).images) == list(range(10))
    with pytest.raises(DataError):
        list(Loader(path, 10, EVAL))


def test_an_ordinary_file_whose_first_image_is_missing(tmp_path: pathlib.Path) -> None:
    items: list[tuple[int, Label, bytes]] = [(0, [3.0, 4.0], b"")]
    items += [(key, [3.0, 4.0], IMAGES[0]) for key in range(1, 6)]
    with pytest.raises(ImageError, match="key 0 .*empty"):
        list(Loader(write(tmp_path / "a.rec", items), 3, EVAL))


@pytest.mark.parametrize("end", [2**24 + 1, 2**24 + 3, 2**25 + 1, 2**25 + 2, 2**25 + 3])
def test_a_bound_that_float32_rounds(tmp_path: pathlib.Path, end: int) -> None:
    """Labels are float32, which has no odd numbers above 2^24 (Glint360K has 17 million images)."""
    items: list[tuple[int, Label, bytes]] = [(0, [float(end), float(end + 5)], b"")]
    items += [(key, 1.0, IMAGES[0]) for key in (1, *range(end - 4, end))]
    items += [(key, [1.0, 2.0], b"") for key in range(end, end + 5)]
    file = RecordFile(write(tmp_path / "a.rec", items))
    assert [file.key(i) for i in file.images] == [1, *range(end - 4, end)]


def test_a_file_that_mxnet_writes(tmp_path: pathlib.Path) -> None:
    mx = pytest.importorskip("gluon_resnet._mxnet", exc_type=ImportError).mx
    writer = mx.recordio.MXIndexedRecordIO(str(tmp_path / "a.idx"), str(tmp_path / "a.rec"), "w")
    for key, label, payload in faces(PERSON):
        header = mx.recordio.IRHeader(2 if isinstance(label, list) else 0, label, key, 0)
        writer.write_idx(key, mx.recordio.pack(header, payload))
    writer.close()

    reader = mx.recordio.MXIndexedRecordIO(str(tmp_path / "a.idx"), str(tmp_path / "a.rec"), "r")
    header, _ = mx.recordio.unpack(reader.read_idx(0))
    assert header.flag > 0  # as insightface reads it
    theirs = []
    for key in range(1, int(header.label[0])):
        header, image = mx.recordio.unpack(reader.read_idx(key))
        theirs.append((header.id, header.label, image))
    (batch,) = Loader(tmp_path / "a.rec", 6, EVAL)
    assert [(i, label) for i, label, _ in theirs] == list(zip(batch.ids.tolist(), batch.label.tolist()))
    assert all((EVAL(image) == row).all() for (_, _, image), row in zip(theirs, batch.data))
