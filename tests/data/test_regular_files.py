"""What opens files takes regular ones only: a pipe is not waited for, a device not read, a folder named."""

from __future__ import annotations

import os
import pathlib
from typing import Any, Callable

import numpy as np
import pytest

from gluon_resnet.data import PixelStatistics, RecordFile, check, rebuild_index
from gluon_resnet.data.class_names import read_class_names
from gluon_resnet.data.packing.image_list import read_list
from gluon_resnet.errors import DataError, RecordError
from gluon_resnet.files import regular_only
from tests.support.pictures import encode, picture, write_records


def write_nothing(path: pathlib.Path, kind: str) -> str:
    if kind == "a pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    return str(path)


@pytest.mark.parametrize("kind", ["a pipe", "a device"])
def test_record_files_and_indexes(tmp_path: pathlib.Path, kind: str) -> None:
    good = write_records(tmp_path / "good.rec", [encode(picture(8, 8))])
    record = write_nothing(tmp_path / "a.rec", kind)
    index = write_nothing(tmp_path / "other.idx", kind)
    with pytest.raises(RecordError, match=rf"^{record}: expected a record file \(\.rec\), found {kind}$"):
        RecordFile(record, good[:-3] + "idx")
    with pytest.raises(RecordError, match=rf"^{record}: expected a record file \(\.rec\), found {kind}$"):
        rebuild_index(record)
    with pytest.raises(RecordError, match=rf"^{index}: expected a record file's index .*found {kind}$"):
        RecordFile(good, index)
    os.link(good[:-3] + "idx", record[:-3] + "idx")
    with pytest.raises(RecordError, match=f"found {kind}"):
        check(record)
    with pytest.raises(OSError, match="a device or a pipe"):
        RecordFile(good).write_index(index)


def test_a_cache_of_positions_that_is_a_pipe_is_not_read(tmp_path: pathlib.Path) -> None:
    path = write_records(tmp_path / "a.rec", [encode(picture(8, 8))], index=False)
    os.mkfifo(path + ".idx-cache")
    os.utime(path + ".idx-cache", ns=(os.stat(path).st_atime_ns, os.stat(path).st_mtime_ns))
    assert len(RecordFile(path)) == 1


@pytest.mark.parametrize("kind", ["a pipe", "a device"])
@pytest.mark.parametrize("read", [PixelStatistics.load, read_list, read_class_names])
def test_other_files(tmp_path: pathlib.Path, kind: str, read: Callable[[str], Any]) -> None:
    path = write_nothing(tmp_path / "file", kind)
    with pytest.raises(DataError, match=f"^{path}: expected a regular file, found {kind}$") as caught:
        read(path)
    assert caught.value.path == path
    with pytest.raises(IsADirectoryError):
        read(str(tmp_path))


def test_nothing_is_left_open_and_files_are_read_as_ever(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("text")
    os.mkfifo(tmp_path / "pipe")
    before = os.listdir("/proc/self/fd")
    with open(tmp_path / "file", encoding="utf-8", opener=regular_only) as stream:
        assert stream.read() == "text"
    for _ in range(3):
        with pytest.raises(DataError), open(tmp_path / "pipe", opener=regular_only):
            pass
        with pytest.raises(RecordError):
            RecordFile(tmp_path / "pipe")
    assert os.listdir("/proc/self/fd") == before


def test_an_index_is_written_whole(tmp_path: pathlib.Path, record_path: str) -> None:
    target = tmp_path / "copy.idx"
    target.write_text("what was there before")
    RecordFile(record_path).write_index(target)
    assert target.read_text() == pathlib.Path(record_path).with_suffix(".idx").read_text()
    assert np.all([not name.endswith(".tmp") for name in os.listdir(tmp_path)])
