"""The files that packing writes: whole or not at all, whatever ends it."""

from __future__ import annotations

import fcntl
import os
import pathlib
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from gluon_resnet.data import RecordFile
from gluon_resnet.data._native import NativePacker
from gluon_resnet.data.packing.image_list import Entry
from gluon_resnet.data.packing.output import only_run
from gluon_resnet.data.packing.pack import pack
from gluon_resnet.data.packing.sources import Picture
from gluon_resnet.errors import DataError
from tests.support.collections_of_pictures import Pictures, jpegs
from tests.support.pictures import encode, picture


def test_a_full_disk_ends_it(tmp_path: pathlib.Path) -> None:
    code = """
import resource, sys
from gluon_resnet.data.packing.pack import PackOptions, pack
from gluon_resnet.data.packing.sources import FilePart, Picture
class Endless:
    classes = None
    def __len__(self): return 10**9
    def __iter__(self): return (Picture(i, (0.0,), 'x', FilePart(sys.argv[1])) for i in range(10**9))
resource.setrlimit(resource.RLIMIT_FSIZE, (3 << 20, 3 << 20))
try:
    pack(Endless(), sys.argv[2], PackOptions(pass_through=True))
except OSError as error:
    print(error)
"""
    (tmp_path / "a.jpg").write_bytes(encode(picture(300, 300)))
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "a.jpg", tmp_path / "p"],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.stdout == f"[Errno 27] File too large: '{tmp_path / 'p.rec'}'\n"
    assert not done.stderr
    assert os.listdir(tmp_path) == ["a.jpg"]


def test_only_one_writer(tmp_path: pathlib.Path) -> None:
    entered, leave = threading.Event(), threading.Event()

    class Waiting(Pictures):
        def __iter__(self) -> Iterator[Picture]:
            entered.set()
            leave.wait(600)
            return iter(self.items)

    first = threading.Thread(target=pack, args=(Waiting(*jpegs(3)), str(tmp_path / "p")))
    first.start()
    entered.wait(600)
    try:
        with pytest.raises(DataError, match=r"p\.rec\.partial: another process is writing this file"):
            pack(Pictures(*jpegs(5)), str(tmp_path / "p"))
    finally:
        leave.set()
        first.join()
    assert len(RecordFile(tmp_path / "p.rec")) == 3
    pack(Pictures(*jpegs(5)), str(tmp_path / "p"))
    assert len(RecordFile(tmp_path / "p.rec")) == 5


def test_what_a_killed_run_left_is_removed(tmp_path: pathlib.Path) -> None:
    for suffix in (".rec", ".idx", ".lst", ".classes"):
        (tmp_path / f".p{suffix}.abcd_123.tmp").write_bytes(b"stale" * 100_000)
    (tmp_path / "p.rec.partial").touch()
    pack(Pictures(*jpegs(3)), str(tmp_path / "p"))
    left = [".p.classes.abcd_123.tmp", ".p.lst.abcd_123.tmp"]  # until such files are written again
    assert sorted(os.listdir(tmp_path)) == [*left, "p.idx", "p.rec"]
    RecordFile(tmp_path / "p.rec").check()


def test_nothing_is_written_through_a_link(tmp_path: pathlib.Path) -> None:
    (tmp_path / "precious").write_text("stays")
    source = Pictures(*jpegs(3), classes=("a",))
    listing = [Entry(i, (0.0,), f"{i}.jpg") for i in range(3)]
    for suffix in (".idx", ".lst", ".classes", ".lst.json"):
        (tmp_path / f"p{suffix}.partial").symlink_to("precious")
        (tmp_path / f"p{suffix}").symlink_to("precious")
    (tmp_path / "p.rec").symlink_to("precious")
    pack(source, str(tmp_path / "p"), listing=listing)
    RecordFile(tmp_path / "p.rec").check()
    for lock in ("p.rec.partial", "p.partial"):
        (tmp_path / lock).symlink_to("precious" if lock == "p.partial" else "new")
        with pytest.raises(DataError, match=f"{lock}: expected a regular file, found a symbolic link"):
            pack(source, str(tmp_path / "p"))
            with only_run(str(tmp_path / "p")):
                pass
        (tmp_path / lock).unlink()
    os.mkfifo(tmp_path / "p.rec.partial")
    with pytest.raises(DataError, match=r"p\.rec\.partial: expected a regular file, found a pipe"):
        pack(source, str(tmp_path / "p"))
    assert (tmp_path / "precious").read_text() == "stays"
    assert not (tmp_path / "new").exists()
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".tmp")]


