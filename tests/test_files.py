"""Files that appear whole: what stands there before is kept, and errors name the file that was to be written."""

from __future__ import annotations

import errno
import os
import stat

import pytest

from gluon_resnet.files import whole_file


def test_an_error_without_a_name_gets_that_of_the_file(tmp_path):
    """A full disk is told by write(), which knows of no name; temporary names say nothing to a user."""
    path = str(tmp_path / "a")
    with pytest.raises(OSError, match="No space left on device") as error, whole_file(path) as outer:
        with whole_file(outer.name):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert error.value.filename == path
    assert os.listdir(tmp_path) == []


def test_an_error_about_another_file_keeps_its_name(tmp_path):
    with pytest.raises(FileNotFoundError) as error, whole_file(tmp_path / "a"):
        (tmp_path / "b").read_bytes()
    assert error.value.filename == str(tmp_path / "b")


def test_a_pipe_is_not_replaced_by_a_file(tmp_path):
    """Nor is a device: root could rename a file over /dev/null."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(OSError, match="a device or a pipe"), whole_file(path):
        pass
    assert stat.S_ISFIFO(path.stat().st_mode)
    assert os.listdir(tmp_path) == ["pipe"]
