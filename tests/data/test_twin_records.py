"""Files and classes that are named twice are found by what they hold."""

from __future__ import annotations

import os
import shutil

import pytest

from gluon_resnet.data import RecordFile
from gluon_resnet.data.holdout import hold_out
from gluon_resnet.data.twins import open_distinct, same_names, same_records
from gluon_resnet.errors import UsageError
from tests.support.pictures import write_records


@pytest.fixture
def path(tmp_path, photographs) -> str:
    return write_records(tmp_path / "a.rec", photographs[:6])


def test_a_copy_and_a_link_hold_the_same_and_another_file_and_another_part_do_not(
    tmp_path, path, photographs
):
    file = RecordFile(path)
    other = RecordFile(write_records(tmp_path / "b.rec", photographs[6:12]))
    assert same_records([file, other]) is None
    assert same_records([file], [other]) is None
    assert same_records([file, file], [other]) is None  # two of one list are another question
    shutil.copy(path, tmp_path / "copy.rec")
    os.symlink(path, tmp_path / "link.rec")
    for name in ("a.rec", "copy.rec", "link.rec"):
        twin = RecordFile(tmp_path / name)
        assert same_records([other, file, twin]) == (path, twin.path)
        assert same_records([other, file], [twin]) == (path, twin.path)
        with pytest.raises(
            UsageError, match=r"a\.rec and .*\.rec hold the same records, which would count twice"
        ):
            open_distinct([file.path, twin.path])
    rest, held = hold_out(file, 2, tmp_path / "train.idx", tmp_path / "held.idx")
    assert same_records([rest], [held]) is None


def test_two_classes_of_one_name():
    assert same_names(["cat", "dog", "owl"]) is None
    assert same_names(["cat", "dog", "cat"]).startswith("classes 0 and 2 are both called 'cat'")