def test_cpp_writes_no_link(tmp_path: pathlib.Path) -> None:
    (tmp_path / "precious").write_text("stays")
    (tmp_path / "link").symlink_to("precious")
    options = {"pass_through": True, "verify": False, "center_crop": False, "resize": 0, "color": "rgb"}
    for names in (("link", "b"), ("a", "link")):
        with pytest.raises(OSError, match="link"):
            NativePacker(
                *(str(tmp_path / n) for n in names), None, png=False, quality=90, threads=1, **options
            )
    pack(Pictures(*jpegs(1)), str(tmp_path / "p"))
    with pytest.raises(OSError, match="link"):
        RecordFile(tmp_path / "p.rec").native.write_index(str(tmp_path / "link"))
    assert (tmp_path / "precious").read_text() == "stays"


def test_killed_at_any_time_it_starts_clean(tmp_path: pathlib.Path) -> None:
    code = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
from gluon_resnet.data._native import NativePacker
from gluon_resnet.data.packing.image_list import Entry
from gluon_resnet.data.packing.output import only_run
from gluon_resnet.data.packing.pack import pack
from gluon_resnet.data.packing.sources import FilePart, Picture
class Slow:
    classes = ("a",)
    def __len__(self): return 10**9
    def __iter__(self):
        for i in range(10**9):
            if i == 200:
                print("going", flush=True)
            time.sleep(i // 200 * 0.01)
            yield Picture(i, (0.0,), "x", FilePart(sys.argv[1]))
pack(Slow(), sys.argv[2])
"""
    (tmp_path / "a.jpg").write_bytes(encode(picture(100, 100)))
    pack(Pictures(*jpegs(3)), str(tmp_path / "p"))
    before = (tmp_path / "p.rec").read_bytes()
    command = [sys.executable, "-c", code, tmp_path / "a.jpg", tmp_path / "p"]
    for how in (signal.SIGKILL, signal.SIGINT):
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"going\n"
            process.send_signal(how)
            try:
                process.wait(timeout=600)
            finally:
                process.kill()
        assert (tmp_path / "p.rec").read_bytes() == before
        killed = how == signal.SIGKILL
        assert (tmp_path / "p.rec.partial").exists() == killed
        assert len(list(tmp_path.glob(".p.*.tmp"))) == (2 if killed else 0)
    RecordFile(tmp_path / "p.rec").check()
    with open(tmp_path / "p.rec.partial", "w") as stream:  # nobody holds the lock
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    pack(Pictures(*jpegs(5)), str(tmp_path / "p"))
    assert sorted(os.listdir(tmp_path)) == ["a.jpg", "p.idx", "p.rec"]


def test_outputs_that_cannot_be_written(tmp_path: pathlib.Path) -> None:
    source = Pictures(*jpegs(1))
    with pytest.raises(DataError, match="none: the folder to write to does not exist"):
        pack(source, str(tmp_path / "none" / "p"))
    (tmp_path / "p.idx").mkdir()
    with pytest.raises(DataError, match=r"p\.idx: a folder of this name is in the way"):
        pack(source, str(tmp_path / "p"))
    with pytest.raises(OSError, match=r"q\.rec"):
        pack(source, "/proc/self/q")
    assert os.listdir(tmp_path) == ["p.idx"]
