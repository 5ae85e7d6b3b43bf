"""Record files without an index: the scan, and what is kept of it beside the file."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gluon_resnet.data import RecordFile, _native, rebuild_index
from gluon_resnet.errors import RecordError
from tests.support import oracle
from tests.support.pictures import write_records

LONG_AGO = 1_600_000_000


def age(path: object) -> None:
    """Let a file be an old one: what has just been written may be written to again."""
    os.utime(path, (LONG_AGO, LONG_AGO))  # type: ignore[call-overload]


def seen(file: RecordFile) -> list[tuple]:
    return [(file.key(i), file.offset(i), file[i].payload) for i in range(len(file))]


@pytest.fixture
def lonely(tmp_path: pathlib.Path) -> pathlib.Path:
    """A record file of nine records with the keys 100, 99, ..., 92, without an index."""
    path = tmp_path / "a.rec"
    path.write_bytes(b"".join(oracle.record(bytes([i]) * i, float(i), 100 - i) for i in range(9)))
    age(path)
    return path


@pytest.fixture
def scans(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that have been scanned."""
    scanned: list[str] = []

    def opened(path: str, index_path: Any) -> _native.NativeRecordFile:
        if index_path is None:
            scanned.append(path)
        return native(path, index_path)

    native = _native.NativeRecordFile
    monkeypatch.setattr(_native, "NativeRecordFile", opened)
    return scanned


def test_without_an_index_the_file_is_scanned(lonely: pathlib.Path) -> None:
    file = RecordFile(lonely)
    assert [record.payload for record in file] == [bytes([i]) * i for i in range(9)]
    assert file.by_key(97).payload == b"\3\3\3"
    file.check()
    file.write_index(lonely.with_name("b.idx"))
    again = RecordFile(lonely, lonely.with_name("b.idx"))
    assert [again.key(i) for i in range(9)] == [100 - i for i in range(9)]
    again.check()

    lonely.write_bytes(oracle.record(b"a", 0, 5) + oracle.record(b"b", 0, 5))
    assert [RecordFile(lonely).key(i) for i in range(2)] == [0, 1]  # the ids are no keys


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 20000)), min_size=1, max_size=40))
def test_a_scan_finds_records_of_any_size(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[tuple[int, int]]
) -> None:
    """Small ones and large ones, in one part and in several: each where the writer says."""
    path = tmp_path_factory.mktemp("scan") / "a.rec"
    expected, data = [], b""
    for key, (more_parts, size) in enumerate(sizes):
        expected.append((key, len(data)))
        header = b"\0" * 8 + key.to_bytes(16, "little")
        if more_parts == 0:
            data += oracle.part(0, header + b"x" * size)
            continue
        flags = [1] + [2] * (more_parts - 1) + [3]
        data += b"".join(oracle.part(flag, header if flag == 1 else b"x" * size) for flag in flags)
    path.write_bytes(data)
    file = RecordFile(path)
    assert [(file.key(i), file.offset(i)) for i in range(len(file))] == expected
    file.check()


def test_the_id_may_be_cut_by_the_magic(tmp_path: pathlib.Path) -> None:
    """The header's id has the magic in it, and so the record's first part ends inside the header."""
    identity = oracle.MAGIC | 5 << 32
    first = oracle.part(1, b"\0" * 8)
    path = tmp_path / "a.rec"
    path.write_bytes(first + oracle.part(3, (5).to_bytes(4, "little") + b"\0" * 8 + b"rest"))
    file = RecordFile(path)
    assert (file.key(0), file[0].header.id, file[0].payload) == (identity, identity, b"rest")


def test_a_file_is_scanned_once(lonely: pathlib.Path, scans: list[str]) -> None:
    scanned = seen(RecordFile(lonely))
    assert sorted(os.listdir(lonely.parent)) == ["a.rec", "a.rec.idx-cache"]
    assert seen(RecordFile(lonely)) == scanned
    assert len(scans) == 1


