"""Files that appear whole: what stands there before is kept, and errors name the file that was to be written."""

from __future__ import annotations

import errno
import os
import pathlib
import stat
import subprocess
import sys

import pytest

from gluon_resnet.files import temporary_names, whole_file


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


WRITE = """
import sys, time
from gluon_resnet.files import whole_file
with whole_file(sys.argv[1]) as stream:
    print("writing", flush=True)
    sys.stdin.read()
"""


def test_what_killed_processes_left_is_removed_and_what_living_ones_write_is_not(tmp_path):
    """The next to write the same file removes it; the files of others are none of its business."""
    path = tmp_path / "a"
    others = [".a.b.abcdefgh.tmp", ".a.abcdefg.tmp", "a.abcdefgh.tmp", ".a.ABCDEFGH.tmp"]
    for name in (*others, ".a.abcd_012.tmp"):  # the last one of a version that held no lock
        (tmp_path / name).write_bytes(b"part")
    (tmp_path / ".a.linkname.tmp").symlink_to("b")
    command = [sys.executable, "-c", WRITE, path]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as killed, subprocess.Popen(command, **pipes) as living:
        try:
            assert killed.stdout.readline() == living.stdout.readline() == b"writing\n"
            killed.kill()
            killed.wait()
            with whole_file(path) as stream:
                stream.write("whole")
            names = sorted(set(os.listdir(tmp_path)) - {*others, ".a.linkname.tmp"})
            assert len(names) == 2  # of the living one
            assert names[1] == "a"
            living.communicate(timeout=600)
            assert living.returncode == 0
        finally:
            killed.kill()
            living.kill()
    assert sorted(os.listdir(tmp_path)) == sorted([*others, ".a.linkname.tmp", "a"])


def test_files_that_belong_together_never_lie_beside_another_card(tmp_path, monkeypatch):
    """Seen before each of the renames, at which a process may be killed."""
    paths = [tmp_path / name for name in ("card", "a", "b")]
    seen, replace = [], os.replace

    def noted(old, new):
        seen.append([path.read_text() if path.exists() else None for path in paths])
        replace(old, new)

    monkeypatch.setattr(os, "replace", noted)
    for content in ("old", "new"):
        with temporary_names(*paths) as temporary:
            for path in temporary:
                pathlib.Path(path).write_text(content)
    assert [path.read_text() for path in paths] == ["new"] * 3
    assert seen[3:] == [[None, "old", "old"], [None, "old", "new"], [None, "new", "new"]]
    with pytest.raises(OSError, match="No space"), temporary_names(*paths):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert [path.read_text() for path in paths] == ["new"] * 3
    assert len(os.listdir(tmp_path)) == 3
