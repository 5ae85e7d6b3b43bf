"""Labels are looked at before any work: in every shape of a record, and for no longer than is allowed."""

from __future__ import annotations

import struct

import pytest

from gluon_resnet.data import RecordFile
from gluon_resnet.data.labels import check_labels
from gluon_resnet.errors import DataError, RecordError
from tests.support import oracle
from tests.support.pictures import encode, picture, write_records


def write(path, *records: bytes) -> RecordFile:
    path.write_bytes(b"".join(records))
    return RecordFile(path)


@pytest.mark.parametrize(
    ("label", "words"),
    [
        (3.0, "label 3 is not one of 0 to 2"),
        (-1.0, "label -1 is not"),
        (0.5, "label 0.5 is not"),
        (float("nan"), "label nan is not"),
        (float("inf"), "label inf is not"),
        (1e30, "label 1e\\+30 is not"),
        ([1.0, 2.0], "expected one label for each image, found 2"),
        ([7.0], "label 7 is not one of 0 to 2"),
    ],
)
def test_a_label_that_is_no_class_is_named(tmp_path, label, words):
    good = write_records(tmp_path / "good.rec", [b"x"] * 5, [0, 1, 2, [0.0], [2.0]])
    bad = write_records(tmp_path / "bad.rec", [b"", b"x", b"xy", b"xyz"], [0, 1, label, label])
    assert check_labels([RecordFile(good)], 3) == 0
    offset = RecordFile(bad).offset(2)
    with pytest.raises(DataError, match=rf"bad\.rec: record with key 2 at offset {offset}: {words}") as error:
        check_labels([RecordFile(good), RecordFile(bad)], 3)
    assert (error.value.path, error.value.key, error.value.offset) == (bad, 2, offset)


def test_records_in_several_parts(tmp_path):
    """The second is cut within its image, the third in front of its label's end: after the identity."""

    def header(label: float) -> bytes:
        return struct.pack("<IfQQ", 0, label, 1, 0)

    def parts(label: float, at: int) -> bytes:
        data = header(label) + b"image..."
        return oracle.part(1, data[:at]) + oracle.part(3, data[at:])

    file = write(tmp_path / "a.rec", oracle.record(b"x", 1.0), parts(2.0, 28), parts(0.0, 8))
    assert check_labels([file], 3) == 0
    for at in (8, 24, 28):
        file = write(tmp_path / f"{at}.rec", oracle.record(b"x", 1.0), parts(9.0, at))
        with pytest.raises(DataError, match="offset 36: label 9 is not one of 0 to 2"):
            check_labels([file], 3)


def test_a_damaged_record_is_named(tmp_path):
    file = write(tmp_path / "a.rec", oracle.record(b"x", 1.0), oracle.part(0, b"no header"))
    with pytest.raises(RecordError, match=r"a\.rec.*expected an image header"):
        check_labels([file], 3)


def test_no_longer_than_is_allowed(tmp_path):
    path = write_records(tmp_path / "a.rec", [encode(picture(8, 8))] * 3, [0, 1, 9])
    assert check_labels([RecordFile(path)] * 2, 3, seconds=-1) == 6
