"""Record files: against MXNet's own reader and writer, and with everything that can be wrong with them."""

from __future__ import annotations

import multiprocessing
import os
import pathlib
import pickle
import struct
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gluon_resnet.data import RecordFile
from gluon_resnet.errors import RecordError, UsageError
from tests.support import oracle
from tests.support.pictures import write_records

MAGIC = struct.pack("<I", oracle.MAGIC)


def test_records_by_index_and_key(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.rec"
    write_records(path, [b"first", b"", b"third"], [0.5, [1.0, 2.0, 3.0], 7.0])
    lines = path.with_suffix(".idx").read_text().splitlines()
    offsets = [line.split("\t")[1] for line in lines]
    path.with_suffix(".idx").write_text(f"30\t{offsets[2]}\n-1\t{offsets[0]}\n20\t{offsets[1]}\n")

    file = RecordFile(path)

    assert len(file) == 3
    assert [file.key(i) for i in range(3)] == [30, -1, 20]
    header, payload = file[0]
    assert (header.label.tolist(), header.id, header.id2, payload) == ([7.0], 2, 0, b"third")
    assert file[-1].header.label.tolist() == [1.0, 2.0, 3.0]
    assert file[-1].payload == b""
    assert file.by_key(-1).payload == b"first"
    assert [record.payload for record in file] == [b"third", b"first", b""]
    with pytest.raises(UsageError, match="no record has the key 31"):
        file.by_key(31)
    for index in (3, -4):
        with pytest.raises(IndexError, match=f"an index below 3, found {index}"):
            file[index]
    file.check()


# What a record may hold: bytes with the magic in every place, aligned and not.
payloads = st.lists(
    st.one_of(st.binary(max_size=9), st.just(MAGIC), st.just(MAGIC * 2), st.just(b"\0" + MAGIC)), max_size=6
).map(b"".join)
labels = st.one_of(
    st.floats(width=32, allow_nan=False),
    st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=4),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(payloads, labels, st.integers(0, 2**63 - 1)), min_size=1, max_size=5))
def test_reads_what_mxnet_writes(tmp_path_factory: pytest.TempPathFactory, items: list) -> None:
    mx = pytest.importorskip("gluon_resnet._mxnet", exc_type=ImportError).mx

    folder = tmp_path_factory.mktemp("mxnet")
    path = folder / "a.rec"
    writer = mx.recordio.MXIndexedRecordIO(str(folder / "a.idx"), str(path), "w")
    for key, (payload, label, identity) in enumerate(items):
        writer.write_idx(key, mx.recordio.pack(mx.recordio.IRHeader(0, label, identity, 3), payload))
    writer.close()

    for file in (RecordFile(path), RecordFile(path, None)):
        for (payload, label, identity), record in zip(items, file):
            assert record.payload == payload
            assert record.header.id == identity
            assert record.header.id2 == 3
            np.testing.assert_array_equal(record.header.label, np.float32(label).reshape(-1))
        file.check()
    os.unlink(folder / "a.idx")
    assert [record.payload for record in RecordFile(path)] == [payload for payload, _, _ in items]


def check_in_child(file: RecordFile, queue: multiprocessing.Queue) -> None:
    queue.put([record.payload for record in file])


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_one_object_serves_threads_and_processes(
    record_path: str, photographs: list[bytes], method: str
) -> None:
    file = RecordFile(record_path)
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(lambda i: file[i % 23].payload, range(460)))
    assert read == photographs * 20
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    child = context.Process(target=check_in_child, args=(file, queue))
    child.start()
    assert queue.get(timeout=600) == photographs
    child.join(600)
    assert child.exitcode == 0
    assert pickle.loads(pickle.dumps(file))[3][1] == photographs[3]


def test_a_file_cut_anywhere_is_an_error(tmp_path: pathlib.Path) -> None:
    whole = b"".join(oracle.record(bytes(30 + i), float(i), i) for i in range(3))
    path = tmp_path / "a.rec"
    ends = [0]
    for i in range(3):
        ends.append(ends[-1] + len(oracle.record(bytes(30 + i))))
    for length in range(1, len(whole)):
        path.write_bytes(whole[:length])
        if length in ends:
            assert len(RecordFile(path)) == ends.index(length)
            continue
        with pytest.raises(RecordError, match="a.rec: at offset .*cut short") as caught:
            list(RecordFile(path))
        assert caught.value.path == str(path)
        assert caught.value.offset <= length