def test_an_index_of_the_user_comes_first(lonely: pathlib.Path) -> None:
    RecordFile(lonely)
    lonely.with_suffix(".idx").write_text("7\t32\n")  # a part of the records, under a key of his own
    assert [(key, payload) for key, _, payload in seen(RecordFile(lonely))] == [(7, b"\1")]
    assert rebuild_index(str(lonely)) == 9
    assert RecordFile(lonely).by_key(97).payload == b"\3\3\3"


def test_a_file_that_changes_is_scanned_again(lonely: pathlib.Path, scans: list[str]) -> None:
    RecordFile(lonely)
    with open(lonely, "ab") as file:
        file.write(oracle.record(b"more", 0, 200))
    assert RecordFile(lonely).by_key(200).payload == b"more"  # its time is another
    age(lonely)
    assert len(RecordFile(lonely)) == 10  # its time is the old one, but the index ends too early
    assert len(RecordFile(lonely)) == 10
    assert len(scans) == 3

    lonely.write_bytes(lonely.read_bytes()[:32])
    age(lonely)
    assert seen(RecordFile(lonely)) == [(100, 0, b"")]  # nor may it end too late


def test_what_has_just_been_written_may_change_unseen(lonely: pathlib.Path, scans: list[str]) -> None:
    os.utime(lonely)
    RecordFile(lonely)
    assert os.listdir(lonely.parent) == ["a.rec"]


def test_a_change_during_the_scan_is_seen(lonely: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(path: str, index_path: Any) -> _native.NativeRecordFile:
        file = native(path, index_path)
        if index_path is None:
            with open(path, "ab") as stream:
                stream.write(oracle.record(b"late", 0, 300))
        return file

    native = _native.NativeRecordFile
    with monkeypatch.context() as patch:
        patch.setattr(_native, "NativeRecordFile", slow)
        assert len(RecordFile(lonely)) == 9
    assert len(RecordFile(lonely)) == 10


@pytest.mark.parametrize("damage", [b"", b"junk", b"100\t0\n", b"100\t0\n99\t4\n"])
def test_a_damaged_cache_is_made_anew(lonely: pathlib.Path, scans: list[str], damage: bytes) -> None:
    expected = seen(RecordFile(lonely))
    cache = pathlib.Path(f"{lonely}.idx-cache")
    whole = cache.read_bytes()
    cache.write_bytes(damage)
    age(cache)
    assert seen(RecordFile(lonely)) == expected
    assert cache.read_bytes() == whole
    assert len(scans) == 2


def test_where_nothing_can_be_kept_the_file_is_scanned_each_time(
    lonely: pathlib.Path, scans: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise PermissionError("read-only")

    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "mkstemp", refuse)
        expected = seen(RecordFile(lonely))
    assert os.listdir(lonely.parent) == ["a.rec"]
    os.mkdir(f"{lonely}.idx-cache")  # it cannot be replaced by a file
    assert seen(RecordFile(lonely)) == expected
    assert sorted(os.listdir(lonely.parent)) == ["a.rec", "a.rec.idx-cache"]
    assert len(scans) == 2


def test_a_broken_file_is_broken_with_its_cache(lonely: pathlib.Path) -> None:
    RecordFile(lonely)
    size = os.path.getsize(lonely)
    os.truncate(lonely, size - 4)
    age(lonely)
    with pytest.raises(RecordError, match="cut short"):
        RecordFile(lonely)


def test_many_open_a_file_at_once(tmp_path: pathlib.Path) -> None:
    path = write_records(tmp_path / "a.rec", [bytes(i % 50) for i in range(3000)], index=False)
    age(path)
    code = (
        "import contextlib, os, sys; from gluon_resnet.data import RecordFile\n"
        "for _ in range(20):\n"
        "    with contextlib.suppress(OSError): os.unlink(sys.argv[1] + '.idx-cache')\n"
        "    file = RecordFile(sys.argv[1]); assert (len(file), file.key(2999)) == (3000, 2999)\n"
    )
    children = [subprocess.Popen([sys.executable, "-c", code, path]) for _ in range(3)]
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: len(RecordFile(path)), range(40))) == {3000}
    assert [child.wait(600) for child in children] == [0, 0, 0]
    assert sorted(os.listdir(tmp_path)) == ["a.rec", "a.rec.idx-cache"]