def test_a_file_cut_after_its_index_was_made(record_path: str) -> None:
    size = os.path.getsize(record_path)
    os.truncate(record_path, size - 100)
    file = RecordFile(record_path)
    assert len(file) == 23
    with pytest.raises(RecordError, match="expected .* bytes of data, found .* cut short"):
        file[22]
    os.truncate(record_path, size // 2)
    with pytest.raises(RecordError, match=r"photographs.idx: line \d+: offset \d+ is beyond the end"):
        RecordFile(record_path)


def test_a_file_that_shrinks_while_it_is_open(record_path: str) -> None:
    file = RecordFile(record_path)
    os.truncate(record_path, 100)
    with pytest.raises(RecordError, match="expected .* bytes, found .* before the end of the file"):
        file[10]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the file is empty"),
        (b"\x89PNG\r\n\x1a\n" * 4, "at offset 0: expected the magic number 0xced7230a, found 0x474e5089"),
        (oracle.record(b"abc") + b"garbage!" * 3, "at offset 36: expected the magic number"),
        (oracle.part(2, bytes(40)), "expected the first part of a record, found a part with cflag 2"),
        (
            oracle.part(1, bytes(40)) + oracle.part(0, bytes(40)),
            "expected its next part, found a part with cflag 0",
        ),
        (oracle.part(1, bytes(40)), "expected a record, found 0 bytes before the end"),
    ],
)
def test_what_is_no_record_file(tmp_path: pathlib.Path, content: bytes, words: str) -> None:
    path = tmp_path / "a.rec"
    path.write_bytes(content)
    with pytest.raises(RecordError, match=words):
        RecordFile(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (oracle.part(0, bytes(23)), "expected an image header of 24 bytes, found a record of 23 bytes"),
        (
            oracle.part(0, struct.pack("<IfQQ", 5, 0, 0, 0) + bytes(19)),
            "the header says 5 labels, but the record has only 19 bytes",
        ),
        (
            oracle.part(0, struct.pack("<IfQQ", 0xFFFFFFFF, 0, 0, 0) + bytes(64)),
            "the header says 4294967295 labels",
        ),
    ],
)
def test_what_is_no_image_record(tmp_path: pathlib.Path, content: bytes, words: str) -> None:
    path = tmp_path / "a.rec"
    path.write_bytes(oracle.record(b"good", 1, 1) + content)
    with pytest.raises(RecordError, match=words) as caught:
        RecordFile(path)[1]
    assert caught.value.offset == 36


@pytest.mark.parametrize(
    ("index", "words"),
    [
        ("", "the index is empty"),
        ("0\t0\nnonsense\n", "line 2: expected KEY<tab>OFFSET, found 'nonsense'"),
        ("0 0\n", "line 1: expected KEY<tab>OFFSET"),
        ("0\t0x10\n", "line 1: expected KEY<tab>OFFSET"),
        ("0\t99999999\n", "line 1: offset 99999999 is beyond the end"),
        ("0\t2\n", "line 1: offset 2 is not that of a record"),
        ("99999999999999999999\t0\n", "line 1: expected KEY<tab>OFFSET"),
    ],
)
def test_what_is_no_index(record_path: str, index: str, words: str) -> None:
    pathlib.Path(record_path).with_suffix(".idx").write_text(index)
    with pytest.raises(RecordError, match=words) as caught:
        RecordFile(record_path)
    assert "--rebuild-index" in str(caught.value)


def test_an_index_of_another_file(record_path: str) -> None:
    index = pathlib.Path(record_path).with_suffix(".idx")
    lines = index.read_text().splitlines(keepends=True)

    index.write_text("".join(lines[:5] + lines[6:]))
    assert RecordFile(record_path)[4].header.id == 4  # a part of the records is no error in reading,
    with pytest.raises(RecordError, match="the index does not list the record here"):
        RecordFile(record_path).check()

    index.write_text("".join([*lines, lines[3]]))
    with pytest.raises(RecordError, match="two entries"):
        RecordFile(record_path).check()

    key, offset = lines[7].split("\t")
    index.write_text("".join([*lines[:7], f"{key}\t{int(offset) + 4}\n", *lines[8:]]))
    with pytest.raises(RecordError, match="expected the magic number"):
        RecordFile(record_path)[7]
    with pytest.raises(RecordError, match="index"):
        RecordFile(record_path).check()


def test_what_cannot_be_opened(tmp_path: pathlib.Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere.rec"):
        RecordFile(tmp_path / "nowhere.rec")
    with pytest.raises(FileNotFoundError, match="nowhere.idx"):
        path = write_records(tmp_path / "a.rec", [b"x"])
        RecordFile(path, tmp_path / "nowhere.idx")
    with pytest.raises(RecordError, match=r"expected a record file \(\.rec\), found a folder"):
        RecordFile(tmp_path)


def test_open_files_are_closed(record_path: str) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        RecordFile(record_path)
        with pytest.raises(FileNotFoundError):
            RecordFile(record_path, record_path + ".none")
    assert len(os.listdir("/proc/self/fd")) == before
